"""One row of the report for every tensor that is shown: what it is, what set it, what gradient reached it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import torch
from torch import Tensor

from paraminspect.analysis.inventory import TensorEntry
from paraminspect.analysis.passes.forward_backward import ForwardBackward, gradient_of, verdicts_of
from paraminspect.experiments.measured import FilledWeight, Measured
from paraminspect.experiments.parameter_parts import part_rows, verdicts_on_parts
from paraminspect.experiments.selection import Request, Scope
from paraminspect.init.fill_record import FillRecord
from paraminspect.init.moment_verdicts import judge
from paraminspect.init.schemes.bound_scheme import LARGEST
from paraminspect.modules.nested_tensors import dtype_name
from paraminspect.report import Gradient, Parameter, ParameterPart, Values, Verdict

SHOWN = 16  # hex digits of a digest


def rows_of(
    measured: Measured, passes: ForwardBackward | None, request: Request
) -> tuple[tuple[Parameter, ...], tuple[Verdict, ...]]:
    """Return the rows of the selected tensors, and whether their values are what their schemes should give.

    Raises UserError when ``--params`` selects nothing.
    """
    scope = measured.scope
    shown = [entry for entry in scope.inventory.entries if request.selects(entry.names)]
    weights = {name: weight for weight in measured.weights if (name := _name_of(weight, scope, request))}
    if request.params and not (shown or weights):
        raise request.nothing_selected(scope.inventory)
    applied = {id(entry.tensor): _applied(entry, measured) for entry in shown}
    parts = {
        id(entry.tensor): _parts(entry, measured, passes, applied[id(entry.tensor)])
        for entry in shown
        if id(entry.tensor) in measured.parts
    }
    with torch._C.DisableTorchFunctionSubclass():  # a tensor class of the user's has code of its own
        rows = [
            _row(entry, measured, passes, request, applied[id(entry.tensor)], parts.get(id(entry.tensor), ()))
            for entry in shown
        ]
    for name, weight in weights.items():
        rows.insert(_place(rows, weight, scope), _computed(name, weight, scope))
    names = {entry.name for entry in shown}
    verdicts = [one for one in measured.padding if (one.where or "").rpartition("[")[0] in names]
    verdicts += _on_entries(shown, measured, applied)
    for entry in shown:
        if found := parts.get(id(entry.tensor)):
            verdicts += verdicts_on_parts(entry.name, dtype_name(entry.tensor.dtype), found)
    if passes:
        verdicts += verdicts_of(passes, {id(entry.tensor): entry.name for entry in shown})
    return tuple(rows), (*verdicts, *_on_weights(weights))


_Parts = tuple[tuple[ParameterPart, FillRecord | None], ...]


def _parts(
    entry: TensorEntry, measured: Measured, passes: ForwardBackward | None, applied: FillRecord | None
) -> _Parts:
    key, tensor = id(entry.tensor), entry.tensor
    earlier = measured.parts_before.get(key)
    return part_rows(tensor, measured.parts[key], earlier, applied, gradient_of(tensor, passes), passes)


def _row(
    entry: TensorEntry,
    measured: Measured,
    passes: ForwardBackward | None,
    request: Request,
    applied: FillRecord | None,
    parts: _Parts,
) -> Parameter:
    tensor, key = entry.tensor, id(entry.tensor)
    numbers, digest = measured.numbers.get(key), measured.digests.get(key)
    inventory = measured.scope.inventory
    return Parameter(
        name=entry.names[0],
        aliases=entry.names[1:],
        module=entry.owner_names[0],
        module_type=type(entry.owner).__name__,
        kind=entry.kind,
        shape=entry.shape,
        dtype=dtype_name(tensor.dtype),
        numel=entry.numel,
        bytes=entry.bytes,
        device=_device_name(tensor.device),
        requires_grad=tensor.requires_grad,
        identity=inventory.identity(tensor),
        storage=inventory.storage(tensor),
        values=measured.values.get(key),
        gradient=_gradient(tensor, passes, request) if entry.kind == "parameter" else None,
        init=applied.init if applied else None,
        before=measured.before.get(key),
        data=numbers.data if numbers else None,
        text=numbers.text if numbers else None,
        note=entry.note,
        persistent=entry.persistent,
        digest=None if digest is None else digest[:SHOWN],
        parts=tuple([part for part, _ in parts]) if parts else (),
    )


_device_name = cache(str)


def _gradient(tensor: Tensor, passes: ForwardBackward | None, request: Request) -> Gradient:
    """Return what is known of the gradient; without passes, two objects serve all rows."""
    if passes is not None:
        return gradient_of(tensor, passes, request.values)
    return _NOT_RUN if tensor.requires_grad else _FROZEN


_NOT_RUN, _FROZEN = Gradient("not-run"), Gradient("frozen")


# --- weights that are computed ---------------------------------------------------------------------------------


def _name_of(weight: FilledWeight, scope: Scope, request: Request) -> str | None:
    """Return the name of a computed weight, if it is to be shown, as seen from the layer that is shown alone."""
    names = [name for name in map(scope.relative, weight.computed.names) if name is not None]
    return names[0] if names and request.selects(names) else None


def _place(rows: Sequence[Parameter], weight: FilledWeight, scope: Scope) -> int:
    """Return where the row of a computed weight goes: before what it is stored in."""
    stored = set(map(scope.relative, weight.computed.stored_names))
    return next((at for at, row in enumerate(rows) if row.name in stored), len(rows))


def _computed(name: str, weight: FilledWeight, scope: Scope) -> Parameter:
    """Return the row of a weight that is computed from what is stored; its elements are counted there."""
    tensor, computed = weight.tensor, weight.computed
    names = map(scope.relative, computed.names)
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
        identity=scope.inventory.identity(tensor),
        storage=None,
        values=weight.values,
        init=weight.applied.init,
        before=weight.before,
        data=weight.numbers.data,
        text=weight.numbers.text,
        note=computed.note,
    )


# --- what set them, and whether it shows -----------------------------------------------------------------------


def _applied(entry: TensorEntry, measured: Measured) -> FillRecord | None:
    """Return what set a parameter, with a note where its dtype was too small for what a rule drew."""
    applied = measured.initialisers.get(id(entry.tensor))
    if applied is None or entry.lazy:
        return None
    if not applied.fills:  # torch's constructor
        return applied
    return applied.with_note(_overflow(entry, measured.values.get(id(entry.tensor))))


def _overflow(entry: TensorEntry, values: Values | None) -> str:
    """Say that a dtype was too small for what was drawn."""
    dtype = dtype_name(entry.tensor.dtype)
    if values is None or not values.inf or dtype not in LARGEST:
        return ""
    return f"{values.inf:,} of {entry.numel or 0:,} elements overflow: the largest {dtype} is {LARGEST[dtype]:g}"


def _on_entries(
    shown: Sequence[TensorEntry], measured: Measured, applied: Mapping[int, FillRecord | None]
) -> Iterator[Verdict]:
    for entry in shown:
        done, values, numel = applied[id(entry.tensor)], measured.values.get(id(entry.tensor)), entry.numel
        if done and done.moments and values and numel:
            yield from judge(entry.name, numel, dtype_name(entry.tensor.dtype), values, done.moments)


def _on_weights(weights: Mapping[str, FilledWeight]) -> Iterator[Verdict]:
    for name, weight in weights.items():
        if weight.applied.moments and weight.values and weight.tensor.numel():
            yield from judge(name, weight.tensor.numel(), weight.computed.dtype, weight.values, weight.applied.moments)
