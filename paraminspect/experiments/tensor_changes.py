"""What differs tensor by tensor: those of both sides that are not the same, and those that one side lacks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from paraminspect.analysis.statistics.value_change import Tolerance
from paraminspect.experiments.compared_bytes import Comparable, Comparer, comparable, rank_of
from paraminspect.experiments.name_pairs import Pair, Pairs
from paraminspect.report import TensorChange, ValueChange
from paraminspect.sources.diff_sides import Side, SideTensor


def changes_of(
    pairs: Pairs, a: Side, b: Side, comparer: Comparer, tolerance: Tolerance, rank: bool
) -> tuple[list[TensorChange], dict[str, int]]:
    """Return the tensors of both sides that are not the same, and how many of each kind."""
    counts = dict.fromkeys(("identical", "within", "values", "bits", "dtype", "shape", "unread", "renamed"), 0)
    counts["renamed"] = sum(len(one.names) for one in pairs.renamings)
    found: list[TensorChange] = []
    readable: list[tuple[Pair, Comparable]] = []
    for pair in pairs.pairs:
        one, other = a.tensors[pair[0]], b.tensors[pair[1]]
        shaped = one.has_shape and other.has_shape
        if shaped and one.shape != other.shape:
            found.append(_change(pair, one, other, ("shape", *_dtype(one, other))))
            continue
        compared = comparable(one, other, a, b) if shaped else None
        if compared is None:
            note = "; ".join(filter(None, (one.why and f"A: {one.why}", other.why and f"B: {other.why}")))
            why = note or "the bytes of one side cannot be read"
            found.append(_change(pair, one, other, (*_dtype(one, other), "unread"), note=why))
        else:
            readable.append((pair, compared))
    unequal = sorted(comparer.unequal([compared for _, compared in readable]))
    counts["identical"] = len(readable) - len(unequal)
    values = comparer.changes([readable[at][1] for at in unequal])
    for at, value in zip(unequal, values, strict=True):
        pair, compared = readable[at]
        one, other = a.tensors[pair[0]], b.tensors[pair[1]]
        what = (*_dtype(one, other), *_in_values(value, one.dtype == other.dtype))
        ranked = _with_rank(value, compared) if value is not None and rank and value.different else value
        unknown = None if value else f"differs in its bytes; {one.dtype} is not a type whose numbers are read here"
        found.append(_change(pair, one, other, what, ranked, unknown))
    found = [_marked(change, tolerance) for change in found]
    for change in found:
        for kind in change.changes:
            counts[kind] += 1
    return found, counts


def _with_rank(value: ValueChange, compared: Comparable) -> ValueChange:
    found = rank_of(compared)
    if found is None:
        return value
    rank, full, tolerance = found
    return replace(value, rank=rank, full_rank=full, rank_tolerance=tolerance)


def _dtype(one: SideTensor, other: SideTensor) -> tuple[str, ...]:
    return ("dtype",) if one.dtype and other.dtype and one.dtype != other.dtype else ()


def _in_values(value: ValueChange | None, one_type: bool) -> tuple[str, ...]:
    if value is None:
        return ("unread",) if not one_type else ("values",)
    if value.different:
        return ("values",)
    return ("bits",) if one_type else ()


def _change(
    pair: Pair,
    one: SideTensor,
    other: SideTensor,
    what: tuple[str, ...],
    values: ValueChange | None = None,
    note: str | None = None,
) -> TensorChange:
    renamed = None if pair[0] == pair[1] else pair[1]
    (shape, dtype), (other_shape, other_dtype) = _declared(one), _declared(other)
    about = shape, other_shape, dtype, other_dtype, one.bytes, other.bytes
    return TensorChange(pair[0], "changed", what, renamed, *about, values, note)


def _declared(one: SideTensor) -> tuple[tuple[int, ...] | None, str | None]:
    return one.shape if one.has_shape else None, one.dtype or None


def absent(names: Sequence[str], side: Side, status: str, left_out: set[str]) -> Iterator[TensorChange]:
    """Yield what one side alone has, without the names that a tie there leaves out."""
    for name in names:
        if name in left_out:
            continue
        tensor = side.tensors[name]
        shape, dtype = _declared(tensor)
        if status == "removed":
            yield TensorChange(name, status, shape=shape, dtype=dtype, bytes=tensor.bytes, note=tensor.why or None)
        else:
            yield TensorChange(
                name, status, other_shape=shape, other_dtype=dtype, other_bytes=tensor.bytes, note=tensor.why or None
            )


def _within_tolerance(one: TensorChange, tolerance: Tolerance) -> bool:
    """Tell whether a tensor that is not the same in its bytes is so within a tolerance that was given."""
    return tolerance.given and one.values is not None and not one.values.beyond and "shape" not in one.changes


def _marked(one: TensorChange, tolerance: Tolerance) -> TensorChange:
    """Return a change with what the tolerance makes of it: another dtype stays one, its values are no change."""
    if not _within_tolerance(one, tolerance):
        return one
    return replace(one, changes=("dtype",) if "dtype" in one.changes else (*one.changes, "within"))


def is_within(one: TensorChange) -> bool:
    """Tell whether values differ by no more than the tolerance that was given."""
    return "within" in one.changes


def moved_together(found: Sequence[TensorChange]) -> tuple[float | None, float | None]:
    """Return ‖B - A‖ over all tensors that moved, and that relative to their ‖A‖: without counts if there is more."""
    moved = [one for one in found if not is_within(one)]
    measured = [one for one in moved if not one.is_count] or moved
    values = [one.values for one in measured if one.values is not None and one.values.l2 is not None]
    l2 = math.hypot(*(value.l2 or 0.0 for value in values))
    base = math.hypot(*(value.l2_of_a or 0.0 for value in values))
    return (l2, l2 / base if base else None) if values else (None, None)


def order_of(one: TensorChange) -> tuple[bool, int, float]:
    """Sort what cannot be loaded first, then what only one side has, then the values by how far they moved.

    What optimizers keep stands below all that.
    """
    last = one.in_optimizer is not None
    if "shape" in one.changes:
        return last, 0, 0.0
    if one.status != "changed":
        return last, (1 if one.status == "removed" else 2), 0.0
    if one.values is None:
        return last, 3, 0.0
    if one.values.nonfinite:
        return last, 4, -float(one.values.nonfinite)
    relative = one.values.relative
    size = math.inf if relative is None and one.values.different else relative or 0.0
    return last, 5, -size
