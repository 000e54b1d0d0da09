"""From the words in a tensor's memory to real numbers that numpy can add."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from paraminspect.analysis.statistics.counting import COUNTABLE, values_of
from paraminspect.analysis.statistics.two_pass import Array, Floats, moments_of
from paraminspect.report.merge import Moments

_NATIVE: dict[torch.dtype, np.dtype[Any]] = {
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
    torch.int32: np.dtype(np.int32),
    torch.int64: np.dtype(np.int64),
    torch.uint32: np.dtype(np.uint32),
    torch.uint64: np.dtype(np.uint64),
    torch.complex64: np.dtype(np.complex64),
    torch.complex128: np.dtype(np.complex128),
}
WORDS = _NATIVE | {dtype: np.dtype(f"u{dtype.itemsize}") for dtype in COUNTABLE}


def decode(words: Array, dtype: torch.dtype) -> Array:
    """Return the numbers that `words` stand for; complex ones as they are."""
    return values_of(dtype)[words] if dtype in COUNTABLE else words


def measure_words(words: Array, dtype: torch.dtype, origin: float = 0.0, work: Floats | None = None) -> Moments:
    """Measure the numbers that `words` stand for, the magnitudes of complex ones; see `moments_of`."""
    if not dtype.is_complex:
        return moments_of(decode(words, dtype), origin, work)
    sizes, exponent = magnitudes(words)
    part = moments_of(sizes, work=work)
    return part._replace(exponent=part.exponent + exponent)


def magnitudes(numbers: Array) -> tuple[Floats, int]:
    """Return the magnitudes of complex numbers, times 2**-exponent, and that exponent: 1 where 0 would overflow.

    A number with an infinite part is infinite, even if the other part is NaN.
    """
    numbers = numbers.astype(np.complex128, copy=False)
    sizes = np.abs(numbers)
    if not (np.isinf(sizes) & np.isfinite(numbers)).any():
        return sizes, 0
    halves = np.abs((numbers.view(np.float64) * 0.5).view(np.complex128))
    # What halving the smallest of all numbers loses is only that it was not 0.
    halves[(halves == 0) & (numbers != 0)] = np.finfo(np.float64).smallest_subnormal
    return halves, 1
