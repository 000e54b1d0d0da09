"""The bytes that a strided tensor touches, as a set: described by a few numbers, counted exactly, never read.

A set is nested arithmetic progressions of runs of bytes. What such sets have in common follows from how many bytes of
one lie below a position, which is a division for each dimension: no bytes are listed, no pairs of elements compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from paraminspect.analysis.statistics.elements import Dims as ElementDims, span, visits
from paraminspect.frozen import dataclass

Array = npt.NDArray[np.int64]
Dims = tuple[tuple[int, int], ...]  # (how many, bytes from one to the next), the widest step first

MOST_LISTED = 2**20  # runs of bytes, or elements of a tensor whose rows interleave, that are looked at one by one
_CHUNK = 2**16


class StridedBytes(NamedTuple):
    """Bytes whose dimensions nest: a step never reaches back into what the steps inside it span.

    The last of `dims` is the run itself, of so many bytes with a step of 1.
    """

    start: int
    dims: Dims

    @property
    def stop(self) -> int:
        """Return the position after the last byte."""
        return self.start + span(self.dims)

    @property
    def size(self) -> int:
        """Return the number of different bytes."""
        return math.prod(count for count, _ in self.dims)

    @property
    def runs(self) -> int:
        """Return the number of runs."""
        return self.size // self.dims[-1][0]

    def below(self, positions: Array) -> Array:
        """Return how many bytes lie below each position."""
        rest, found, inner = positions - self.start, np.zeros_like(positions), self.size
        for count, step in self.dims:
            inner //= count
            turn = np.clip(rest // step, 0, count - 1)
            found += turn * inner
            rest = rest - turn * step
        return found + (rest > 0)

    def between(self, low: int, high: int) -> Iterator[tuple[Array, Array]]:
        """Yield starts and stops of the runs that reach into ``[low, high)``, in order, some at a time."""
        length = self.dims[-1][0]
        below_low, below_high = self.below(np.array([low, high]))
        first, last = int(below_low) // length, -(-int(below_high) // length)
        counts, steps = zip(*(self.dims[:-1] or ((1, 0),)), strict=True)
        for at in range(first, last, _CHUNK):
            turns = np.unravel_index(np.arange(at, min(at + _CHUNK, last)), counts)
            starts = self.start + sum(turn * step for turn, step in zip(turns, steps, strict=True))
            yield starts, starts + length


@dataclass(frozen=True)
class ListedBytes:
    """Bytes whose dimensions interleave, run by run; unknown, but for the extent, where there are too many to list."""

    start: int
    dims: Dims
    starts: Array | None = field(compare=False)
    stops: Array | None = field(compare=False)

    @property
    def stop(self) -> int:
        """Return the position after the last byte."""
        return self.start + span(self.dims)

    @property
    def size(self) -> int | None:
        """Return the number of different bytes, None where it is unknown."""
        return None if self.starts is None or self.stops is None else int((self.stops - self.starts).sum())

    @property
    def runs(self) -> int | None:
        """Return the number of runs, None where it is unknown."""
        return None if self.starts is None else len(self.starts)

    def below(self, positions: Array) -> Array:
        """Return how many bytes lie below each position."""
        assert self.starts is not None and self.stops is not None
        before = np.concatenate([[0], np.cumsum(self.stops - self.starts)])
        entered = np.searchsorted(self.starts, positions)
        ahead: Array = np.maximum(self.stops[entered - 1] - positions, 0) * (entered > 0)
        return before[entered] - ahead

    def between(self, low: int, high: int) -> Iterator[tuple[Array, Array]]:
        """Yield starts and stops of the runs that reach into ``[low, high)``, in order."""
        assert self.starts is not None and self.stops is not None
        part = slice(np.searchsorted(self.stops, low, "right"), np.searchsorted(self.starts, high))
        yield self.starts[part], self.stops[part]


Layout = StridedBytes | ListedBytes


def layout_of(start: int, itemsize: int, shape: Sequence[int], steps: Sequence[int]) -> Layout | None:
    """Return the bytes of a tensor whose first element starts at byte `start`; None where it has no elements.

    `steps` are its strides, counted in elements.
    """
    if 0 in shape:
        return None
    inside = 1
    for count, step in zip(reversed(shape), reversed(steps), strict=True):
        if step != inside and count > 1:
            break
        inside *= count
    else:
        return StridedBytes(start, ((inside * itemsize, 1),))
    dims = sorted((step, count) for count, step in zip(shape, steps, strict=True) if count > 1 and step)
    nested = [(itemsize, 1)]
    for elements, count in dims:
        inner, unit = nested[-1]
        step = elements * itemsize
        if step % unit == 0 and step // unit <= inner:  # copies that touch or cover each other go on as one progression
            nested[-1] = ((count - 1) * (step // unit) + inner, unit)
        elif step >= span(nested):
            nested.append((count, step))
        else:
            return _listed(start, itemsize, [(count, step) for step, count in reversed(dims)])
    return StridedBytes(start, tuple(reversed(nested)))


def _listed(start: int, itemsize: int, dims: ElementDims) -> ListedBytes:
    raw = (*((count, step * itemsize) for count, step in dims), (itemsize, 1))
    if span(dims) > MOST_LISTED:
        return ListedBytes(start, raw, None, None)
    touched = np.concatenate([[False], visits(dims) > 0, [False]])
    edges = start + itemsize * np.flatnonzero(np.diff(touched))
    return ListedBytes(start, raw, edges[::2], edges[1::2])


def common(one: Layout, other: Layout) -> int | None:
    """Return how many bytes are in both sets; None where only counting too many runs could tell."""
    low, high = max(one.start, other.start), min(one.stop, other.stop)
    if low >= high:
        return 0
    if one == other:
        return one.size
    if isinstance(one, StridedBytes) and isinstance(other, StridedBytes):
        if _apart(one, other):
            return 0
        if _in_step(one, other):
            inside = common(StridedBytes(one.start, one.dims[1:]), StridedBytes(other.start, other.dims[1:]))
            return None if inside is None else one.dims[0][0] * inside
    if one.runs is None or other.runs is None:
        return None
    few, many = (one, other) if one.runs <= other.runs else (other, one)
    if min(one.runs, other.runs) > MOST_LISTED:
        return None
    parts = few.between(low, high)
    return sum(int((many.below(stops) - many.below(starts)).sum()) for starts, stops in parts)


def _apart(one: StridedBytes, other: StridedBytes) -> bool:
    """Tell whether the runs never meet modulo what divides every step, as those of different columns do."""
    period = math.gcd(*(step for _, step in (*one.dims[:-1], *other.dims[:-1])))
    ahead = other.start - one.start
    return period > 0 and ahead % period >= one.dims[-1][0] and -ahead % period >= other.dims[-1][0]


def _in_step(one: StridedBytes, other: StridedBytes) -> bool:
    """Tell whether both repeat as often with one step, and what they repeat fits into one step together.

    Two columns of a matrix do: then it is enough to compare their first elements.
    """
    if len(one.dims) == 1 or one.dims[0] != other.dims[0]:
        return False
    stop = max(each.start + span(each.dims[1:]) for each in (one, other))
    return stop - min(one.start, other.start) <= one.dims[0][1]


def held_twice(layouts: Sequence[Layout]) -> int | None:
    """Return how many bytes are in two or more of the sets; None where there are too many runs to count."""
    if len(layouts) == 2:
        return common(*layouts)
    listed = list_runs(layouts)
    if listed is None:
        return None
    starts, stops, _ = listed
    positions = np.concatenate([starts, stops])
    order = np.argsort(positions, kind="stable")
    depth = np.cumsum(np.repeat([1, -1], len(starts))[order])
    return int(np.diff(positions[order])[depth[:-1] > 1].sum())


def list_runs(layouts: Sequence[Layout]) -> tuple[Array, Array, npt.NDArray[Any]] | None:
    """Return starts, stops and owner of all runs, owners by index; None where there are too many."""
    counts = [layout.runs for layout in layouts]
    if None in counts or sum(count or 0 for count in counts) > MOST_LISTED:
        return None
    parts = [part for layout in layouts for part in layout.between(layout.start, layout.stop)]
    starts, stops = (np.concatenate(ends) for ends in zip(*parts, strict=True))
    return starts, stops, np.repeat(np.arange(len(layouts)), np.array(counts, np.int64))
