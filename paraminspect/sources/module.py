"""``package.module:attr`` or ``path/file.py:attr`` to Subject: a Module, or a callable that returns one."""

from __future__ import annotations

import contextlib
import inspect
import re
import shlex
from collections.abc import Callable, Mapping
from inspect import Parameter
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from paraminspect.errors import UserError, did_you_mean
from paraminspect.isolation.importing import load_attribute, names_of
from paraminspect.isolation.user_code import user_code
from paraminspect.modules.declared_ties import declared_ties
from paraminspect.modules.subject import Batch, InputSearch, Loss, Subject
from paraminspect.modules.walk import attributes_of, walk
from paraminspect.modules.wrapping import wrapping
from paraminspect.report import Source
from paraminspect.sources.examples import example_maker
from paraminspect.sources.given_input import input_completer, input_maker
from paraminspect.sources.input_search import FoundBefore
from paraminspect.sources.locate import Reference
from paraminspect.sources.signature import Signature, annotation, enumeration, signature_of
from paraminspect.spec.model import Input

_WANTED = "name a torch.nn.Module, a Module class, or a function that returns one"
_EXAMPLES = {"int": "4", "float": "0.1", "bool": "true", "str": "NAME"}
_LAZY = {"coroutine": "a coroutine", "generator": "a generator", "async_generator": "an async generator"}


def load(
    reference: Reference,
    seed: int = 0,
    device: str | None = None,
    inputs: tuple[Input, ...] = (),
    loss: Loss | None = None,
    memory: FoundBefore | None = None,
) -> Subject:
    """Import what `reference` names, call it unless it is a module, move it; say how its input is made.

    As a script that imports, seeds and builds: torch's global generator is seeded before the import, for what is built
    there, and again before the call. Without a `device` the module stays where its own code put it; on meta it is
    built there. Raises UserError for whatever the user can put right, their code's own failures among it.
    """
    if device is not None:
        _check_device(device)
    torch.manual_seed(seed)  # for what is built while the file is imported
    found = load_attribute(reference.text)
    for one in inputs:
        if one.function is not None:
            load_attribute(one.function)
    torch.manual_seed(seed)  # a file that was imported already, for its loss or its scheme, drew nothing just now
    if isinstance(found, nn.Module):
        if reference.args:
            message = "a module that is built already takes no arguments"
            raise UserError(message, where="--arg", hint="name its class, or leave --arg out", code="bad-option")
        module = found
    else:
        module = _called(found, reference, device)
    with user_code(f"{reference.text}, while it was looked at,"):
        _check_built(module, reference.text)
        if device is not None:
            _move(module, device, reference.text)
        make_input, search = inputs_of(module, inputs, memory)
        ties = declared_ties(module)
    return Subject(
        module=module,
        source=Source("module", reference.text, reference.path),
        seed=seed,
        make_input=make_input,
        loss=loss or Loss(),
        ties=ties,
        foreign=True,
        find_input=search,
    )


def inputs_of(
    module: nn.Module, inputs: tuple[Input, ...], memory: FoundBefore | None
) -> tuple[Callable[[], Batch] | None, InputSearch | None]:
    """Return what draws the input of a module, and what looks for one as far as it is not given.

    A wrapper, which passes on whatever it gets, takes what the model in it takes.
    """
    if inputs:
        return input_maker(module, inputs), input_completer(module, inputs)
    prefix = wrapping(module).prefix
    return example_maker(dict(walk(module).paths)[prefix.removesuffix(".")], memory=memory)


# --- the call --------------------------------------------------------------------------------------------------


def _called(found: Any, reference: Reference, device: str | None) -> nn.Module:
    """Call what is no module yet; whatever comes back but a module is refused."""
    if not callable(found):
        raise _no_module(f"is {_kind(found)}", found, reference.text)
    args, kwargs = _arguments(found, reference)
    on_meta = torch.device("meta") if device == "meta" else contextlib.nullcontext()
    with user_code(reference.text), on_meta:
        made = found(*args, **kwargs)
    if not isinstance(made, nn.Module):
        raise _no_module(f"returned {_kind(made)}", made, reference.text)
    return made


def _arguments(function: Callable[..., Any], reference: Reference) -> tuple[list[Any], dict[str, Any]]:
    """Return ``--arg`` as the call takes it. Raises UserError for an unknown one, and for one that is missing."""
    signature, kwargs = signature_of(function), dict(reference.args)
    if signature is None:
        return [], kwargs
    for name in kwargs:
        if name not in (*signature.named, *signature.positional) and not signature.takes_any_name:
            hint = did_you_mean(name, (*signature.named, *signature.positional)) or f"it takes {signature}"
            raise UserError(f"{reference.text} takes no {name!r}", where="--arg", hint=hint, code="bad-argument")
    for name, value in kwargs.items():
        _refuse_several(name, value, signature)
    missing = [one for one in signature.required if one.name not in kwargs]
    if missing:
        names = enumeration(one.name for one in missing)
        hint = f"it takes {signature}\n{_how_to_give(missing)}"
        raise UserError(f"needs {names}", where=reference.text, hint=hint, code="missing-argument")
    first = [one.name for one in signature.parameters if one.kind is Parameter.POSITIONAL_ONLY]
    return [kwargs.pop(name) for name in first if name in kwargs], kwargs


