"""Moments and histogram of one block of numbers, in float64 that neither overflows nor cancels.

Everything here is sequential numpy, so that no digit depends on how many threads torch or a BLAS may use.
Callers run it under ``np.errstate(all="ignore")``: what could overflow or be invalid is looked for first.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from paraminspect.analysis.statistics.careful_sums import Floats, Mean, careful_sum, mean_of_sums
from paraminspect.analysis.statistics.long_float32 import moments_of_float32
from paraminspect.report import Number
from paraminspect.report.merge import Moments, exponent_of, two_sum

Array = npt.NDArray[Any]
Counts = npt.NDArray[np.int64]

EXACT_IN_FLOAT64 = 2**53
# Up to this many numbers a careful sum costs less than finding out whether it is needed.
SHORT = 4096
# And from here on float32 has its own way, in which a careful sum is rarely needed.
LONG = 512
# Where squares add up to less than this many times the largest, a few numbers make the sum, and all its error.
SPIKES = 64.0


def moments_of(values: Array, origin: float = 0.0, work: Floats | None = None) -> Moments:
    """Measure a flat, non-empty array of real numbers: float32, float64, or integers of 32 or 64 bits.

    `origin` is a guess of the mean, which saves a pass if it is near; a bad guess costs time, not digits.
    `work` is overwritten: at least as many float64 as there are values.
    """
    if values.dtype == np.float32 and values.size >= LONG:
        room = np.empty(values.size) if work is None else work[: values.size]
        return moments_of_float32(values, origin, room) or _finite_part(values, origin, room)
    low, high = np.minimum.reduce(values).item(), np.maximum.reduce(values).item()
    if not (math.isfinite(low) and math.isfinite(high)):
        return _finite_part(values, origin, work)
    # Comparing first is four times as fast as counting the non-zeros of floats.
    zeros = int(np.count_nonzero(values == 0)) if low <= 0 <= high else 0
    exponent = exponent_of(max(-low, high))
    if origin:  # a guess from other blocks: from far outside this one, the deviations would overflow
        origin = float(min(max(origin, low), high))
    mean = _mean(values, low, high, exponent, origin, work)
    # Adding 0 turns -0.0 into 0.0: which of two equal zeros a reduction returns is not defined.
    return Moments(values.size, *mean, exponent, low + 0, high + 0, zeros)


def weighted_moments_of(values: Array, weights: Counts) -> Moments:
    """Measure `values`, each counted `weights` times."""
    values, weights = values[weights > 0], weights[weights > 0]
    finite, missing = np.isfinite(values), np.isnan(values)
    nan = int(weights[missing].sum())
    inf = int(weights[~finite].sum()) - nan
    values, weights = values[finite], weights[finite]
    if not values.size:
        return Moments(nan=nan, inf=inf)
    low, high = values.min().item(), values.max().item()
    exponent = exponent_of(max(-low, high))
    mean: Mean = (math.ldexp(low, -exponent), 0.0, 0.0)
    if low != high:
        mean = _weighted_mean(np.ldexp(values.astype(np.float64, copy=False), -exponent), weights)
    zeros = int(weights[values == 0].sum())
    return Moments(int(weights.sum()), *mean, exponent, low + 0, high + 0, zeros, nan, inf)


def distances(values: Array, near: int) -> Floats:
    """Return the 64-bit integers `values` less `near`, each rounded once however large it is."""
    wrapped = values.view(np.uint64) - np.uint64(near % 2**64)
    below = values < near
    distance = np.where(below, np.uint64(0) - wrapped, wrapped).astype(np.float64)
    np.negative(distance, out=distance, where=below)
    return distance


def _finite_part(values: Array, origin: float, work: Floats | None) -> Moments:
    finite = values[np.isfinite(values)]
    nan = int(np.count_nonzero(np.isnan(values)))
    part = moments_of(finite, origin, work) if finite.size else Moments()
    return part._replace(nan=nan, inf=values.size - finite.size - nan)


def _lost_in_float(value: Number) -> float:
    return float(value - int(float(value))) if isinstance(value, int) else 0.0


def _mean(values: Array, low: Number, high: Number, exponent: int, origin: float, work: Floats | None) -> Mean:
    """Return the mean and the sum of squared deviations from it, of values * 2**-exponent."""
    if exponent:
        values = np.ldexp(values, -exponent)
        low, high, origin = (math.ldexp(number, -exponent) for number in (low, high, origin))
    if low == high:
        return float(low), _lost_in_float(low), 0.0
    return _about_the_mean(values, low, high, origin, np.empty(values.size) if work is None else work[: values.size])


def _about_the_mean(values: Array, low: Number, high: Number, origin: float, work: Floats) -> Mean:
    if values.dtype.kind in "iu" and max(-low, high) > EXACT_IN_FLOAT64:
        return _large_integers(values, int(low), int(high), work)
    careful = values.dtype.itemsize == 8 or values.size <= SHORT  # many integers of 32 bits add up exactly
    mean, doubtful = _deviations(values, low, high, origin, work, careful)
    return _deviations(values, low, high, mean[0], work)[0] if doubtful else mean


def _deviations(
    values: Array, low: Number, high: Number, origin: float, work: Floats, careful: bool = True
) -> tuple[Mean, bool]:
    """Sum the deviations from `origin` and their squares; say whether to do so again about the mean found."""
    np.copyto(work, values)
    if origin:
        work -= origin
    reach = max(high - origin, origin - low)
    total, squares = _sums(work, reach, careful)
    mean, doubtful = mean_of_sums(work.size, origin, total, squares)
    return mean, doubtful or not (careful or squares >= SPIKES * reach * reach)


def _sums(work: Floats, reach: float, careful: bool = True) -> tuple[float, float]:
    """Return the sum of `work`, none of it beyond `reach`, and the sum of its squares; these overwrite it."""
    total = careful_sum(work, reach) if careful else float(np.add.reduce(work))
    np.multiply(work, work, out=work)
    return total, float(np.add.reduce(work))


def _large_integers(values: Array, low: int, high: int, work: Floats) -> Mean:
    """Measure 64-bit integers that float64 cannot hold, by their distances from an integer near the mean."""
    np.copyto(work, values)
    near = min(max(round(float(np.add.reduce(work)) / values.size), low), high)
    total, squares = _sums(distances(values, near), float(max(high - near, near - low)))
    shift = total / values.size
    mean, rest = two_sum(float(near), shift)
    return (*two_sum(mean, rest + _lost_in_float(near)), max(squares - total * shift, 0.0))


def _weighted_mean(values: Floats, weights: Counts) -> Mean:
    # Careful sums throughout: in the order of bit patterns x and -x are added in different orders.
    n = int(weights.sum())
    origin = careful_sum(*_with_reach(weights * values)) / n
    deviations = values - origin
    total = careful_sum(*_with_reach(weights * deviations))
    squares = careful_sum(*_with_reach(weights * deviations * deviations))
    return (*two_sum(origin, total / n), max(squares - total * (total / n), 0.0))


def _with_reach(products: Floats) -> tuple[Floats, float]:
    return products, float(np.abs(products).max())


BINS = 16


def histogram_of(values: Array, low: Number, high: Number) -> tuple[int, ...]:
    """Count the real numbers `values`, all of them from `low` to `high`, in equal bins between these.

    A bin has its lower edge, the last one both. Where `low` is `high`, all are in the ninth, the middle one.
    """
    if low == high:
        return (0,) * (BINS // 2) + (values.size,) + (0,) * (BINS // 2 - 1)
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8:
        offsets, width = distances(values, int(low)), float(high - low)
    else:
        offsets, width = _offsets(values, float(low), float(high))
    # One rounding, of a quotient that is whole at an edge that float64 can hold.
    offsets /= width / BINS
    bins = np.minimum(offsets.astype(np.intp), BINS - 1)
    return tuple(np.bincount(bins, minlength=BINS).tolist())


def _offsets(values: Array, low: float, high: float) -> tuple[Array, float]:
    width = high - low
    if not 2.0**-900 < width < math.inf:
        # The width overflows, or a sixteenth of it is subnormal.
        exponent = math.frexp(max(-low, high))[1] + 1
        values, low, high = np.ldexp(values, -exponent), math.ldexp(low, -exponent), math.ldexp(high, -exponent)
        width = high - low
    return np.subtract(values, low, dtype=np.float64), width
