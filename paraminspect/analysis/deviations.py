"""Moments of one block of numbers, in float64 that neither overflows nor cancels.

Everything here is sequential numpy, so that no digit depends on how many threads torch or a BLAS may use.
Callers run it under ``np.errstate(all="ignore")``: what could overflow or be invalid is looked for first.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from paraminspect.analysis.moments import Moments, two_sum
from paraminspect.report import Number

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Mean = tuple[float, float, float]  # its two doubles, and the sum of squared deviations from it

# Sums of squares about a provisional mean are kept while cancellation costs them at most this factor: 2.3 bits.
CANCELLATION = 4.0
# Between these, squares of float64 and their sums stay far from both ends of the range.
_SMALLEST, _LARGEST = 2.0**-300, 2.0**300
_EXACT_IN_FLOAT64 = 2**53


def moments_of(values: Array, origin: float = 0.0, work: Floats | None = None) -> Moments:
    """Measure a flat, non-empty array of real numbers: float32, float64, or integers of 32 or 64 bits.

    `origin` is a guess of the mean that saves a pass over types of 32 bits; a bad guess costs time, not digits.
    `work` is overwritten: at least as many float64 as there are values.
    """
    low, high = np.minimum.reduce(values).item(), np.maximum.reduce(values).item()
    if not (math.isfinite(low) and math.isfinite(high)):
        return _finite_part(values, origin, work)
    # Comparing first is four times as fast as counting the non-zeros of floats.
    zeros = int(np.count_nonzero(values == 0)) if low <= 0 <= high else 0
    exponent = _exponent(low, high)
    if low == high:
        mean: Mean = math.ldexp(low, -exponent), _lost_in_float(low), 0.0
    else:
        work = np.empty(values.size) if work is None else work[: values.size]
        mean = _about_the_mean(values, max(-low, high), exponent, origin, work)
    # Adding 0 turns -0.0 into 0.0: which of two equal zeros a reduction returns is not defined.
    return Moments(values.size, *mean, exponent, low + 0, high + 0, zeros)


def weighted_moments_of(values: Floats, weights: Counts) -> Moments:
    """Measure `values`, each counted `weights` times."""
    values, weights = values[weights > 0], weights[weights > 0]
    finite, missing = np.isfinite(values), np.isnan(values)
    nan = int(weights[missing].sum())
    inf = int(weights[~finite].sum()) - nan
    values, weights = values[finite], weights[finite]
    if not values.size:
        return Moments(nan=nan, inf=inf)
    low, high = values.min().item(), values.max().item()
    exponent = _exponent(low, high)
    mean: Mean = (math.ldexp(low, -exponent), 0.0, 0.0)
    if low != high:
        mean = _weighted_mean(np.ldexp(values, -exponent), weights)
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


def _exponent(low: Number, high: Number) -> int:
    """Return e such that numbers from `low` to `high`, times 2**-e, can be squared; 0 unless they are far out."""
    peak = max(-low, high)
    return 0 if _SMALLEST <= peak <= _LARGEST or peak == 0 else math.frexp(peak)[1]


def _lost_in_float(value: Number) -> float:
    return float(value - int(float(value))) if isinstance(value, int) else 0.0


def _about_the_mean(values: Array, peak: Number, exponent: int, origin: float, work: Floats) -> Mean:
    if exponent:
        return _two_passes(np.ldexp(values, -exponent), work)
    if values.dtype.itemsize < 8:
        return _one_pass(values, origin, work)
    if values.dtype.kind in "iu" and peak > _EXACT_IN_FLOAT64:
        return _large_integers(values, work)
    return _two_passes(values, work)


def _one_pass(values: Array, origin: float, work: Floats) -> Mean:
    """Sum the deviations from `origin` and their squares; where that cancels, go over the values again.

    For types of 32 bits only: their sums have 21 bits or more to spare.
    """
    np.copyto(work, values)
    if origin:
        work -= origin
    mean, low, m2, cancelled = _deviations(work, origin)
    return _corrected(values, mean, work) if cancelled > CANCELLATION * m2 else (mean, low, m2)


def _two_passes(values: Array, work: Floats) -> Mean:
    np.copyto(work, values)
    return _corrected(values, float(np.add.reduce(work)) / values.size, work)


def _corrected(values: Array, origin: float, work: Floats) -> Mean:
    """Finish the corrected two-pass algorithm (Chan, Golub & LeVeque 1983, eq. 1.7); `origin` is a rounded mean."""
    np.copyto(work, values)
    work -= origin
    return _deviations(work, origin)[:3]


def _deviations(work: Floats, origin: float) -> tuple[float, float, float, float]:
    """Turn deviations from `origin` into a mean and sum of squares, and say how much was subtracted from the latter."""
    total = float(np.add.reduce(work))
    shift = total / work.size
    np.multiply(work, work, out=work)
    m2 = float(np.add.reduce(work)) - total * shift
    return (*two_sum(origin, shift), max(m2, 0.0), total * shift)


def _large_integers(values: Array, work: Floats) -> Mean:
    """Measure 64-bit integers that float64 cannot hold, by their distances from an integer near the mean."""
    np.copyto(work, values)
    bounds = np.iinfo(values.dtype)
    near = min(max(round(float(np.add.reduce(work)) / values.size), int(bounds.min)), int(bounds.max))
    mean, low, m2, _ = _deviations(distances(values, near), float(near))
    return (*two_sum(mean, low + _lost_in_float(near)), m2)


def _weighted_mean(values: Floats, weights: Counts) -> Mean:
    n = int(weights.sum())
    origin = float((weights * values).sum()) / n
    deviations = values - origin
    products = weights * deviations
    total = float(products.sum())
    products *= deviations
    m2 = float(products.sum()) - total * (total / n)
    return (*two_sum(origin, total / n), max(m2, 0.0))
