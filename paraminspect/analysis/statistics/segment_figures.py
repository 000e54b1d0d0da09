"""Figures of many arrays that lie behind one another in one buffer: the same digits as one at a time, in few calls.

numpy's ``ufunc.reduceat`` reduces each part of the buffer that begins at one of the places given, with the sums of
``ufunc.reduce``. Two arrays, 1 2 3 and 4 5, make the buffer ``· 1 2 3 · 4 5``: ahead of each is a place of its own, its
head, here at 0 and 4. It holds 0 while numbers are added, so that a sum begins as numpy begins every sum, and repeats
the first number while the smallest is looked for.

What `block_figures` does with one block, and why, is done here with all of them at once. Callers run it under
``np.errstate(all="ignore")``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from paraminspect.analysis.statistics.block_figures import BINS, EXACT_IN_FLOAT64
from paraminspect.analysis.statistics.careful_sums import CANCELLATION, Floats
from paraminspect.report.merge import LARGEST, SMALLEST

Indices = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]


class Segments(NamedTuple):
    """Hold the buffer, the heads of its segments, and how long each is, its head included; `work` is overwritten."""

    numbers: Floats
    heads: Indices
    lengths: Indices
    work: Floats

    def spread(self, figures: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return one figure of each segment for each place of the buffer."""
        return np.repeat(figures, self.lengths)

    def kept(self, which: Flags) -> Segments:
        """Return a buffer of some of the segments alone."""
        lengths = self.lengths[which]
        numbers = self.numbers[self.spread(which)]
        return Segments(numbers, np.cumsum(lengths) - lengths, lengths, self.work[: numbers.size])


class Columns(NamedTuple):
    """Hold each figure of all segments, in the order of `Values`; those that are not `known` need more care."""

    mean: Floats
    std: Floats
    rms: Floats
    min: Floats
    max: Floats
    l2: Floats
    zeros: Indices
    known: Flags


def figures_of_segments(parts: Segments, whole: bool) -> Columns:
    """Measure each segment; say where NaN, infinities or numbers out of range ask for more care.

    `whole` are those of integers. The heads, and what is not known, are 0 afterwards.
    """
    n = (parts.lengths - 1).astype(np.float64)
    low, high, known = _extremes(parts, whole)
    reach = np.maximum(-low, high)
    total, squares, least = _sums(parts, reach)
    mean = total / n
    m2 = squares - total * mean
    doubtful = (total * mean > CANCELLATION * m2) & (low != high)
    if doubtful.any():
        mean[doubtful], m2[doubtful] = _about(parts.kept(doubtful), mean[doubtful], low[doubtful], high[doubtful])
    mean, m2 = np.where(low == high, low, mean) + 0.0, np.where(low == high, 0.0, np.maximum(m2, 0.0))
    variance, square = m2 / n, mean * mean
    # Adding 0 turns -0.0 into 0.0: which of two equal zeros a reduction returns is not defined.
    return Columns(
        mean,
        np.sqrt(variance),
        np.sqrt(square + variance),
        low + 0.0,
        high + 0.0,
        np.sqrt(m2 + n * square),
        _zeros(parts, least),
        known,
    )


def _extremes(parts: Segments, whole: bool) -> tuple[Floats, Floats, Flags]:
    """Return the smallest and the largest numbers, and where these leave nothing to be careful about."""
    numbers, heads, lengths, _ = parts
    numbers[heads] = numbers[heads + 1]
    low, high = np.minimum.reduceat(numbers, heads), np.maximum.reduceat(numbers, heads)
    numbers[heads] = 0
    peak = np.maximum(-low, high)
    known = (peak < EXACT_IN_FLOAT64) if whole else (peak == 0) | ((peak >= SMALLEST) & (peak <= LARGEST))
    for head, length in zip(heads[~known].tolist(), lengths[~known].tolist(), strict=True):
        numbers[head : head + length] = 0
    return np.where(known, low, 0.0), np.where(known, high, 0.0), known


def _sums(parts: Segments, reach: Floats) -> tuple[Floats, Floats, Floats]:
    """Return of each segment the sum, the sum of squares, and the least square; nothing is beyond `reach`."""
    numbers, heads, lengths, work = parts
    # The leading bits of all numbers, whose sum is exact, then the rest: see `careful_sum`.
    sigma = parts.spread(np.ldexp(1.5, np.frexp(reach)[1] + np.frexp(lengths + 1)[1]))
    np.add(numbers, sigma, out=work)
    work -= sigma
    total = np.add.reduceat(work, heads)
    np.subtract(numbers, work, out=work)
    total += np.add.reduceat(work, heads)
    np.multiply(numbers, numbers, out=work)
    squares = np.add.reduceat(work, heads)
    work[heads] = work[heads + 1]
    return total, squares, np.minimum.reduceat(work, heads)


def _about(parts: Segments, origin: Floats, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Return the means and the sums of squared deviations from them, by the deviations from `origin`."""
    numbers = parts.numbers
    numbers -= parts.spread(origin)
    numbers[parts.heads] = 0
    total, squares, _ = _sums(parts, np.maximum(high - origin, origin - low))
    shift = total / (parts.lengths - 1)
    return origin + shift, squares - total * shift


def _zeros(parts: Segments, least: Floats) -> Indices:
    """Count the zeros, where the least square is 0."""
    numbers, heads, lengths, _ = parts
    found = np.zeros(heads.size, np.intp)
    some = np.flatnonzero(least == 0)
    if some.size:
        zero = numbers == 0
        for at, head, length in zip(some.tolist(), heads[some].tolist(), lengths[some].tolist(), strict=True):
            found[at] = np.count_nonzero(zero[head + 1 : head + length])
    return found


def histograms_of_segments(parts: Segments, low: Floats, high: Floats) -> npt.NDArray[np.intp]:
    """Return the histograms as rows, from `low` to `high` of each segment; the heads are overwritten."""
    numbers, heads, lengths, work = parts
    equal = low == high
    numbers[heads] = low
    offsets = np.subtract(numbers, np.repeat(low, lengths), out=work)
    offsets /= np.repeat(np.where(equal, 1.0, high - low) / BINS, lengths)
    bins = offsets.astype(np.int32)  # with int64 it takes three times as long
    np.minimum(bins, BINS - 1, out=bins)
    bins += np.repeat(np.arange(0, BINS * low.size, BINS, dtype=np.int32), lengths)
    counts = np.bincount(bins, minlength=BINS * low.size).reshape(-1, BINS)
    counts[:, 0] -= 1  # the head
    counts[equal, BINS // 2], counts[equal, 0] = counts[equal, 0], 0
    return counts
