"""Figures of many arrays of float32 that lie in one buffer: the same digits as one at a time, in few calls.

What `long_float32` does with one array, and why, is done here with all of them. What passes over all
numbers takes the arrays of one length together; what is one number for each array, all there are. `segment_figures`
takes arrays of any lengths together, which costs ten times as much a number: there a figure of an array has to be
written beside each number of it, and sums are careful ones. Callers run it under ``np.errstate(all="ignore")``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from paraminspect.analysis.statistics.block_figures import BINS
from paraminspect.analysis.statistics.careful_sums import CANCELLATION, Floats
from paraminspect.analysis.statistics.long_float32 import CHAIN, RANGE, SPIKES, SPOILS, about_the_mean, near_zero
from paraminspect.analysis.statistics.segment_figures import Columns, Indices

Array = npt.NDArray[Any]

AT_ONCE: Final = 2**15  # numbers that are rows of one matrix: what is made of them stays in the second cache


class FloatRows:
    """Hold arrays of float32 that lie anywhere in one buffer: where each begins, and how long it is."""

    def __init__(self, words: Array, starts: Indices, lengths: Indices, work: Floats) -> None:
        self.words, self.starts, self.lengths = words, starts, lengths
        self._work = work  # overwritten: as many as the longest array, and AT_ONCE
        self._gathered = np.empty(AT_ONCE, np.float32)

    def array(self, at: int) -> Array:
        """Return one of the arrays."""
        return self.words[self.starts[at] : self.starts[at] + self.lengths[at]]

    def figures(self) -> Columns:
        """Measure each array; say which have NaN or infinities, and ask for more care."""
        ends, total, squares = self._passed()
        low, high, least = _ends(ends)
        known, n = np.isfinite(low) & np.isfinite(high), self.lengths.astype(np.float64)
        limit = np.maximum(-low, high) / RANGE
        zeros, small = np.zeros(n.size, np.intp), np.zeros(n.size, np.intp)
        for at in np.flatnonzero(known & ((least < limit) | (least == 0))).tolist():
            zeros[at], small[at] = near_zero(self.array(at), least[at], limit[at], self._work)
        mean = total / n
        m2 = squares - total * mean
        reach = np.maximum(high, -low)
        poor = (total * mean > CANCELLATION * m2) | (squares < np.maximum(SPIKES, SPOILS * small) * (reach * reach))
        for at in np.flatnonzero(poor & known & (low != high)).tolist():
            array = self.array(at)
            first, rest, m2[at] = about_the_mean(array, low[at].item(), high[at].item(), mean[at].item(), self._work)
            mean[at] = first + rest
        mean, m2 = np.where(low == high, low, mean) + 0.0, np.where(low == high, 0.0, np.maximum(m2, 0.0))
        variance, square = m2 / n, mean * mean
        # Adding 0 turns -0.0 into 0.0: which of two equal zeros comes first in the patterns means nothing.
        deviation, rms, l2 = np.sqrt(variance), np.sqrt(square + variance), np.sqrt(m2 + n * square)
        return Columns(mean, deviation, rms, low + 0.0, high + 0.0, l2, zeros, known)

    def histograms(self, found: Columns) -> Indices:
        """Return the histogram of each array that is known by its figures, 0 for the others."""
        equal = found.min == found.max
        width = np.where(equal, 1.0, found.max - found.min) / BINS
        counts = np.zeros((equal.size, BINS), np.intp)
        known = np.flatnonzero(found.known)
        for which, words, work in self._matrices(known[_by_length(self.lengths[known])]):
            np.subtract(words, found.min[which, None], out=work)
            np.divide(work, width[which, None], out=work)
            bins = work.astype(np.int32)  # with int64 it takes three times as long
            np.minimum(bins, BINS - 1, out=bins)
            bins += np.arange(0, BINS * len(which), BINS, dtype=np.int32)[:, None]
            counts[which] = np.bincount(bins.ravel(), minlength=BINS * len(which)).reshape(-1, BINS)
        counts[equal, BINS // 2], counts[equal, 0] = counts[equal, 0], 0
        return counts

    def _passed(self) -> tuple[Array, Floats, Floats]:
        """Return the extreme patterns of each array, the sum and the sum of squares."""
        order, parts = _by_length(self.lengths), []
        for _, words, numbers in self._matrices(order):
            unsigned, signed = words.view(np.uint32), words.view(np.int32)
            ends = [np.minimum.reduce(unsigned, axis=1), np.maximum.reduce(unsigned, axis=1)]
            ends += [
                np.minimum.reduce(signed, axis=1).view(np.uint32),
                np.maximum.reduce(signed, axis=1).view(np.uint32),
            ]
            np.copyto(numbers, words)
            parts.append((*ends, np.add.reduce(numbers, axis=1), _sums_of_squares(numbers)))
        *patterns, total, squares = (np.concatenate(column) for column in zip(*parts, strict=True))
        back = np.argsort(order)
        return np.array(patterns)[:, back], total[back], squares[back]

    def _matrices(self, order: Indices) -> Iterator[tuple[Indices, Array, Floats]]:
        """Yield arrays of one length: which they are, their numbers as rows, and room for as many in float64."""
        starts, lengths = self.starts[order].tolist(), self.lengths[order].tolist()
        first = 0
        for last, (length, following) in enumerate(zip(lengths, [*lengths[1:], 0], strict=True), 1):
            if length == following and (last + 1 - first) * length <= AT_ONCE:
                continue
            words = self.words[starts[first] : starts[first] + length][None]
            if last - first > 1:
                words = self._gathered[: (last - first) * length].reshape(-1, length)
                for row, start in zip(words, starts[first:last], strict=True):
                    row[:] = self.words[start : start + length]
            yield order[first:last], words, self._work[: words.size].reshape(words.shape)
            first = last


def _by_length(lengths: Indices) -> Indices:
    return np.argsort(lengths, kind="stable")


def _ends(patterns: Array) -> tuple[Floats, Floats, Floats]:
    """Return the smallest number of each array, the largest, and the smallest magnitude.

    As integers, patterns with the sign bit set are the largest unsigned and the smallest signed ones; on either side of
    the sign they are in the order of magnitudes.
    """
    first, last, nearest_below, furthest_above = patterns
    has_negative, has_positive = nearest_below >> 31 == 1, furthest_above >> 31 == 0
    low, high, below, above = (
        np.where(there, one, other).view(np.float32).astype(np.float64)
        for there, one, other in (
            (has_negative, last, first),
            (has_positive, furthest_above, nearest_below),
            (has_negative, nearest_below, first),
            (has_positive, first, nearest_below),
        )
    )
    return low, high, np.minimum(np.abs(below), np.abs(above))


def _sums_of_squares(numbers: Floats) -> Floats:
    count, n = numbers.shape
    whole = n - n % CHAIN
    found: Floats = np.add.reduce(_dot(numbers[:, :whole].reshape(-1, CHAIN)).reshape(count, -1), axis=1)
    return found + _dot(numbers[:, whole:]) if whole < n else found


def _dot(rows: Floats) -> Floats:
    found: Floats = np.matmul(rows[:, None, :], rows[:, :, None]).ravel()
    return found
