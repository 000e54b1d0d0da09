"""Turn what a run measured into a Report of plain values."""

from __future__ import annotations

import contextlib
import math
import platform
import re
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import filterfalse

import torch
from torch import Tensor, nn

from paraminspect import __version__, guard
from paraminspect.analysis import gradients
from paraminspect.analysis.inventory import Entry, Inventory, count, counted_by_torch, dtype_name, names_of
from paraminspect.analysis.numbers import Numbers, numbers_of
from paraminspect.analysis.outputs import tensors_in
from paraminspect.analysis.passes import loss_value
from paraminspect.errors import UserError, did_you_mean
from paraminspect.experiment.run import Request, State, relative
from paraminspect.experiment.selection import arranged
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
from paraminspect.sources.examples import doubt
from paraminspect.sources.subject import Subject


def assemble(state: State, request: Request) -> Report:
    """Turn what was measured into a Report."""
    subject, inventory = state.subject, state.inventory
    shown = [entry for entry in inventory.entries if selected(entry, request.params)]
    if request.params and not shown:
        raise nothing_selected(inventory, request.params)
    applied = {id(entry.tensor): _applied(entry, state) for entry in shown}
    rows = tuple(_row(entry, state, request, applied[id(entry.tensor)]) for entry in shown)
    totals = count(inventory)
    _check_sum(state.scope, totals.parameters if request.params else _numel(rows))
    rows = arranged(rows, request.sort, request.top)
    return Report(
        command=request.command,
        source=subject.source,
        environment=_environment(subject),
        model=Model(type(state.scope).__name__, _printed(state)),
        parameters=rows,
        totals=replace(totals, shown=_numel(rows)),
        sharing=_sharing(state, request),
        forward=_forward(state, request),
        uses=_uses(state, request),
        layers=_layers(state, request),
        verdicts=_verdicts(state, shown, applied),
        errors=_errors(state),
        notes=_notes(state, request),
    )


def _numel(rows: tuple[Parameter, ...]) -> int:
    return sum(row.numel or 0 for row in rows if row.kind == "parameter")


def _printed(state: State) -> str:
    """Return the module's repr; a name in it stays on its line, so that it cannot pass for lines of the report."""
    text = _repr(state)
    names = {path.rpartition(".")[2] for path in state.inventory.modules}
    for name in filterfalse(str.isprintable, names):
        broken = "\n *".join(map(re.escape, name.split("\n")))  # PyTorch indents what follows a newline
        text = re.sub(rf"\({broken}\): ", _shown(name), text)
    return text


def _repr(state: State) -> str:
    """Return the module's repr, or why there is none: it may be the user's code, and torch's own visits every path."""
    kind = type(state.scope).__name__
    if state.inventory.cut:
        return f"{kind} (its repr would not end: modules go by too many names)"
    try:
        with guard.contained() if state.subject.foreign else contextlib.nullcontext():
            return str.__str__(repr(state.scope))  # of a subclass of str, the text alone
    except (Exception, SystemExit) as error:
        return f"{kind} (its repr failed: {type(error).__name__})"


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
    """Refuse to print rows that do not add up to what torch counts, where it can count."""
    truth = counted_by_torch(module)
    if truth is not None and total != truth:
        raise AssertionError(f"the rows add up to {total:,} parameters, the module has {truth:,}")


def _row(entry: Entry, state: State, request: Request, applied: Applied | None) -> Parameter:
    tensor = entry.tensor
    is_parameter = entry.kind == "parameter"
    numbers = state.numbers.get(id(tensor), Numbers())
    with torch._C.DisableTorchFunctionSubclass():  # a tensor class of the user's has code of its own
        return Parameter(
            name=entry.name,
            aliases=entry.names[1:],
            module=entry.owner_names[0],
            module_type=type(entry.owner).__name__,
            kind=entry.kind,
            shape=entry.shape,
            dtype=dtype_name(tensor.dtype),
            numel=entry.numel,
            bytes=entry.bytes,
            device=str(tensor.device),
            requires_grad=tensor.requires_grad,
            identity=state.inventory.identity(tensor),
            storage=state.inventory.storage(tensor),
            values=state.values.get(id(tensor)),
            gradient=gradients.gradient_of(tensor, state.passes, request.values) if is_parameter else None,
            init=applied.init if applied else None,
            before=state.before.get(id(tensor)),
            data=numbers.data,
            text=numbers.text,
            note=entry.note,
            persistent=entry.persistent,
        )


