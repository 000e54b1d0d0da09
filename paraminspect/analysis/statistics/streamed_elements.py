"""Read numbers that lie in a file as flat numpy arrays, a block at a time, in several threads.

A tensor may lie there in one piece, with gaps (a slice that was saved with its base), or in blocks all over. What is
read at a time is bounded whatever its strides are.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paraminspect.analysis.statistics.elements import Array, Index, Readable, blocks, simplified, span, visits

ReadInto = Callable[[int, memoryview], None]

_RUNS = 16
_MOST_KEPT = 2**23  # bytes: a block of float64
_THREAD = threading.local()
_MOST_VISITS = 2**23
_REACH = 2**22  # elements that lie between the first and the last of what is read at a time


def is_tangled(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Tell whether elements overlap over so much memory that counting how often each is visited takes too much."""
    dims = [dim for dim in simplified(shape, strides) if dim[1]] or [(1, 1)]
    return math.prod(size for size, _ in dims) > span(dims) > _MOST_VISITS


class StreamedElements:
    """Give access to the elements of a tensor in a file, given as `words` with these strides.

    `read_into` is called with the position of a byte, counted from the first element, and with the memory to fill; from
    several threads at once. As in memory, what a stride of 0 repeats is read once and counts `repeat` times, and where
    elements overlap, all that lies between them is read, each with how often it is visited.
    """

    def __init__(
        self, shape: Sequence[int], words: np.dtype[Any], read_into: ReadInto, strides: Sequence[int] | None = None
    ) -> None:
        dims = [(math.prod(shape), 1)] if strides is None else simplified(shape, strides)
        self.repeat = math.prod(size for size, stride in dims if not stride)
        dims = [dim for dim in dims if dim[1]] or [(1, 1)]
        self.visits: npt.NDArray[np.int64] | None = None
        if math.prod(size for size, _ in dims) > span(dims):
            self.visits = visits(dims)
            dims = [(span(dims), 1)]
        self._dims = dims
        self.size = math.prod(size for size, _ in dims)
        self._words, self._read_into = words, read_into

    def read(self, index: Index) -> Array:
        """Return one block, flat, in memory that the next one this thread reads is put into."""
        start, dims = 0, []
        parts = [*index, *[slice(None)] * (len(self._dims) - len(index))]
        for part, (size, stride) in zip(parts, self._dims, strict=True):
            if isinstance(part, slice):
                first, stop, step = part.indices(size)
                start += first * stride
                dims.append((len(range(first, stop, step)), step * stride))
            else:
                start += part * stride
        return self._run(start, [dim for dim in dims if dim[0] != 1] or [(1, 1)])

    def blocks(self, limit: int) -> list[Index]:
        """Return the indices of blocks of at most `limit` elements, and of bounded reach, that make up the whole."""
        inner = self._dims[-1][1]
        return blocks([size for size, _ in self._dims], max(1, min(limit, _REACH // inner)))

    def sample(self, most: int) -> Array:
        """Return at most `most` elements: all of them, or runs of them at even distances.

        One element at a time would be one read each.
        """
        if len(self._dims) > 1 or self._dims[0][1] > 1:
            every = self.blocks(2**16)
            chosen = every[:: -(-len(every) // _RUNS)]
            return _thinned([self.read(index).copy() for index in chosen], most)
        if self.size <= most:
            return self._run(0, [(self.size, 1)]).copy()
        length = most // _RUNS
        starts = [round(number * (self.size - length) / (_RUNS - 1)) for number in range(_RUNS)]
        return np.concatenate([self._run(start, [(length, 1)]).copy() for start in starts])

    def _run(self, start: int, dims: list[tuple[int, int]]) -> Array:
        found = _room(span(dims) * self._words.itemsize).view(self._words)
        self._read_into(start * self._words.itemsize, memoryview(found.view(np.uint8)))  # type: ignore[arg-type]
        if dims == [(found.size, 1)]:
            return found
        steps = [stride * found.itemsize for _, stride in dims]
        return np.lib.stride_tricks.as_strided(found, [size for size, _ in dims], steps).ravel()


def _room(count: int) -> npt.NDArray[np.uint8]:
    """Return memory of so many bytes, the same for each block: that of a new one would be paged in for each."""
    room: npt.NDArray[np.uint8] | None = getattr(_THREAD, "room", None)
    if room is None or room.size < count:
        room = np.empty(count, np.uint8)
        if count <= _MOST_KEPT:
            _THREAD.room = room
    return room[:count]


class JoinedElements:
    """Give access to the elements of all the blocks of a tensor, one block of it after the other."""

    repeat = 1
    visits: npt.NDArray[np.int64] | None = None

    def __init__(self, parts: Sequence[Readable]) -> None:
        self._parts = parts
        self.size = sum(part.size for part in parts)

    def read(self, index: Index) -> Array:
        """Return one block, flat, in memory that the next one this thread reads is put into."""
        number, *inner = index
        assert isinstance(number, int)
        return self._parts[number].read(tuple(inner))

    def blocks(self, limit: int) -> list[Index]:
        """Return the indices of blocks of at most `limit` elements each that make up the whole."""
        return [(number, *index) for number, part in enumerate(self._parts) for index in part.blocks(limit)]

    def sample(self, most: int) -> Array:
        """Return at most `most` elements, some of each of the blocks."""
        chosen = self._parts[:: -(-len(self._parts) // _RUNS)]
        return _thinned([part.sample(max(1, most // len(chosen))) for part in chosen], most)


def _thinned(runs: Sequence[Array], most: int) -> Array:
    found = np.concatenate(runs)
    return found[:: max(1, -(-found.size // most))]
