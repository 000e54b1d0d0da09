"""What the passes measure between operations: figures of what is no larger than a layer's output, and rms of gradients.

Of the gradients that arrive at layers the rms is all that is shown, and a backward asks for it after every layer. In
float64 no square of a float32 overflows, and their sum is finite where all elements are: it is all that has to be found
out. Everything that `measure` tells costs four times as much.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from paraminspect.analysis.statistics.batched import Queue
from paraminspect.analysis.statistics.elements import Array, simplified
from paraminspect.analysis.statistics.merge import values_of_moments
from paraminspect.analysis.statistics.number_formats import measure_words
from paraminspect.analysis.statistics.tensor_values import measure, measure_words_at_once
from paraminspect.report import Values

_SMALL = 4096  # elements: what has more is not copied
_LARGE = 2**20  # elements: from here on several threads pay
_ROOM = 2**16  # elements that wait, or are looked at in one go, at most: as float64 they stay in cache
_CHAIN = 512  # products in a row: longer chains would round more, shorter ones take longer
_PLAIN = {Tensor, nn.Parameter}  # a subclass may keep its numbers elsewhere

Deliver = Callable[[float | None], None]


class FiguresQueue(Queue):
    """Measure also what is of medium size with little ado: no first guess at the mean, no blocks, no threads.

    The digits are those that `measure` promises; where the mean is large beside the std the last ones may differ.
    """

    def __init__(self) -> None:
        super().__init__(histogram=False)
        self._work = np.empty(_ROOM)

    def measure(self, tensor: Tensor, deliver: Callable[[Values | None], None]) -> None:
        """Have `deliver` called with the figures, None where they are unknown."""
        if not (_is_plain(tensor) and _SMALL < tensor.numel() < _LARGE):
            super().measure(tensor, deliver)
            return
        with np.errstate(all="ignore"):
            found = measure_words(np.asarray(_PlainMemory(tensor)), torch.float32, work=self._work)
        deliver(values_of_moments(found, float, None))


class RmsQueue:
    """Measure gradients as they are when they are handed in; deliver later, at `flush` at the latest.

    The rms is that of the finite elements, None where there are none or nothing is known. It is right to 1e-14 of
    itself, and no digit depends on the number of threads.
    """

    def __init__(self) -> None:
        self._waiting_words = np.zeros(_ROOM, np.float32)
        self._address = self._waiting_words.ctypes.data
        self._work = np.empty(_ROOM)
        self._heads: list[int] = []
        self._waiting: list[Deliver] = []
        self._filled = 0

    def measure(self, grad: Tensor, deliver: Deliver) -> None:
        """Have `deliver` called with the rms."""
        if not _is_plain(grad):
            deliver(_rms_by_all_figures(grad))
        elif grad.numel() > _SMALL:
            square = self._sum_of_squares(np.asarray(_PlainMemory(grad))) / grad.numel()
            deliver(math.sqrt(square) if square < math.inf else _rms_by_all_figures(grad))
        else:
            self._wait(grad, deliver)

    def flush(self) -> None:
        """Deliver what is still due."""
        if not self._waiting:
            return
        heads, waiting, end = self._heads, self._waiting, self._filled
        self._heads, self._waiting, self._filled = [], [], 0
        words, work = self._waiting_words[:end], self._work[:end]
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

    def _wait(self, grad: Tensor, deliver: Deliver) -> None:
        count = grad.numel()
        if self._filled + count > _ROOM:
            self.flush()
        # Behind torch's back: nothing that watches operations sees the copy.
        ctypes.memmove(self._address + 4 * self._filled, grad.data_ptr(), 4 * count)
        self._heads.append(self._filled)
        self._waiting.append(deliver)
        self._filled += count

    def _sum_of_squares(self, words: Array) -> float:
        parts = []
        with np.errstate(all="ignore"):
            for start in range(0, words.size, _ROOM):
                part = words[start : start + _ROOM]
                work = self._work[: part.size]
                np.copyto(work, part)
                whole = part.size - part.size % _CHAIN
                chains = np.matmul(work[:whole].reshape(-1, 1, _CHAIN), work[:whole].reshape(-1, _CHAIN, 1))
                parts += [float(np.add.reduce(chains.ravel())), float(np.dot(work[whole:], work[whole:]))]
        return sum(parts)


class _PlainMemory:
    """Lend the memory of a plain tensor to numpy, read-only."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor  # keeps the memory alive as long as the array is
        self.__array_interface__ = {
            "version": 3,
            "data": (tensor.data_ptr(), True),
            "typestr": "<f4",
            "shape": (tensor.numel(),),
        }


def _is_plain(tensor: Tensor) -> bool:
    """Tell whether a tensor is float32 and one piece of memory that is wholly there."""
    if not (
        type(tensor) in _PLAIN
        and tensor.dtype is torch.float32
        and tensor.is_cpu
        and tensor.layout is torch.strided
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        and not tensor.is_nested
        and not tensor.is_neg()
        and tensor.numel()
        and tensor.data_ptr()
    ):
        return False
    count = tensor.numel()
    if not tensor.is_contiguous() and simplified(tensor.shape, tensor.stride()) != [(count, 1)]:
        return False
    return tensor.untyped_storage().nbytes() >= (tensor.storage_offset() + count) * 4


def _rms_by_all_figures(grad: Tensor) -> float | None:
    values = measure(grad, histogram=False)
    return None if values is None else values.rms
