"""Which input a module of the user's is run on: what was given, what it brings along, or a guess from its layers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from paraminspect.errors import UserError
from paraminspect.isolation.user_code import user_code
from paraminspect.modules.layer_input import device_of
from paraminspect.modules.nested_tensors import tensors_in
from paraminspect.modules.subject import Batch, Given, InputFound, InputSearch
from paraminspect.sources.first_guess import Needs
from paraminspect.sources.input_search import FoundBefore, find_input, likeliest_input
from paraminspect.sources.signature import Signature, signature_of
from paraminspect.text.numbers import plural

Maker = Callable[[], Batch]

OWN: Final = ("example_input_array", "dummy_inputs")
"""The attributes in which modules bring an input along: Lightning's, and that of the transformers library."""


def batch_of(inputs: Any) -> Batch:
    """Return the input that a Python caller gives: a mapping by name, a tuple or list by position, or one alone.

    Tensors are copies, so that a forward that works in place leaves the caller's alone.
    """
    return copied_batch(inputs, None, "given")


def example_maker(
    module: nn.Module, option: str = "--input", foreign: bool = True, memory: FoundBefore | None = None
) -> tuple[Maker | None, InputSearch | None]:
    """Return what makes an input for `module` when none is given, or else what looks for one.

    In this order: the module's own ``example_input_array``, taken at its word and moved to the device of its first
    parameter; then, by trials of the forward, its ``dummy_inputs``, what it says of its input in a configuration, what
    its first layer takes. Random numbers that the module's own code draws for it are not missed later. `memory` is of
    the same model, built before from another seed.
    """
    signature = signature_of(module.forward)
    failures: list[str] = []
    own: dict[str, Maker] = {}
    with torch.random.fork_rng(devices=[]):
        for attribute in OWN:
            try:
                with user_code(f"{attribute} of {type(module).__name__}"):
                    found = _own_example(module, attribute, signature)
            except UserError as error:
                failures.append(error.message)
                continue
            if found is not None:
                own[attribute] = _copying_maker(found, device_of(module), attribute)
    if OWN[0] in own:
        return own[OWN[0]], None

    known, untried = memory or FoundBefore(), []

    def likeliest() -> InputFound | None:
        if _has_no_forward(module):
            return None
        with user_code(f"{type(module).__name__}, while an input was looked for,"):
            found = likeliest_input(module, Needs(module, signature), own.items(), known)
        untried.append(found)
        return found

    def search() -> InputFound:
        if any(untried):  # and it failed, or nothing would be looked for
            known.forget()
        what = "; ".join([_what_to_pass(module, signature, option), *failures])
        if _has_no_forward(module):
            return InputFound(None, f"no forward: {what}")
        with user_code(f"{type(module).__name__}, while an input was looked for,"):
            needs = Needs(module, signature)
            return find_input(module, needs, own.items(), what, foreign, known)

    return None, InputSearch(search, likeliest)


def doubt(batch: Batch) -> str:
    """Say that the input may be to blame for a forward that failed; nothing where the user chose it."""
    if batch.origin in ("--input", "given", ""):
        return ""
    source = "inferred" if batch.origin == "inferred" else f"the model's {batch.origin}"
    return f"the input was {source}; pass --input"


# --- what the module brings along ------------------------------------------------------------------------------


def _own_example(module: nn.Module, attribute: str, signature: Signature | None) -> Any:
    """Return the module's own example, None if it has none that its forward takes."""
    found = getattr(module, attribute, None)
    if not tensors_in(found):
        return None
    if signature and isinstance(found, Mapping) and not (set(found) <= set(signature.named) or _open(signature)):
        return None
    return found


def _open(signature: Signature) -> bool:
    """Tell whether a forward names nothing of what it takes."""
    return signature.takes_any_name and not signature.named


def _copying_maker(found: Any, device: torch.device, origin: str) -> Maker:
    return lambda: copied_batch(found, device, origin)


def copied_batch(value: Any, device: torch.device | None, origin: str, whole: str | None = None) -> Batch:
    """Arrange copies of the parts of `value` as the arguments that they stand for; what was one object stays one.

    Under a name, `whole`, it is one argument.
    """
    copies: dict[int, Any] = {id(tensor): _copy(tensor, device) for tensor in tensors_in(value)}
    if whole is not None:
        return Batch((Given(_deep_copy(value, copies), whole),), origin)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return Batch(tuple(Given(_deep_copy(value[key], copies), key) for key in value), origin)
    is_several = isinstance(value, tuple | list) and not isinstance(value, PackedSequence)
    return Batch(tuple(Given(_deep_copy(item, copies)) for item in (value if is_several else [value])), origin)


def _deep_copy(value: Any, copies: dict[int, Any]) -> Any:
    """Copy a structure around the copies of its tensors; what cannot be copied is handed over as it is."""
    try:
        return copy.deepcopy(value, copies)
    except Exception:  # the user's objects may refuse
        return value


def _copy(tensor: Tensor, device: torch.device | None) -> Tensor:
    moved = tensor.detach().clone() if device is None else tensor.detach().to(device, copy=True)
    return moved.requires_grad_(tensor.requires_grad)


# --- what to say -----------------------------------------------------------------------------------------------


def _what_to_pass(module: nn.Module, signature: Signature | None, option: str) -> str:
    if _has_no_forward(module):
        return f"{type(module).__name__} defines none"
    if signature is None:
        return f"the input is not known; pass {_options([], option)}"
    needed = [parameter.name for parameter in signature.required]
    count = f"needs {plural(len(needed), 'input')}" if needed else "names no input it needs"
    return f"forward{signature} {count}; pass {_options(needed or signature.named[:1], option)}"


def _has_no_forward(module: nn.Module) -> bool:
    return getattr(module.forward, "__func__", None) is nn.Module.forward


def _options(names: Sequence[str], option: str) -> str:
    """Write the inputs of those names as they are given: on the command line, or to a function of Python."""
    if option == "--input":
        return " ".join(f"--input {name}=SHAPE" for name in names) or "--input SHAPE"
    return f"{option}={{{', '.join(f'{name!r}: …' for name in names)}}}" if names else f"{option}="
