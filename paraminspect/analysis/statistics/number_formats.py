"""From the words in a tensor's memory to real numbers that numpy can add.

Types of 8 and 16 bits have few enough values to count them all, which makes every figure exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from paraminspect.analysis.statistics.block_figures import Array, Counts, moments_of
from paraminspect.analysis.statistics.careful_sums import Floats
from paraminspect.report.merge import Moments

_NUMPY = {
    torch.bool: np.bool_,
    torch.int8: np.int8,
    torch.uint8: np.uint8,
    torch.int16: np.int16,
    torch.uint16: np.uint16,
    torch.float16: np.float16,
}
# Whatever 8-bit floats this torch has; their names say so, and it converts them all to float32.
_FLOAT8 = {getattr(torch, name) for name in dir(torch) if name.startswith("float8_")}

COUNTABLE = frozenset(_NUMPY) | _FLOAT8 | {torch.bfloat16}


@lru_cache
def values_of(dtype: torch.dtype) -> Floats:
    """Return the value of every bit pattern of `dtype`, one of COUNTABLE; the pattern is the index."""
    wide = dtype.itemsize == 2
    words = np.arange(65_536, dtype=np.uint16) if wide else np.arange(256, dtype=np.uint8)
    if dtype in _NUMPY:
        values = words.view(_NUMPY[dtype]).astype(np.float64)
    elif dtype is torch.bfloat16:
        values = (words.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    else:
        values = np.array(torch.from_numpy(words).view(dtype).to(torch.float32).tolist())
    values.flags.writeable = False
    return values


@contextmanager
def _unseen() -> Iterator[None]:
    """Hide operations from what watches those of a model, or makes others of them."""
    with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():
        yield


class PatternCounts:
    """Count how often each bit pattern of 8 or 16 bits occurs, in one table however many words are added.

    ``scatter_add_`` counts in one thread, and 1.7 times as many words a second as ``numpy.bincount``, which looks for
    the smallest and the largest first and makes a table for each call.
    """

    _PIECE = 2**15  # words: 256 KiB as the indices that torch wants
    _MOST = 2**30  # words that are counted in 32 bits: a table of half the size stays in a nearer cache

    def __init__(self, kinds: int) -> None:
        self._counts: Counts = np.zeros(kinds, np.int64)
        self._recent, self._left = np.zeros(kinds, np.int32), self._MOST
        self._indices = np.empty(self._PIECE, np.int64)
        with _unseen():
            self._table = torch.from_numpy(self._recent)
            self._places = torch.from_numpy(self._indices)
            self._ones = torch.from_numpy(np.ones(self._PIECE, np.int32))

    def add(self, words: Array) -> None:
        """Count a flat array of uint8 or uint16 too, of as many kinds at most."""
        with _unseen():
            for start in range(0, words.size, self._PIECE):
                piece = words[start : start + self._PIECE]
                np.copyto(self._indices[: piece.size], piece)
                places, ones = self._places, self._ones
                if piece.size < self._PIECE:
                    places, ones = places[: piece.size], ones[: piece.size]
                self._table.scatter_add_(0, places, ones)
                self._left -= piece.size
                if self._left < self._PIECE:
                    self.counts()

    def counts(self) -> Counts:
        """Return how often each pattern was counted."""
        self._counts += self._recent
        self._recent[:] = 0
        self._left = self._MOST
        return self._counts


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
