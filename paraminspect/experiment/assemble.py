"""Turn what a run measured into a Report of plain values."""

from __future__ import annotations

import math
import platform
import re
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import filterfalse

import torch
from torch import Tensor, nn

from paraminspect import __version__
from paraminspect.analysis import gradients
from paraminspect.analysis.inventory import Entry, Inventory, count, dtype_name, names_of
from paraminspect.analysis.losses import tensors_in
from paraminspect.analysis.numbers import Numbers, numbers_of
from paraminspect.analysis.passes import loss_value
from paraminspect.analysis.sharing import find_sharing
from paraminspect.errors import UserError, did_you_mean
from paraminspect.experiment.run import Request, State
from paraminspect.init.rules import Applied, constructed
from paraminspect.init.verdicts import judge
from paraminspect.render.escape import clean
from paraminspect.report import (
    Environment,
    Failure,
    Forward,
    Layer,
    Model,
    Parameter,
    Report,
    Sharing,
    TensorInfo,
    Use,
    Verdict,
)
from paraminspect.sources.subject import Subject


def assemble(state: State, request: Request) -> Report:
    """Turn what was measured into a Report."""
    subject, inventory = state.subject, state.inventory
    shown = [entry for entry in inventory.entries if selected(entry, request.params)]
    if request.params and not shown:
        raise nothing_selected(inventory, request.params)
    applied = {id(entry.tensor): _applied(entry, state) for entry in shown}
    rows = tuple(_row(entry, state, request, applied[id(entry.tensor)]) for entry in shown)
    totals = replace(count(inventory), shown=sum(r.numel or 0 for r in rows if r.kind == "parameter"))
    _check_sum(state.scope, totals.parameters if request.params else totals.shown)
    return Report(
        command=request.command,
        source=subject.source,
        environment=_environment(subject),
        model=Model(type(state.scope).__name__, _printed(state)),
        parameters=rows,
        totals=totals,
        sharing=_sharing(state, request),
        forward=_forward(state, request),
        uses=_uses(state, request),
        layers=_layers(state, request),
        verdicts=_verdicts(state, shown, applied),
        errors=_errors(state),
        notes=_notes(state, request),
    )


def _printed(state: State) -> str:
    """Return the module's repr; a name in it stays on its line, so that it cannot pass for lines of the report."""
    text = repr(state.scope)
    names = {part for path in state.inventory.modules for part in path.split(".")}
    for name in filterfalse(str.isprintable, names):
        broken = "\n *".join(map(re.escape, name.split("\n")))  # PyTorch indents what follows a newline
        text = re.sub(rf"\({broken}\): ", _shown(name), text)
    return text


def _shown(name: str) -> Callable[[re.Match[str]], str]:
    return lambda _: f"({clean(name, limit=None)}): "


def selected(entry: Entry, globs: tuple[str, ...]) -> bool:
    """Tell whether one of the entry's names matches one of the globs; without globs everything is selected."""
    return not globs or any(fnmatchcase(name, glob) for name in entry.names for glob in globs)


def nothing_selected(inventory: Inventory, globs: tuple[str, ...]) -> UserError:
    """Build the error for ``--params`` globs that match no name."""
    names = [name for entry in inventory.entries for name in entry.names]
    hint = did_you_mean(globs[0], names) or f"parameters: {', '.join(names[:12]) or 'none'}"
    wanted = " or ".join(repr(glob) for glob in globs)
    return UserError(f"{wanted} matches no parameter", where="--params", hint=hint, code="glob-matches-nothing")


def _check_sum(module: nn.Module, total: int) -> None:
    """Refuse to print rows that do not add up to what torch counts."""
    truth = sum(p.numel() for p in module.parameters() if not nn.parameter.is_lazy(p))
    if total != truth:
        raise AssertionError(f"the rows add up to {total:,} parameters, the module has {truth:,}")


def _row(entry: Entry, state: State, request: Request, applied: Applied | None) -> Parameter:
    tensor, lazy = entry.tensor, entry.lazy
    is_parameter = entry.kind == "parameter"
    numbers = state.numbers.get(id(tensor), Numbers())
    return Parameter(
        name=entry.name,
        aliases=entry.names[1:],
        module=entry.owner_names[0],
        module_type=type(entry.owner).__name__,
        kind=entry.kind,
        shape=() if lazy else tuple(tensor.shape),
        dtype=dtype_name(tensor.dtype),
        numel=entry.numel,
        bytes=entry.bytes,
        device=str(tensor.device),
        requires_grad=tensor.requires_grad,
        identity=state.inventory.identity(tensor),
        storage=state.inventory.storage(tensor),
        values=state.values[id(tensor)],
        gradient=gradients.gradient_of(tensor, state.passes, request.values) if is_parameter else None,
        init=applied.init if applied else None,
        before=state.before.get(id(tensor)),
        data=numbers.data,
        text=numbers.text,
        note=entry.note,
        persistent=entry.persistent,
    )


