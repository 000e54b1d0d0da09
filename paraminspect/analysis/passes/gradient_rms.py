"""The root mean squares of the gradients that arrive at layers: the one figure of them that is shown.

A backward asks for it after every layer. In float64 no square of a float32 overflows, and their sum is finite where all
elements are: it is all that has to be found out. Everything that `measure` tells costs four times as much.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from paraminspect.analysis.statistics.elements import Array, simplified
from paraminspect.analysis.statistics.tensor_values import measure, measure_words_at_once

_SMALL = 4096  # elements: what has more is not copied
_ROOM = 2**16  # elements that wait, or are looked at in one go, at most: as float64 they stay in cache
_CHAIN = 512  # products in a row: longer chains would round more, shorter ones take longer
_PLAIN = {Tensor, nn.Parameter}  # a subclass may keep its numbers elsewhere

Deliver = Callable[[float | None], None]


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
            square = self._sum_of_squares(np.asarray(_GradientMemory(grad))) / grad.numel()
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


class _GradientMemory:
    """Lend the memory of a gradient to numpy, read-only."""

    def __init__(self, grad: Tensor) -> None:
        self.grad = grad  # keeps the memory alive as long as the array is
        self.__array_interface__ = {
            "version": 3,
            "data": (grad.data_ptr(), True),
            "typestr": "<f4",
            "shape": (grad.numel(),),
        }


def _is_plain(grad: Tensor) -> bool:
    """Tell whether a gradient is float32 and one piece of memory that is wholly there."""
    if not (
        type(grad) in _PLAIN
        and grad.dtype is torch.float32
        and grad.is_cpu
        and grad.layout is torch.strided
        and not torch._C._functorch.is_functorch_wrapped_tensor(grad)
        and not grad.is_nested
        and grad.numel()
        and grad.data_ptr()
    ):
        return False
    count = grad.numel()
    if not grad.is_contiguous() and simplified(grad.shape, grad.stride()) != [(count, 1)]:
        return False
    return grad.untyped_storage().nbytes() >= (grad.storage_offset() + count) * 4


def _rms_by_all_figures(grad: Tensor) -> float | None:
    values = measure(grad, histogram=False)
    return None if values is None else values.rms
