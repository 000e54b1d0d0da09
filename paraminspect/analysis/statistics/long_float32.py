"""Moments of a long array of float32, in as few passes through memory as the promised digits allow.

Nothing is looked for that other figures tell already: where no magnitude is 0, no zeros are counted. On one thread, in
gigabytes of float32 a second, numbers that are in the second cache take

    smallest and largest pattern        52 each, of signed and of unsigned words: both ends, and what is nearest to zero
    a copy in float64                   15           7 where the copy does not stay in that cache
    its sum                             16
    its sum of squares                  31           products in chains of 512 numbers, no square is written
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from paraminspect.analysis.statistics.careful_sums import Floats, Mean, careful_sum, mean_of_sums
from paraminspect.report.merge import Moments

Array = npt.NDArray[Any]

# Longer chains would round more, shorter ones take longer. A BLAS adds in one thread what is this short.
CHAIN = 512
# A megabyte of float32 and two of float64: smaller pieces stay in the second cache, but operations on them are so short
# that two threads take longer than one, waiting for the interpreter lock.
_PIECE = 2**18
# Where squares add up to less than this many times the largest, a few numbers make the sum, and all its error.
SPIKES = 64.0
# numpy adds in chains of sixteen: float64 holds those of float32 exactly while none is this much below the largest.
RANGE = 2.0**24
# One number below spoils sixteen additions, each by 2**-53 of sixteen times the largest. Where squares add up to 256
# times the largest square for each of them, magnitudes add up to 256 times the largest: 2**-53 of that is lost at most.
SPOILS = 256.0


def moments_of_float32(values: Array, origin: float, work: Floats) -> Moments | None:
    """Measure a flat, non-empty array of float32, see `moments_of`; None where there are NaN or infinities.

    `work` is overwritten: it has room for as many numbers as are looked at at a time, or for more.
    """
    ends = _ends(values)
    if ends is None:
        return None
    low, high, least = ends
    n, limit = values.size, max(-low, high) / RANGE
    zeros = small = 0
    if least < limit or not least:
        zeros, small = near_zero(values, least, limit, work)
    # Adding 0 turns -0.0 into 0.0: which of two equal zeros comes first in the patterns means nothing.
    found = Moments(n, low + 0, min=low + 0, max=high + 0, zeros=zeros)
    if low == high:
        return found
    sums = [_sums(piece, origin, room) for piece, room in _pieces(values, work)]
    squares = math.fsum(square for _, square in sums)
    mean, doubtful = mean_of_sums(n, origin, math.fsum(total for total, _ in sums), squares)
    # Deviations from a distant mean are small beside it, and so are the rounding errors of their sum.
    needed = SPIKES if origin else max(SPIKES, SPOILS * small)
    if doubtful or squares < needed * max(high - origin, origin - low) ** 2:
        mean = about_the_mean(values, low, high, mean[0], work)
    return found._replace(mean=mean[0], mean_low=mean[1], m2=mean[2])


def _ends(values: Array) -> tuple[float, float, float] | None:
    """Return the smallest number, the largest, and the smallest magnitude; None where one is not finite.

    As integers, patterns with the sign bit set are the largest unsigned and the smallest signed ones; on either side of
    the sign they are in the order of magnitudes.
    """
    unsigned, signed = values.view(np.uint32), values.view(np.int32)
    first, last = np.minimum.reduce(unsigned), np.maximum.reduce(unsigned)
    nearest_below, furthest_above = np.minimum.reduce(signed), np.maximum.reduce(signed)
    has_negative, has_positive = nearest_below < 0, furthest_above >= 0
    ends = [
        number.view(np.float32).item()
        for number, there in (
            (last, has_negative),
            (nearest_below, has_negative),
            (first, has_positive),
            (furthest_above, has_positive),
        )
        if there
    ]
    if not all(map(math.isfinite, ends)):
        return None
    return ends[0], ends[-1], min(map(abs, ends))


def near_zero(values: Array, least: float, limit: float, work: Floats) -> tuple[int, int]:
    """Count the zeros, and the other numbers that are too small beside the largest for a plain sum.

    `work` is overwritten, in which all stays in cache.
    """
    zeros = below = 0
    for piece, room in _pieces(values, work):
        magnitudes = np.abs(piece, out=room.view(np.float32)[: piece.size])
        below += int(np.count_nonzero(magnitudes < limit))
        zeros += 0 if least else int(np.count_nonzero(magnitudes == 0))
    return zeros, below - (zeros if limit else 0)


def _pieces(values: Array, work: Floats) -> Iterator[tuple[Array, Floats]]:
    """Yield the numbers, so many at a time, and room for as many."""
    step = min(_PIECE, work.size)
    for start in range(0, values.size, step):
        piece = values[start : start + step]
        yield piece, work[: piece.size]


def _sums(values: Array, origin: float, work: Floats) -> tuple[float, float]:
    """Return the sum of the deviations from `origin`, and that of their squares."""
    np.copyto(work, values)
    if origin:
        work -= origin
    return float(np.add.reduce(work)), _sum_of_squares(work)


def _sum_of_squares(work: Floats) -> float:
    whole = work.size - work.size % CHAIN
    chains = np.matmul(work[:whole].reshape(-1, 1, CHAIN), work[:whole].reshape(-1, CHAIN, 1))
    return float(np.add.reduce(chains.ravel())) + float(np.dot(work[whole:], work[whole:]))


def about_the_mean(values: Array, low: float, high: float, mean: float, work: Floats) -> Mean:
    """Pass once more, with a careful sum of the deviations from the mean."""
    reach = max(high - mean, mean - low)
    totals: list[float] = []
    squares: list[float] = []
    for piece, room in _pieces(values, work):
        np.subtract(piece, mean, out=room, dtype=np.float64)
        totals.append(careful_sum(room, reach))
        squares.append(_sum_of_squares(room))
    return mean_of_sums(values.size, mean, math.fsum(totals), math.fsum(squares))[0]
