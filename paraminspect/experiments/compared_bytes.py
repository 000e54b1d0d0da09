"""Are the bytes of two tensors the same, and if not, how far apart are their numbers? Both sides are streamed.

First only bytes are compared, in blocks and several threads: as fast as the files can be read. Neighbours that lie
side by side in both files are compared in one go. What differs is then read once more, as numbers.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np

from paraminspect.analysis.statistics.stored_numbers import numbers, width_of
from paraminspect.analysis.statistics.value_change import (
    BlockChange,
    Tolerance,
    block_change,
    rank_of_change,
    value_change,
)
from paraminspect.report import ValueChange
from paraminspect.sources.checkpoint.flat_bytes import Fill, FlatBytes
from paraminspect.sources.diff_sides import Side, SideTensor

BLOCK: Final = 4 * 2**20
"""The bytes that are compared at once."""
_ELEMENTS: Final = 2**18
_THREADS: Final = max(1, min(8, os.cpu_count() or 1))

Advance = Callable[[int], None]
Job = TypeVar("Job")
Result = TypeVar("Result")


class Comparable(NamedTuple):
    """The bytes of two tensors of one shape, and what numbers they are."""

    a: FlatBytes
    b: FlatBytes
    dtype_a: str
    dtype_b: str
    numel: int
    shape: tuple[int, ...]

    @property
    def can_stream(self) -> bool:
        """Tell whether both can be read piece by piece."""
        return self.a.whole is None and self.b.whole is None


def comparable(one: SideTensor, other: SideTensor, a: Side, b: Side) -> Comparable | None:
    """Return two tensors of one shape to be compared, None where the bytes of one cannot be read."""
    first, second = a.flat(one), b.flat(other)
    if first is None or second is None:
        return None
    return Comparable(first, second, one.dtype, other.dtype, one.numel, one.shape)


class _Run(NamedTuple):
    """A stretch of bytes of both files: of one tensor, or of several that lie side by side on both sides."""

    first: int
    last: int
    a: Fill
    a_start: int
    b: Fill
    b_start: int
    length: int


class Comparer:
    """Compare tensors; `advance` is told the bytes of each side that are done with."""

    def __init__(self, tolerance: Tolerance, advance: Advance) -> None:
        self._tolerance, self._advance = tolerance, advance
        self._own = threading.local()

    def __enter__(self) -> Comparer:
        """Start the threads."""
        self._pool = ThreadPoolExecutor(_THREADS)
        return self

    def __exit__(self, *_: object) -> None:
        """End the threads; what was not begun is not begun any more."""
        self._pool.shutdown(cancel_futures=True)

    # --- bytes ---

    def unequal(self, pairs: list[Comparable]) -> set[int]:
        """Return the places of the pairs whose types or bytes are not the same."""
        found = {at for at, pair in enumerate(pairs) if pair.dtype_a != pair.dtype_b or pair.a.length != pair.b.length}
        several: list[int] = []
        for run, same in self._each(_runs(pairs, found), self._same):
            if not same:
                found.add(run.first) if run.first == run.last else several.extend(range(run.first, run.last + 1))
        alone = (run for at in several for run in _blocks_of(at, pairs[at]))
        found |= {run.first for run, same in self._each(alone, self._same) if not same}
        for at, pair in enumerate(pairs):
            if at not in found and not pair.can_stream:
                if not np.array_equal(pair.a.array(), pair.b.array()):
                    found.add(at)
                self._advance(pair.a.length)
        return found

    def _same(self, run: _Run) -> bool:
        a, b = self._buffers(run.length)
        run.a(run.a_start, memoryview(a))
        run.b(run.b_start, memoryview(b))
        words = run.length & ~7
        same = np.array_equal(a[:words].view(np.uint64), b[:words].view(np.uint64))
        return same and np.array_equal(a[words:], b[words:])

    def _buffers(self, length: int) -> tuple[Any, Any]:
        if not hasattr(self._own, "buffers"):
            self._own.buffers = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.uint8)
        a, b = self._own.buffers
        return a[:length], b[:length]

    def _each(self, jobs: Iterable[Job], work: Callable[[Job], Result]) -> Iterator[tuple[Job, Result]]:
        """Yield each job with what came of it, in their order; only a few are ahead of what was asked for."""
        waiting: deque[tuple[Job, Future[Result]]] = deque()
        for job in jobs:
            waiting.append((job, self._pool.submit(work, job)))
            if len(waiting) > 4 * _THREADS:
                yield self._done(*waiting.popleft())
        while waiting:
            yield self._done(*waiting.popleft())

    def _done(self, job: Job, future: Future[Result]) -> tuple[Job, Result]:
        result = future.result()
        if isinstance(job, _Run):
            self._advance(job.length)
        return job, result

    # --- numbers ---

    def changes(self, pairs: list[Comparable]) -> list[ValueChange | None]:
        """Return how far the numbers of each pair moved, None where their type is not known here."""
        sums: dict[int, BlockChange] = {}
        known = [width_of(pair.dtype_a) is not None and width_of(pair.dtype_b) is not None for pair in pairs]
        jobs = (
            (at, pair, start)
            for at, pair in enumerate(pairs)
            if known[at] and pair.can_stream
            for start in range(0, pair.numel, _ELEMENTS)
        )
        for (at, _, _), change in self._each(jobs, lambda job: self._change(job[1], job[2])):
            sums[at] = sums.get(at, BlockChange()) + change
        for at, pair in enumerate(pairs):
            if known[at] and not pair.can_stream:
                a, b = numbers(pair.a.array(), pair.dtype_a), numbers(pair.b.array(), pair.dtype_b)
                for start in range(0, pair.numel, _ELEMENTS):
                    part = slice(start, start + _ELEMENTS)
                    sums[at] = sums.get(at, BlockChange()) + block_change(a[part], b[part], self._tolerance)
        return [
            value_change(sums.get(at, BlockChange()), pair.numel) if known[at] else None
            for at, pair in enumerate(pairs)
        ]

    def _change(self, pair: Comparable, start: int) -> BlockChange:
        count = min(_ELEMENTS, pair.numel - start)
        a = _read(pair.a, pair.dtype_a, start, count)
        b = _read(pair.b, pair.dtype_b, start, count)
        return block_change(a, b, self._tolerance)


def _read(source: FlatBytes, dtype: str, start: int, count: int) -> Any:
    width = width_of(dtype) or 1
    raw = np.empty(count * width, np.uint8)
    if source.fill is not None:
        source.fill(source.start + start * width, memoryview(raw))  # type: ignore[arg-type]  # an array is a buffer
    return numbers(raw, dtype)


def rank_of(pair: Comparable) -> tuple[int, int, float] | None:
    """Return the rank of a change, see `rank_of_change`; more than two dimensions are a matrix by the first of them."""
    if len(pair.shape) < 2 or not pair.numel or width_of(pair.dtype_a) is None or width_of(pair.dtype_b) is None:
        return None
    a, b = numbers(pair.a.array(), pair.dtype_a), numbers(pair.b.array(), pair.dtype_b)
    rows = pair.shape[0]
    return rank_of_change(a.reshape(rows, -1), b.reshape(rows, -1), (pair.dtype_a, pair.dtype_b))


def _runs(pairs: list[Comparable], without: set[int]) -> Iterator[_Run]:
    """Yield runs over all the pairs that can be streamed, in the order in which they lie in A."""
    held: _Run | None = None
    order = [at for at in range(len(pairs)) if at not in without and pairs[at].can_stream and pairs[at].a.length]
    for at in order:
        pair = pairs[at]
        if held is not None and _goes_on(held, at, pair):
            held = held._replace(last=at, length=held.length + pair.a.length)
            continue
        if held is not None:
            yield held
        held = None
        if pair.a.length < BLOCK:
            (held,) = _blocks_of(at, pair)
        else:
            yield from _blocks_of(at, pair)
    if held is not None:
        yield held


def _goes_on(run: _Run, at: int, pair: Comparable) -> bool:
    """Tell whether a pair lies right behind a run on both sides."""
    return (
        run.last == at - 1
        and pair.a.fill == run.a
        and pair.b.fill == run.b
        and pair.a.start == run.a_start + run.length
        and pair.b.start == run.b_start + run.length
        and run.length + pair.a.length <= BLOCK
    )


def _blocks_of(at: int, pair: Comparable) -> Iterator[_Run]:
    a, b = pair.a.fill, pair.b.fill
    if a is None or b is None:
        return
    for start in range(0, pair.a.length, BLOCK):
        length = min(BLOCK, pair.a.length - start)
        yield _Run(at, at, a, pair.a.start + start, b, pair.b.start + start, length)
