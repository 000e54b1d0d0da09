"""What the passes measure between operations: figures of what layers return and of gradients, and rms of the latter.

Of what layers return neither a std nor zeros are shown, and of the gradients that arrive there the rms is all: a
forward and a backward ask for it after every layer. In float64 no square of a float32 overflows, and their sum is
finite where all elements are: it is all that has to be found out. Everything that `measure` tells costs four times as
much.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from paraminspect.analysis.statistics.batched import Queue
from paraminspect.analysis.statistics.elements import Array, Draw, lies_whole, share
from paraminspect.analysis.statistics.number_formats import measure_words
from paraminspect.analysis.statistics.tensor_values import measure, measure_words_at_once
from paraminspect.modules.wrapper_tensors import PLAIN
from paraminspect.report import LayerOut, Values
from paraminspect.report.merge import values_of_moments

_SMALL = 4096  # elements: what has more is not copied
_LARGE = 2**20  # elements: from here on several threads pay
_ROOM = 2**16  # elements that wait, or are looked at in one go, at most: as float64 they stay in cache
_CHAIN = 512  # products in a row: longer chains would round more, shorter ones take longer

Deliver = Callable[[float | None], None]
DeliverOutput = Callable[[LayerOut], None]
NO_OUTPUT: Final = LayerOut()


class FiguresQueue(Queue):
    """Measure also what is of medium size with little ado: no first guess at the mean, no blocks, no threads.

    The digits are those that `measure` promises; where the mean is large beside the std the last ones may differ.
    """

    def __init__(self) -> None:
        super().__init__(histogram=False)
        self._work = np.empty(_ROOM)

    def measure(self, tensor: Tensor, deliver: Callable[[Values | None], None]) -> None:
        """Have `deliver` called with the figures, None where they are unknown."""
        if not (_SMALL < tensor.numel() < _LARGE and is_plain(tensor)):
            super().measure(tensor, deliver)
            return
        with np.errstate(all="ignore"):
            found = measure_words(np.asarray(PlainMemory(tensor)), torch.float32, work=self._work)
        deliver(values_of_moments(found, float, None))


class _WaitingCopies:
    """Keep copies of the memory of small plain tensors, behind one another, each with whom to deliver to."""

    def __init__(self) -> None:
        self._words = np.zeros(_ROOM, np.float32)
        self._address = self._words.ctypes.data
        self._heads: list[int] = []
        self._waiting: list[Callable[..., None]] = []
        self._filled = 0

    def takes(self, tensor: Tensor) -> bool:
        """Tell whether the tensor has room."""
        return self._filled + tensor.numel() <= _ROOM

    def take(self, tensor: Tensor, deliver: Callable[..., None]) -> None:
        """Copy the memory behind torch's back: nothing that watches operations sees it."""
        count = tensor.numel()
        ctypes.memmove(self._address + 4 * self._filled, tensor.data_ptr(), 4 * count)
        self._heads.append(self._filled)
        self._waiting.append(deliver)
        self._filled += count

    def emptied(self) -> tuple[Array, list[int], list[Callable[..., None]]]:
        """Return what has waited: the words, where each tensor begins there, whom to deliver to."""
        found = self._words[: self._filled], self._heads, self._waiting
        self._heads, self._waiting, self._filled = [], [], 0
        return found


class _Piece(NamedTuple):
    """Hold the ends and sums of some numbers; `low` and `high` are NaN where one is."""

    low: float
    high: float
    total: float
    squares: float


class OutputsQueue:
    """Measure what layers return, as it is when it is handed in; deliver later, at `flush` at the latest.

    The figures are right to 1e-14 of the rms, and no digit depends on the number of threads.
    """

    def __init__(self) -> None:
        self._copies = _WaitingCopies()
        self._others = Queue()
        self._work = np.empty(_ROOM)

    def measure(self, output: Tensor, deliver: DeliverOutput) -> None:
        """Have `deliver` called with the figures, none of them where they are unknown."""
        if not is_plain(output):
            self._others.measure(output, lambda values: deliver(_output(values)))
        elif output.numel() > _SMALL:
            deliver(self._at_once(np.asarray(PlainMemory(output))))
        else:
            if not self._copies.takes(output):
                self._flush_copies()
            self._copies.take(output, deliver)

    def flush(self) -> None:
        """Deliver what is still due."""
        self._others.flush()
        self._flush_copies()

    def _flush_copies(self) -> None:
        words, heads, waiting = self._copies.emptied()
        if not waiting:
            return
        work, counts = self._work[: words.size], np.diff(heads, append=words.size)
        with np.errstate(all="ignore"):
            low, high = np.minimum.reduceat(words, heads), np.maximum.reduceat(words, heads)
            np.copyto(work, words)
            mean = np.add.reduceat(work, heads) / counts
            work *= work
            rms = np.sqrt(np.add.reduceat(work, heads) / counts)
        columns = zip(waiting, *(one.tolist() for one in (mean, rms, low, high, counts)), heads, strict=True)
        for deliver, mean_, rms_, low_, high_, count, head in columns:
            if rms_ < math.inf:
                deliver(_finite(mean_, rms_, low_, high_))
            else:
                part = words[head : head + count]
                deliver(_output(measure_words_at_once(part, torch.float32, histogram=False)))

    def _at_once(self, words: Array) -> LayerOut:
        """Measure a longer one piece by piece, in several threads where it is very long."""
        starts = range(0, words.size, _ROOM)
        if words.size < _LARGE:
            pieces = [_piece(words[start : start + _ROOM], self._work) for start in starts]
        else:
            blocks = [(slice(start, start + _ROOM),) for start in starts]
            drawn = share([*blocks], partial(_drawn_pieces, words))
            pieces = [piece for _, piece in sorted(found for part in drawn for found in part)]
        squares = math.fsum(piece.squares for piece in pieces)
        if not squares < math.inf:
            with np.errstate(all="ignore"):
                return _output(values_of_moments(measure_words(words, torch.float32), float, None))
        low, high = min(piece.low for piece in pieces), max(piece.high for piece in pieces)
        mean = math.fsum(piece.total for piece in pieces) / words.size
        return _finite(mean, math.sqrt(squares / words.size), low, high)