def _refuse_several(name: str, value: Any, signature: Signature) -> None:
    """Refuse ``width=8,classes=3`` where both are arguments of what is called: a text that has that in it is rare."""
    first, *others = re.split(r"[,;\s]\s*(?=[A-Za-z_]\w*=)", value) if isinstance(value, str) else [""]
    known = {one.name: one.default for one in signature.parameters}
    is_number = isinstance(known.get(name), int | float)
    meant = signature.takes_any_name or is_number or all(other.partition("=")[0] in known for other in others)
    if first and "=" not in first and others and meant:
        hint = f"one --arg for each: {' '.join(f'--arg {shlex.quote(one)}' for one in (f'{name}={first}', *others))}"
        raise UserError(f"{value!r} is more than one value", where=f"--arg {name}", hint=hint, code="bad-argument")


def _how_to_give(missing: list[Parameter]) -> str:
    """Say how the arguments may be given; what is no number or text needs a function of the user's."""
    kinds = [annotation(one) for one in missing]
    if any(kind and kind.partition("[")[0] not in (*_EXAMPLES, "list", "tuple", "dict", "Any") for kind in kinds):
        return "write a function that builds it, and name that instead"
    given = zip(missing, kinds, strict=True)
    return "for example: " + " ".join(f"--arg {one.name}={_EXAMPLES.get(kind, 'VALUE')}" for one, kind in given)


# --- what is no module -----------------------------------------------------------------------------------------


def _no_module(what: str, found: Any, where: str) -> UserError:
    return UserError(f"{what}, not a torch.nn.Module", where=where, hint=_advice(found), code="not-a-module")


def _kind(found: Any) -> str:
    """Say what was found, without running code of the user's."""
    name = type(found).__name__
    if found is None:
        return "None"
    if isinstance(found, ModuleType):
        return f"the Python module {found.__name__}"
    if isinstance(found, type):
        return f"the class {found.__name__}"
    if isinstance(found, Tensor):
        return f"a tensor of shape {tuple(found.shape)}"
    if _is_state_dict(found):
        return f"a state_dict of {len(found)} tensors"
    if isinstance(found, tuple | list):
        held = ", ".join(type(item).__name__ for item in found[:4]) + (", …" if len(found) > 4 else "")
        return f"a {name} ({held})"
    if name in _LAZY:
        return _LAZY[name]
    return f"a configuration ({name})" if "config" in name.lower() else f"an object of type {name}"


def _advice(found: Any) -> str:
    if isinstance(found, ModuleType):
        return f"name what is in it, as {found.__name__}:{next(iter(names_of(found)), 'NAME')}"
    if found is None:
        return "the function has to return the module"
    if isinstance(found, type):
        return "return an instance of it"
    if isinstance(found, Tensor):
        return "name the module that holds it"
    if _is_state_dict(found):
        return "name the module that it is loaded into: a state_dict has no forward"
    if isinstance(found, tuple | list) and any(isinstance(item, nn.Module) for item in found):
        return "name a function that returns the module alone"
    if inspect.iscoroutine(found):
        found.close()  # or Python warns that nobody awaited it
        return "name a function that is not async"
    if type(found).__name__ in _LAZY:
        return "name a function that returns the module and yields nothing"
    if "config" in type(found).__name__.lower():
        return "name a function that builds the module from it"
    return _WANTED


def _is_state_dict(found: Any) -> bool:
    if not isinstance(found, Mapping):
        return False
    with contextlib.suppress(Exception):  # a mapping of the user's
        return bool(found) and all(isinstance(value, Tensor) for value in found.values())
    return False


def _check_built(module: nn.Module, where: str) -> None:
    if "_parameters" not in attributes_of(module):
        message = f"{type(module).__name__}.__init__ never calls super().__init__()"
        raise UserError(message, where=where, hint="call it first: super().__init__()", code="not-a-module")


# --- where it lives --------------------------------------------------------------------------------------------


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        hint = "--device cpu needs no accelerator, --device meta no memory"
        raise UserError(f"cannot use {device!r}: {reason}", where="--device", hint=hint, code="bad-device") from error


def _move(module: nn.Module, device: str, what: str) -> None:
    """Move the module; on the way to meta every tensor is made anew, so what was one object is made one again."""
    names = places_of_shared(module)
    with user_code(f"{what}, while it was moved to {device},"):
        module.to(device)
    if device == "meta":
        tie_again(names)


def tie_again(places: list[list[tuple[nn.Module, str]]]) -> None:
    """Put the first tensor of each group in the place of the others: what was one object is one again."""
    for (kept, name), *others in places:
        for owner, other in others:
            _registry(owner, other)[other] = _registry(kept, name)[name]


def places_of_shared(module: nn.Module) -> list[list[tuple[nn.Module, str]]]:
    """Return where the parameters and buffers are registered that have more than one place."""
    places: dict[int, list[tuple[nn.Module, str]]] = {}
    for owner in module.modules():
        for name, tensor in (*owner._parameters.items(), *owner._buffers.items()):
            if tensor is not None:
                places.setdefault(id(tensor), []).append((owner, name))
    return [found for found in places.values() if len(found) > 1]


def _registry(owner: nn.Module, name: str) -> dict[str, Any]:
    return owner._parameters if name in owner._parameters else owner._buffers