def _applied(entry: Entry, state: State) -> Applied | None:
    """Say what set a parameter: a rule, or torch's constructor, which only a spec's network has nothing after."""
    parameter = entry.tensor
    if entry.kind != "parameter" or entry.lazy or not isinstance(parameter, nn.Parameter):
        return None
    if id(parameter) in state.applied or state.subject.source.kind != "spec" or _redrawn(entry, state.inventory):
        return state.applied.get(id(parameter))
    return constructed(entry.owner, entry.name, parameter)


def _redrawn(entry: Entry, inventory: Inventory) -> bool:
    """Tell whether a module above draws anew what the constructors of its parts drew, as nn.Transformer does."""
    parts = entry.owner_names[0].split(".")
    above = (inventory.modules.get(".".join(parts[:depth])) for depth in range(len(parts) + 1))
    return any(isinstance(module, nn.Transformer) for module in above)


def _verdicts(state: State, shown: list[Entry], applied: dict[int, Applied | None]) -> tuple[Verdict, ...]:
    found: list[Verdict] = []
    for entry in shown:
        done, values, numel = applied[id(entry.tensor)], state.values.get(id(entry.tensor)), entry.numel
        if done and done.moments and values and numel:
            found += judge(entry.name, numel, dtype_name(entry.tensor.dtype), values, done.moments)
    if state.passes:
        found += gradients.verdicts_of(state.passes, {id(entry.tensor): entry.name for entry in shown})
    return tuple(found)


def _notes(state: State, request: Request) -> tuple[str, ...]:
    """Return what the report leaves out: the forward, and names that lie outside the layer that is shown alone."""
    notes = [*state.inventory.notes]
    if request.forward and state.subject.make_input is None:
        notes.append(state.subject.why_no_input)
    if state.passes and state.passes.constant:
        notes.append(state.passes.constant)
    if request.layer is not None:
        everywhere = {id(parameter): names for parameter, names in names_of(state.subject.module)}
        for entry in state.inventory.of_kind("parameter"):
            outside = [name for name in everywhere[id(entry.tensor)] if relative(name, request.layer) is None]
            if outside:
                layer = f"layer {request.layer!r}"
                notes.append(f"{entry.name!r} of {layer} is one Parameter with {', '.join(outside)}, outside of it")
    return tuple(notes)


def _environment(subject: Subject) -> Environment:
    first = next((parameter for parameter, _ in names_of(subject.module)), None)
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


def _sharing(state: State, request: Request) -> tuple[Sharing, ...]:
    """Return the groups that hold a selected name."""
    chosen = {name for entry in state.inventory.entries if selected(entry, request.params) for name in entry.names}
    return tuple(group for group in state.sharing if not (request.params and chosen.isdisjoint(group.names)))


def _uses(state: State, request: Request) -> tuple[Use, ...]:
    if state.passes is None:
        return ()
    names = {id(entry.tensor): entry.name for entry in state.inventory.entries if selected(entry, request.params)}
    wanted = request.values or not request.all_uses  # printing the elements of thousands of uses takes seconds
    found = gradients.uses_of(state.passes, names, wanted)
    paths = [relative(use.module, request.layer) for use in found]
    return tuple(use if path is None else replace(use, module=path) for use, path in zip(found, paths, strict=True))


def _layers(state: State, request: Request) -> tuple[Layer, ...]:
    if state.passes is None:
        return ()
    if request.layer is None:
        return state.passes.layers()
    found = ((layer, relative(layer.module, request.layer)) for layer in state.passes.layers())
    return tuple(replace(layer, module=path) for layer, path in found if path is not None)


def _errors(state: State) -> tuple[Failure, ...]:
    error = state.passes.error if state.passes else None
    if error is None:
        return ()
    where = f"layer {error.module!r}" if error.module else error.phase
    guessed = doubt(state.batch) if state.batch and error.phase == "forward" else ""
    message = "; ".join(filter(None, (f"the {error.phase} failed: {error.message}", guessed)))
    return (Failure(f"{error.phase}-failed", message, where),)
