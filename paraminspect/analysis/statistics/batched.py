"""Figures of many small tensors, measured together: a forward of a thousand layers asks for thousands of them.

One at a time, between the operations of a model, nothing is in the processor's caches that a measurement needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from paraminspect.analysis.statistics.block_figures import CANCELLATION, Floats
from paraminspect.analysis.statistics.tensor_values import measure
from paraminspect.report import Values

_MOST = 16_384  # elements of a tensor that waits; a larger one is measured alone as fast
_ROOM = 2**17  # elements that wait at most: a megabyte, which stays in cache
_EXACT = {torch.float32, torch.float16, torch.bfloat16}  # squares of these are exact in float64, and within its range
_PLAIN = {Tensor, nn.Parameter}  # a subclass may keep its numbers elsewhere

Deliver = Callable[[Values | None], None]


class Queue:
    """Measure tensors as they are when they are handed in; deliver the figures later, at `flush` at the latest.

    The figures are those that `measure` gives without a histogram. Counts, `min` and `max` are exact all the same;
    `mean` is right to 1e-14 times the mean magnitude, `std`, `rms` and `l2` to 1e-14 of themselves.
    """

    def __init__(self) -> None:
        self._numbers = torch.empty(_ROOM, dtype=torch.float64, device="cpu")
        self._squares: Floats = np.empty(_ROOM)
        self._starts: list[int] = []
        self._filled = 0
        self._waiting: list[Deliver] = []

    def measure(self, tensor: Tensor, deliver: Deliver) -> None:
        """Have `deliver` called with the figures, None where they are unknown."""
        if not _is_small(tensor):
            deliver(measure(tensor, histogram=False))
            return
        end = self._filled + tensor.numel()
        if end > _ROOM:
            self.flush()
            end = tensor.numel()
        self._numbers[self._filled : end].copy_(tensor.detach().view(-1))
        self._starts.append(self._filled)
        self._waiting.append(deliver)
        self._filled = end

    def flush(self) -> None:
        """Deliver what is still due."""
        if not self._waiting:
            return
        waiting, starts, end = self._waiting, self._starts, self._filled
        numbers: Floats = self._numbers[:end].numpy()
        self._waiting, self._starts, self._filled = [], [], 0
        for deliver, figures in zip(waiting, _measured(numbers, starts, self._squares[:end]), strict=True):
            deliver(figures)


def _is_small(tensor: Tensor) -> bool:
    """Tell whether the tensor is plain, not large and wholly in memory: what was freed must not be read."""
    return (
        type(tensor) in _PLAIN
        and tensor.is_cpu
        and tensor.dtype in _EXACT
        and tensor.layout is torch.strided
        and 0 < tensor.numel() <= _MOST
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        and tensor.is_contiguous()
        and tensor.untyped_storage().nbytes() >= (tensor.storage_offset() + tensor.numel()) * tensor.element_size()
    )


def _measured(numbers: Floats, starts: list[int], squares: Floats) -> list[Values | None]:
    """Return the figures of each part of the numbers."""
    with np.errstate(all="ignore"):
        np.multiply(numbers, numbers, out=squares)
        low, high = np.minimum.reduceat(numbers, starts), np.maximum.reduceat(numbers, starts)
        total, square = np.add.reduceat(numbers, starts), np.add.reduceat(squares, starts)
    found: list[Values | None] = []
    for at, *row in zip(range(len(starts)), low.tolist(), high.tolist(), total.tolist(), square.tolist(), strict=True):
        part = numbers[starts[at] : starts[at + 1] if at + 1 < len(starts) else None]
        found.append(_figures(part, *row) or measure(torch.from_numpy(part), histogram=False))
    return found


def _figures(part: Floats, low: float, high: float, total: float, squares: float) -> Values | None:
    """Return the figures, None where NaN, infinities or a mean far from 0 ask for more care."""
    if not -math.inf < low <= high < math.inf:
        return None
    n = part.size
    mean, m2 = total / n, max(squares - total * (total / n), 0.0)
    if low == high:
        mean, m2 = low, 0.0
    elif total * mean > CANCELLATION * m2:
        return None
    zeros = n - int(np.count_nonzero(part)) if low <= 0 <= high else 0
    # Adding 0 turns -0.0 into 0.0: which of two equal zeros a reduction returns is not defined.
    return Values(mean + 0, math.sqrt(m2 / n), math.sqrt(squares / n), low + 0, high + 0, math.sqrt(squares), zeros)
