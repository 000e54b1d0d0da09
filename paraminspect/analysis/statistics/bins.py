"""Histograms of sixteen equal bins."""

from __future__ import annotations

import math

import numpy as np

from paraminspect.analysis.statistics.two_pass import Array, distances
from paraminspect.report import Number

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
