"""Read numbers that lie in a file as flat numpy arrays, a block at a time, in several threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from paraminspect.analysis.statistics.elements import Array, Index, blocks

ReadInto = Callable[[int, memoryview], None]

_RUNS = 16


class StreamedElements:
    """Give access to `size` elements of `words`, one behind the other, that `read_into` fetches.

    It is called with the position of a byte, counted from the first element, and with the memory to fill; from
    several threads at once.
    """

    def __init__(self, size: int, words: np.dtype[Any], read_into: ReadInto) -> None:
        self.size, self.repeat, self.visits = size, 1, None
        self._words, self._read_into = words, read_into

    def read(self, index: Index) -> Array:
        """Return one block, flat, in memory of its own."""
        (part,) = index
        start, stop, _ = part.indices(self.size) if isinstance(part, slice) else (part, part + 1, 1)
        return self._run(start, stop - start)

    def blocks(self, limit: int) -> list[Index]:
        """Return the indices of blocks of at most `limit` elements each that make up the whole."""
        return blocks((self.size,), limit)

    def sample(self, most: int) -> Array:
        """Return at most `most` elements: all of them, or runs of them at even distances.

        One element at a time would be one read each.
        """
        if self.size <= most:
            return self._run(0, self.size)
        length = most // _RUNS
        starts = [round(number * (self.size - length) / (_RUNS - 1)) for number in range(_RUNS)]
        return np.concatenate([self._run(start, length) for start in starts])

    def _run(self, start: int, count: int) -> Array:
        found = np.empty(count, self._words)
        self._read_into(start * self._words.itemsize, memoryview(found.view(np.uint8)))  # type: ignore[arg-type]
        return found
