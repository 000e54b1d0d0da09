"""Figures of many small tensors, measured together: a model of a thousand layers asks for thousands of them.

One at a time, a tensor of three elements costs as much as one of ten thousand: some fifty calls. Between the operations
of a model, nothing is in the processor's caches that these need either.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterable
from functools import partial
from itertools import repeat

import numpy as np
import torch
from torch import Tensor

from paraminspect.analysis.statistics.block_figures import LONG, SHORT, Array
from paraminspect.analysis.statistics.careful_sums import Floats
from paraminspect.analysis.statistics.elements import lies_whole
from paraminspect.analysis.statistics.number_formats import WORDS, decode
from paraminspect.analysis.statistics.row_figures import FloatRows
from paraminspect.analysis.statistics.segment_figures import (
    Columns,
    Indices,
    Segments,
    figures_of_segments,
    histograms_of_segments,
)
from paraminspect.analysis.statistics.tensor_values import measure, measure_words_at_once
from paraminspect.report import Values

_ROOM = 2**16  # elements of a kind that wait at most: half a megabyte as float64, which stays in cache
_LONG_ROOM = 2**18  # a megabyte of float32
_THREAD = threading.local()
_KINDS = {dtype: words for dtype, words in WORDS.items() if not dtype.is_complex}

Deliver = Callable[[Values | None], None]


class Queue:
    """Measure tensors as they are when they are handed in; deliver the figures later, at `flush` at the latest.

    The figures are those that `measure` gives, to the bit.
    """

    def __init__(self, *, histogram: bool = False) -> None:
        self._histogram = histogram
        self._rooms: dict[tuple[torch.dtype, bool], _Room] = {}

    def measure(self, tensor: Tensor, deliver: Deliver) -> None:
        """Have `deliver` called with the figures, None where they are unknown."""
        if not _is_small(tensor):
            deliver(measure(tensor, histogram=self._histogram))
            return
        room = self._room(tensor)
        if not room.takes(tensor.numel()):
            room.flush(self._histogram)
        room.take(tensor, deliver)

    def flush(self) -> None:
        """Deliver what is still due."""
        for room in self._rooms.values():
            room.flush(self._histogram)

    def _room(self, tensor: Tensor) -> _Room:
        """Return where a tensor waits: by its dtype and length alone, on which the way to its digits depends."""
        long = tensor.dtype is torch.float32 and tensor.numel() >= LONG
        room = self._rooms.get((tensor.dtype, long))
        if room is None:
            room = _RoomOfRows() if long else _RoomOfSegments(tensor.dtype)
            self._rooms[tensor.dtype, long] = room
        return room


def measure_all(tensors: Iterable[Tensor], *, histogram: bool = True) -> list[Values | None]:
    """Return what `measure` returns of each tensor."""
    found: dict[int, Values | None] = {}
    queue, count = Queue(histogram=histogram), 0
    for count, tensor in enumerate(tensors, 1):
        queue.measure(tensor, partial(found.__setitem__, count))
    queue.flush()
    return [found[at] for at in range(1, count + 1)]


class _Room:
    """Keep copies of the memory of small tensors of one dtype, with one free place ahead of each."""

    def __init__(self, dtype: torch.dtype, count: int) -> None:
        self._dtype = dtype
        self._words: Array = np.zeros(count, _KINDS[dtype])
        self._address, self._size = self._words.ctypes.data, dtype.itemsize
        self._filled = 0
        self._heads: list[int] = []
        self._waiting: list[Deliver] = []

    def takes(self, count: int) -> bool:
        """Tell whether a tensor of so many elements has room."""
        return self._filled + count < self._words.size

    def take(self, tensor: Tensor, deliver: Deliver) -> None:
        """Copy the memory of the tensor, behind torch's back: nothing that watches operations sees it."""
        first, count = self._filled + 1, tensor.numel()
        ctypes.memmove(self._address + first * self._size, tensor.data_ptr(), count * self._size)
        self._heads.append(self._filled)
        self._waiting.append(deliver)
        self._filled = first + count

    def flush(self, histogram: bool) -> None:
        """Measure all that wait, and deliver their figures."""
        if not self._waiting:
            return
        heads, waiting, end = np.array(self._heads), self._waiting, self._filled
        self._heads, self._waiting, self._filled = [], [], 0
        with np.errstate(all="ignore"):
            found = self._listed(heads, np.diff(heads, append=end), end, histogram)
        for deliver, figures in zip(waiting, found, strict=True):
            deliver(figures)

    def _listed(self, heads: Indices, lengths: Indices, end: int, histogram: bool) -> list[Values]:
        found, counts = self._measured(heads, lengths, end, histogram)
        columns = (column.tolist() for column in found[:-1])
        number = int if not self._dtype.is_floating_point else float
        bins: Iterable[tuple[int, ...] | None] = repeat(None) if counts is None else map(tuple, counts.tolist())
        listed = [
            Values(mean, std, rms, number(low), number(high), l2, zeros, 0, 0, counted)
            for mean, std, rms, low, high, l2, zeros, counted in zip(*columns, bins, strict=False)
        ]
        for at in np.flatnonzero(~found.known).tolist():
            words = self._words[heads[at] + 1 : heads[at] + lengths[at]]
            listed[at] = measure_words_at_once(words, self._dtype, histogram=histogram)
        return listed

    def _measured(self, heads: Indices, lengths: Indices, end: int, histogram: bool) -> tuple[Columns, Indices | None]:
        """Return the figures of all that wait, and their histograms; `lengths` count the place ahead of each too."""
        raise NotImplementedError


class _RoomOfRows(_Room):
    """Keep tensors of float32 that are not short."""

    def __init__(self) -> None:
        super().__init__(torch.float32, _LONG_ROOM)

    def _measured(self, heads: Indices, lengths: Indices, end: int, histogram: bool) -> tuple[Columns, Indices | None]:
        rows = FloatRows(self._words, heads + 1, lengths - 1, _scratch(_ROOM)[0])
        found = rows.figures()
        return found, rows.histograms(found) if histogram else None


class _RoomOfSegments(_Room):
    """Keep tensors of any other dtype and length."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(dtype, _ROOM)

    def _measured(self, heads: Indices, lengths: Indices, end: int, histogram: bool) -> tuple[Columns, Indices | None]:
        numbers, work = _scratch(end)
        np.copyto(numbers, decode(self._words[:end], self._dtype))
        parts = Segments(numbers, heads, lengths, work)
        found = figures_of_segments(parts, not self._dtype.is_floating_point)
        return found, histograms_of_segments(parts, found.min, found.max) if histogram else None


def _scratch(count: int) -> tuple[Floats, Floats]:
    """Return room for so many numbers twice: new room each time would be paged in anew."""
    rooms: tuple[Floats, Floats] | None = getattr(_THREAD, "rooms", None)
    if rooms is None:
        rooms = _THREAD.rooms = np.empty(_ROOM), np.empty(_ROOM)
    return rooms[0][:count], rooms[1][:count]


def _is_small(tensor: Tensor) -> bool:
    """Tell whether a tensor is not large, and lies whole in memory.

    The histogram of a larger one would be that of a sample, and measured alone it costs hardly more.
    """
    return lies_whole(tensor) and tensor.dtype in _KINDS and tensor.numel() <= SHORT
