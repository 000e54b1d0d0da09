"""The parts of a parameter that have figures of their own: gates and projections, slices that rules filled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from paraminspect.analysis.inventory import TensorEntry
from paraminspect.analysis.passes.contributions import dense, peak, with_status
from paraminspect.analysis.passes.forward_backward import ForwardBackward, arrived
from paraminspect.analysis.statistics.tensor_values import measure
from paraminspect.experiments.selection import Request
from paraminspect.frozen import dataclass
from paraminspect.init.fill_plan import slice_names, slices_planned
from paraminspect.init.fill_record import FillRecord
from paraminspect.init.moment_verdicts import judge
from paraminspect.init.recognition.candidates import Place
from paraminspect.init.recognition.model_recognition import EXACT
from paraminspect.init.recognition.tensor_recognition import recognise
from paraminspect.init.rules import BoundRule
from paraminspect.modules.row_slices import RowSlice, padding_row
from paraminspect.modules.wrapper_tensors import whole
from paraminspect.report import Gradient, Init, ParameterPart, Values, Verdict

_HAVE_FIGURES = ("ok", "zero", "nonfinite")


@dataclass(frozen=True)
class Parts:
    """The slices that make up a tensor, the figures of each, and the constant or structure that some values tell."""

    rows: tuple[RowSlice, ...]
    values: tuple[Values | None, ...]
    exact: tuple[Init | None, ...]


def parts_in(
    module: nn.Module, entries: Iterable[TensorEntry], rules: Sequence[BoundRule], request: Request
) -> dict[int, Parts]:
    """Return the parts of each tensor as they are now, by its id: what rules fill slice by slice, and gates on request.

    Without rules for slices, and where no gates are asked for, nothing has parts.
    """
    planned = slices_planned(module, rules)
    if not planned and not request.gates:
        return {}
    names, found = slice_names(module), {}
    for entry in entries:
        if entry.kind == "parameter" and not entry.lazy and entry.shape:
            leaf = entry.name.rpartition(".")[2]
            stacked = names.stacked(entry.owner, leaf, entry.shape)
            rows = tuple(_cut(entry.shape, planned.get(id(entry.tensor), ()), stacked, request.gates))
            if rows:
                found[id(entry.tensor)] = _measured(entry.tensor, rows, request)
    return found


def _cut(
    shape: tuple[int, ...], wanted: Sequence[RowSlice], stacked: Sequence[RowSlice], gates: bool
) -> Iterator[RowSlice]:
    """Yield the slices in which a tensor is cut: at the ends of those wanted, and between its gates.

    The gates are left out where rules fill other rows, and nobody asked for them. Nothing is cut both ways.
    """
    ends = {end for one in wanted for end in (one.start, one.stop)}
    between = {end for one in stacked for end in (one.start, one.stop)}
    if gates or (ends and ends <= {*between, shape[0]}):
        ends |= between
    dims = {one.dim for one in wanted} or {one.dim for one in stacked}
    if not ends or len(dims) != 1:
        return
    (dim,) = dims
    if any(one.dim != dim for one in stacked):
        ends = {end for one in wanted for end in (one.start, one.stop)}
    known = {(one.start, one.stop, one.dim): one for one in (*wanted, *stacked)}
    cuts = sorted({0, shape[dim], *ends})
    for start, stop in pairwise(cuts):
        yield known.get((start, stop, dim), RowSlice("", start, stop, dim))


def _measured(tensor: Tensor, rows: tuple[RowSlice, ...], request: Request) -> Parts:
    with torch._C.DisableTorchFunctionSubclass():
        plain = whole(tensor)
        pieces = [None if plain is None else one.of(plain.detach()) for one in rows]
    values = tuple(None if piece is None else measure(piece) for piece in pieces)
    exact = tuple(map(_exact, pieces, values)) if request.recognise else (None,) * len(rows)
    return Parts(rows, values, exact)


def _exact(piece: Tensor | None, values: Values | None) -> Init | None:
    """Return what the values of a slice tell without a doubt: a constant, an orthogonal matrix."""
    found = recognise(piece, values, Place()) if piece is not None and values is not None else None
    return found.init if found is not None and found.scheme in EXACT else None


def padding_verdicts(entries: Iterable[TensorEntry], owners: Mapping[str, nn.Module]) -> Iterator[Verdict]:
    """Yield for each embedding the rms of its padding row, where that is not zero.

    A weight that is also a layer's that is no lookup is trained there, padding row and all: nothing is said of it.
    """
    for entry in entries:
        if not isinstance(entry.owner, nn.Embedding | nn.EmbeddingBag):  # as in most
            continue
        if entry.kind != "parameter" or entry.lazy or len(entry.shape) != 2:
            continue
        names = zip(entry.owner_names, entry.names, strict=True)
        rows = {padding_row(owners.get(path), name.rpartition(".")[2]) for path, name in names}
        row = next(iter(rows))
        if len(rows) > 1 or row is None or not 0 <= row < entry.shape[0]:
            continue
        with torch._C.DisableTorchFunctionSubclass():
            plain = whole(entry.tensor)
            values = None if plain is None else measure(plain.detach()[row], histogram=False)
        if values is not None and values.rms:
            yield Verdict("padding", "not zero", values.rms, 0.0, 0.0, f"{entry.name}[{row}]")


# --- the rows of the report ----------------------------------------------------------------------------------------


def part_rows(
    tensor: Tensor,
    parts: Parts | None,
    before: Parts | None,
    record: FillRecord | None,
    gradient: Gradient | None,
    passes: ForwardBackward | None,
) -> tuple[tuple[ParameterPart, FillRecord | None], ...]:
    """Return the parts of a tensor with the record of what set each; `record` and `gradient` are those of the whole."""
    if parts is None:
        return ()
    earlier = before.values if before and before.rows == parts.rows else (None,) * len(parts.rows)
    gradients = list(_gradients(tensor, parts.rows, gradient, passes))
    found = []
    for rows, values, exact, then, grad in zip(parts.rows, parts.values, parts.exact, earlier, gradients, strict=True):
        done = _record_of(record, rows)
        init = done.init if done else None
        if exact is not None and (init is None or init.recognised is False):
            init = exact
        elif init is not None and init.recognised is False:
            init = None
        shape = rows.shape_in(tuple(tensor.shape))
        part = ParameterPart(
            rows.name, rows.dim, rows.start, rows.stop, shape, torch.Size(shape).numel(), values, grad, init, then
        )
        found.append((part, done))
    return tuple(found)


def _record_of(record: FillRecord | None, rows: RowSlice) -> FillRecord | None:
    return record.of_slice(rows) if record else None


def _gradients(
    tensor: Tensor, rows: Sequence[RowSlice], gradient: Gradient | None, passes: ForwardBackward | None
) -> Iterator[Gradient | None]:
    """Yield the gradient of each slice, with a status of its own where one arrived at the whole."""
    arrived_here = arrived(tensor, passes) if passes and gradient and gradient.status in _HAVE_FIGURES else None
    if arrived_here is None or passes is None:
        yield from (Gradient(gradient.status) if gradient else None for _ in rows)
        return
    with torch._C.DisableTorchFunctionSubclass():
        plain = whole(dense(arrived_here.detach()))
    for one in rows:
        if plain is None:
            yield Gradient("unknown")
            continue
        values = measure(one.of(plain), histogram=False)
        yield with_status(values, one.of(plain).numel(), error=passes.rounding.error_of(tensor, peak(values)))


def verdicts_on_parts(
    name: str, dtype: str, parts: Iterable[tuple[ParameterPart, FillRecord | None]]
) -> Iterator[Verdict]:
    """Compare each part with what set it, under the name that it has behind the parameter's."""
    for part, done in parts:
        if done and done.moments and part.values and part.numel:
            yield from judge(f"{name}{part.label}", part.numel, dtype, part.values, done.moments)
