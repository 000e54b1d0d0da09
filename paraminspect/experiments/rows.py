"""One row of the report for every tensor that is shown: what it is, what set it, what gradient reached it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn

from paraminspect.analysis.inventory.model_inventory import Entry, Inventory
from paraminspect.analysis.inventory.small_tensors import Numbers
from paraminspect.analysis.passes import gradients
from paraminspect.errors import UserError, did_you_mean
from paraminspect.experiments.run import SHOWN, Request, State, Weight, relative
from paraminspect.init.applied import Applied
from paraminspect.init.apply import constructed
from paraminspect.init.schemes.scheme import LARGEST
from paraminspect.init.verdicts import judge
from paraminspect.modules.tensor_identity import dtype_name
from paraminspect.report import Parameter, Values, Verdict
from paraminspect.text.escape import some_names


def selected(entry: Entry, globs: tuple[str, ...]) -> bool:
    """Tell whether one of the entry's names matches one of the globs; without globs everything is selected."""
    return not globs or any(fnmatchcase(name, glob) for name in entry.names for glob in globs)


def nothing_selected(inventory: Inventory, globs: tuple[str, ...]) -> UserError:
    """Build the error for ``--params`` globs that match no name."""
    names = [name for entry in inventory.entries for name in entry.names]
    hint = did_you_mean(globs[0], names) or f"parameters: {some_names(names)}"
    wanted = " or ".join(repr(glob) for glob in globs)
    return UserError(f"{wanted} matches no parameter", where="--params", hint=hint, code="glob-matches-nothing")


def rows_of(state: State, request: Request) -> tuple[tuple[Parameter, ...], tuple[Verdict, ...]]:
    """Return the rows of the selected tensors, and whether their values are what their schemes should give.

    Raises UserError when ``--params`` selects nothing.
    """
    shown = [entry for entry in state.inventory.entries if selected(entry, request.params)]
    weights = {name: weight for weight in state.weights if (name := _seen(weight, request))}
    if request.params and not (shown or weights):
        raise nothing_selected(state.inventory, request.params)
    applied = {id(entry.tensor): _applied(entry, state) for entry in shown}
    rows = [_row(entry, state, request, applied[id(entry.tensor)]) for entry in shown]
    for name, weight in weights.items():
        rows.insert(_place(rows, weight, request), _computed(name, weight, state, request))
    return tuple(rows), (*_verdicts(state, shown, applied), *_on_weights(weights))


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
            digest=_shown(state.digests.get(id(tensor))),
        )


def _shown(digest: str | None) -> str | None:
    return None if digest is None else digest[:SHOWN]


def _seen(weight: Weight, request: Request) -> str | None:
    """Return the name of a computed weight if it is to be shown, as seen from the layer that is shown alone."""
    names = [relative(name, request.layer) for name in weight.computed.names]
    inside = [name for name in names if name is not None]
    wanted = not request.params or any(fnmatchcase(name, glob) for name in inside for glob in request.params)
    return inside[0] if inside and wanted else None


def _place(rows: Sequence[Parameter], weight: Weight, request: Request) -> int:
    """Return where the row of a computed weight goes: before what it is stored in."""
    stored = {relative(name, request.layer) for name in weight.computed.stored_names}
    return next((at for at, row in enumerate(rows) if row.name in stored), len(rows))


def _computed(name: str, weight: Weight, state: State, request: Request) -> Parameter:
    """Return the row of a weight that is computed from what is stored; its elements are counted there."""
    tensor, computed = weight.tensor, weight.computed
    names = [relative(other, request.layer) for other in computed.names]
    return Parameter(
        name=name,
        aliases=tuple(other for other in names if other not in (None, name)),
        module=name.rpartition(".")[0],
        module_type=type(computed.owners[0][0]).__name__,
        kind="computed",
        shape=computed.shape,
        dtype=computed.dtype,
        numel=tensor.numel(),
        bytes=tensor.numel() * tensor.element_size(),
        device=str(tensor.device),
        requires_grad=any(part.requires_grad for part in computed.stored),
        identity=state.inventory.identity(tensor),
        storage=None,
        values=weight.values,
        init=weight.applied.init,
        before=weight.before,
        data=weight.numbers.data,
        text=weight.numbers.text,
        note=computed.note,
    )


def _applied(entry: Entry, state: State) -> Applied | None:
    """Say what set a parameter: a rule, or torch's constructor, which only a spec's network has nothing after."""
    parameter = entry.tensor
    if entry.kind != "parameter" or entry.lazy or not isinstance(parameter, nn.Parameter):
        return None
    if id(parameter) in state.applied:
        return state.applied[id(parameter)].noting(_overflow(entry, state.values.get(id(parameter))))
    if state.subject.source.kind != "spec" or _redrawn(entry, state.inventory):
        return None
    return constructed(entry.owner, entry.name, parameter)


def _overflow(entry: Entry, values: Values | None) -> str:
    """Say that a dtype was too small for what was drawn."""
    dtype = dtype_name(entry.tensor.dtype)
    if values is None or not values.inf or dtype not in LARGEST:
        return ""
    return f"{values.inf:,} of {entry.numel or 0:,} elements overflow: the largest {dtype} is {LARGEST[dtype]:g}"


def _redrawn(entry: Entry, inventory: Inventory) -> bool:
    """Tell whether a module above draws anew what the constructors of its parts drew, as nn.Transformer does."""
    parts = entry.owner_names[0].split(".")
    above = (inventory.modules.get(".".join(parts[:depth])) for depth in range(len(parts) + 1))
    return any(isinstance(module, nn.Transformer) for module in above)


def _verdicts(state: State, shown: Sequence[Entry], applied: dict[int, Applied | None]) -> tuple[Verdict, ...]:
    found: list[Verdict] = []
    for entry in shown:
        done, values, numel = applied[id(entry.tensor)], state.values.get(id(entry.tensor)), entry.numel
        if done and done.moments and values and numel:
            found += judge(entry.name, numel, dtype_name(entry.tensor.dtype), values, done.moments)
    if state.passes:
        found += gradients.verdicts_of(state.passes, {id(entry.tensor): entry.name for entry in shown})
    return tuple(found)


def _on_weights(weights: Mapping[str, Weight]) -> Iterator[Verdict]:
    for name, weight in weights.items():
        if weight.applied.moments and weight.values and weight.tensor.numel():
            yield from judge(name, weight.tensor.numel(), weight.computed.dtype, weight.values, weight.applied.moments)