def _applied(entry: Entry, state: State) -> Applied | None:
    if entry.kind != "parameter" or entry.lazy:
        return None
    parameter = entry.tensor
    assert isinstance(parameter, nn.Parameter)
    return state.applied.get(id(parameter)) or constructed(entry.owner, entry.name, parameter)


def _verdicts(state: State, shown: list[Entry], applied: dict[int, Applied | None]) -> tuple[Verdict, ...]:
    found: list[Verdict] = []
    for entry in shown:
        done, values, numel = applied[id(entry.tensor)], state.values[id(entry.tensor)], entry.numel
        if done and done.moments and values and numel:
            found += judge(entry.name, numel, dtype_name(entry.tensor.dtype), values, done.moments)
    return tuple(found)


def _notes(state: State, request: Request) -> tuple[str, ...]:
    """Return what the report leaves out: the forward, and names that lie outside the layer that is shown alone."""
    notes = []
    if request.forward and state.subject.make_input is None:
        notes.append(state.subject.why_no_input)
    if request.layer is not None:
        everywhere = {id(parameter): names for parameter, names in names_of(state.subject.module)}
        for entry in state.inventory.of_kind("parameter"):
            outside = [name for name in everywhere[id(entry.tensor)] if _relative(name, request.layer) is None]
            if outside:
                layer = f"layer {request.layer!r}"
                notes.append(f"{entry.name!r} of {layer} is one Parameter with {', '.join(outside)}, outside of it")
    return tuple(notes)


def _environment(subject: Subject) -> Environment:
    first = next(subject.module.parameters(), None)
    return Environment(
        paraminspect=__version__,
        torch=str(torch.__version__),
        python=platform.python_version(),
        device=str(first.device) if first is not None else "cpu",
        dtype=dtype_name(first.dtype if first is not None else torch.get_default_dtype()),
        seed=subject.seed,
    )


def _forward(state: State, request: Request) -> Forward | None:
    if state.passes is None or state.batch is None:
        return None
    passes, wanted = state.passes, request.values
    inputs = tuple(
        describe(tensor, wanted, one.name, one.sample) for one in state.batch.given for tensor in tensors_in(one.value)
    )
    loss = loss_value(passes.loss)
    return Forward(
        input=inputs,
        output=tuple(describe(tensor, wanted) for tensor in tensors_in(passes.output)),
        loss=loss,
        loss_name=state.subject.loss.name,
        backward=passes.backward,
        error=passes.error,
        loss_finite=None if loss is None else math.isfinite(loss),
        origin=state.batch.origin or None,
    )


def describe(tensor: Tensor, wanted: bool, name: str | None = None, sample: str | None = None) -> TensorInfo:
    """Describe a tensor that went in or came out, with its elements when they are wanted and few."""
    numbers = numbers_of(tensor.detach()) if wanted else Numbers()
    dtype = dtype_name(tensor.dtype)
    return TensorInfo(name, tuple(tensor.shape), dtype, str(tensor.device), sample, numbers.data, numbers.text)


def _relative(path: str, layer: str | None) -> str | None:
    """Return a module path as seen from the layer that is shown alone; None when it lies outside."""
    if layer is None:
        return path
    if path == layer:
        return ""
    return path[len(layer) + 1 :] if path.startswith(layer + ".") else None


def _sharing(state: State, request: Request) -> tuple[Sharing, ...]:
    """Return the groups that hold a selected name; declared ties are seen from the layer that is shown alone."""
    ties = ((_relative(name, request.layer) for name in tie) for tie in state.subject.ties.names)
    declared = tuple(tuple(name for name in tie if name is not None) for tie in ties)
    chosen = {entry.names for entry in state.inventory.entries if selected(entry, request.params)}
    return tuple(group for group in find_sharing(state.inventory, declared) if group.names in chosen)


def _uses(state: State, request: Request) -> tuple[Use, ...]:
    if state.passes is None:
        return ()
    names = {id(entry.tensor): entry.name for entry in state.inventory.entries if selected(entry, request.params)}
    found = gradients.uses_of(state.passes, names)
    paths = [_relative(use.module, request.layer) for use in found]
    return tuple(use if path is None else replace(use, module=path) for use, path in zip(found, paths, strict=True))


def _layers(state: State, request: Request) -> tuple[Layer, ...]:
    if state.passes is None:
        return ()
    if request.layer is None:
        return state.passes.layers()
    found = ((layer, _relative(layer.module, request.layer)) for layer in state.passes.layers())
    return tuple(replace(layer, module=path) for layer, path in found if path is not None)


def _errors(state: State) -> tuple[Failure, ...]:
    error = state.passes.error if state.passes else None
    if error is None:
        return ()
    where = f"layer {error.module!r}" if error.module else error.phase
    return (Failure(f"{error.phase}-failed", f"the {error.phase} failed: {error.message}", where),)