def _drawn_pieces(words: Array, draw: Draw) -> list[tuple[int, _Piece]]:
    work = np.empty(_ROOM)
    return [(number, _piece(words[index], work)) for number, index in draw]


def _piece(words: Array, work: Array) -> _Piece:
    numbers = work[: words.size]
    with np.errstate(all="ignore"):
        low, high = float(np.minimum.reduce(words)), float(np.maximum.reduce(words))
        np.copyto(numbers, words)
        return _Piece(low, high, float(np.add.reduce(numbers)), _sum_of_squares(numbers))


def _sum_of_squares(numbers: Array) -> float:
    whole = numbers.size - numbers.size % _CHAIN
    chains = np.matmul(numbers[:whole].reshape(-1, 1, _CHAIN), numbers[:whole].reshape(-1, _CHAIN, 1))
    return float(np.add.reduce(chains.ravel())) + float(np.dot(numbers[whole:], numbers[whole:]))


def _finite(mean: float, rms: float, low: float, high: float) -> LayerOut:
    if low == high:  # of equal numbers nothing is to be rounded
        mean, rms = low, abs(low)
    # Adding 0 turns -0.0 into 0.0: which of two equal zeros a reduction returns is not defined.
    return LayerOut(mean + 0, rms, low + 0, high + 0, 0, 0)


def _output(values: Values | None) -> LayerOut:
    if values is None:
        return NO_OUTPUT
    return LayerOut(values.mean, values.rms, values.min, values.max, values.nan, values.inf)


class RmsQueue:
    """Measure gradients as they are when they are handed in; deliver later, at `flush` at the latest.

    The rms is that of the finite elements, None where there are none or nothing is known. It is right to 1e-14 of
    itself, and no digit depends on the number of threads.
    """

    def __init__(self) -> None:
        self._copies = _WaitingCopies()
        self._work = np.empty(_ROOM)

    def measure(self, grad: Tensor, deliver: Deliver) -> None:
        """Have `deliver` called with the rms."""
        if not is_plain(grad):
            deliver(_rms_by_all_figures(grad))
        elif grad.numel() > _SMALL:
            square = self._mean_square(np.asarray(PlainMemory(grad)))
            deliver(math.sqrt(square) if square < math.inf else _rms_by_all_figures(grad))
        else:
            if not self._copies.takes(grad):
                self.flush()
            self._copies.take(grad, deliver)

    def flush(self) -> None:
        """Deliver what is still due."""
        words, heads, waiting = self._copies.emptied()
        if not waiting:
            return
        work, end = self._work[: words.size], words.size
        with np.errstate(all="ignore"):
            np.copyto(work, words)
            work *= work
            squares = np.add.reduceat(work, heads)
            found = np.sqrt(squares / np.diff(heads, append=end)).tolist()
        for at, (deliver, rms) in enumerate(zip(waiting, found, strict=True)):
            if rms < math.inf:
                deliver(rms)
            else:
                part = words[slice(*(*heads, end)[at : at + 2])]
                deliver(measure_words_at_once(part, torch.float32, histogram=False).rms)

    def _mean_square(self, words: Array) -> float:
        parts = []
        with np.errstate(all="ignore"):
            for start in range(0, words.size, _ROOM):
                part = words[start : start + _ROOM]
                np.copyto(self._work[: part.size], part)
                parts.append(_sum_of_squares(self._work[: part.size]))
        return sum(parts) / words.size


class PlainMemory:
    """Lend the memory of a plain tensor to numpy, read-only."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor  # keeps the memory alive as long as the array is
        self.__array_interface__ = {
            "version": 3,
            "data": (tensor.data_ptr(), True),
            "typestr": "<f4",
            "shape": (tensor.numel(),),
        }


def is_plain(tensor: Tensor) -> bool:
    """Tell whether a tensor is float32 and one piece of memory that is wholly there."""
    return type(tensor) in PLAIN and tensor.dtype is torch.float32 and lies_whole(tensor)


def _rms_by_all_figures(grad: Tensor) -> float | None:
    values = measure(grad, histogram=False)
    return None if values is None else values.rms
