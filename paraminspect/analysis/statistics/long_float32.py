"""Moments of a long array of float32, in as few passes through memory as the promised digits allow.

Nothing is looked for that other figures tell already: where no magnitude is 0, no zeros are counted. On one thread, in
gigabytes of float32 a second, a block of a megabyte takes

    smallest and largest number         27 and 72    exact in float32
    smallest magnitude                  30           tells that there are no zeros, and that the sum is right
    a copy in float64                   25
    its sum                             20
    its sum of squares                  30           products in chains of 512 numbers, no square is written
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from paraminspect.analysis.statistics.careful_sums import Floats, Mean, careful_sum, mean_of_sums
from paraminspect.analysis.statistics.merge import Moments

Array = npt.NDArray[Any]

# Longer chains would round more, shorter ones take longer. A BLAS adds in one thread what is this short.
_CHAIN = 512
# Where squares add up to less than this many times the largest, a few numbers make the sum, and all its error.
_SPIKES = 64.0
# numpy adds in chains of sixteen: float64 holds those of float32 exactly while none is this much below the largest.
_RANGE = 2.0**24
# One number below spoils sixteen additions, each by 2**-53 of sixteen times the largest. Where squares add up to 256
# times the largest square for each of them, magnitudes add up to 256 times the largest: 2**-53 of that is lost at most.
_SPOILS = 256.0


def moments_of_float32(values: Array, origin: float, work: Floats) -> Moments | None:
    """Measure a flat, non-empty array of float32, see `moments_of`; None where there are NaN or infinities.

    `work` is overwritten: as many float64 as there are values.
    """
    low, high, n = float(np.minimum.reduce(values)), float(np.maximum.reduce(values)), values.size
    if not -math.inf < low <= high < math.inf:
        return None
    zeros, small = _near_zero(values, low, high, work.view(np.float32)[:n])
    # Adding 0 turns -0.0 into 0.0: which of two equal zeros a reduction returns is not defined.
    found = Moments(n, low + 0, min=low + 0, max=high + 0, zeros=zeros)
    if low == high:
        return found
    np.copyto(work, values)
    if origin:
        work -= origin
    squares = _sum_of_squares(work)
    mean, doubtful = mean_of_sums(n, origin, float(np.add.reduce(work)), squares)
    # Deviations from a distant mean are small beside it, and so are the rounding errors of their sum.
    needed = _SPIKES if origin else max(_SPIKES, _SPOILS * small)
    if doubtful or squares < needed * max(high - origin, origin - low) ** 2:
        mean = _about_the_mean(values, low, high, mean[0], work)
    return found._replace(mean=mean[0], mean_low=mean[1], m2=mean[2])


def _near_zero(values: Array, low: float, high: float, room: Array) -> tuple[int, int]:
    """Count the zeros, and the numbers that are too small beside the largest for a plain sum."""
    limit = max(-low, high) / _RANGE
    if max(low, -high) > limit:
        return 0, 0
    least = float(np.minimum.reduce(np.abs(values, out=room)))
    if least >= limit > 0:
        return 0, 0
    zeros = 0 if least else values.size - int(np.count_nonzero(room != 0))
    return zeros, int(np.count_nonzero(room < limit)) - (zeros if limit else 0)


def _sum_of_squares(work: Floats) -> float:
    whole = work.size - work.size % _CHAIN
    chains = np.matmul(work[:whole].reshape(-1, 1, _CHAIN), work[:whole].reshape(-1, _CHAIN, 1))
    return float(np.add.reduce(chains.ravel())) + float(np.dot(work[whole:], work[whole:]))


def _about_the_mean(values: Array, low: float, high: float, mean: float, work: Floats) -> Mean:
    """Pass once more, with a careful sum of the deviations from the mean."""
    np.copyto(work, values)
    work -= mean
    total = careful_sum(work, max(high - mean, mean - low))
    return mean_of_sums(values.size, mean, total, _sum_of_squares(work))[0]
