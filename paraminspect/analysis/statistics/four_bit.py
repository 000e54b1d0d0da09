"""Measure numbers of four bits, two in a byte, exactly: by counting the sixteen there are."""

from __future__ import annotations

from typing import Final

import numpy as np

from paraminspect.analysis.statistics.block_figures import Counts, histogram_of, weighted_moments_of
from paraminspect.analysis.statistics.elements import Draw, Readable, share
from paraminspect.analysis.statistics.number_formats import PatternCounts
from paraminspect.report import Values
from paraminspect.report.merge import values_of_moments

_HALF: Final = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
E2M1: Final = np.array([*_HALF, *(-value for value in _HALF)])
"""The values of F4, which torch calls ``float4_e2m1fn_x2``, by their pattern; there is no NaN and no infinity."""

_BLOCK: Final = 2**20
_SAMPLE: Final = 2048


def measure_four_bit(elements: Readable) -> Values:
    """Return the figures of the numbers in these bytes, of which the low half comes first; see `measure`."""

    def worker(draw: Draw) -> Counts:
        found = PatternCounts(256)
        for _, index in draw:
            found.add(elements.read(index))
        return found.counts()

    first, *others = share(elements.blocks(_BLOCK), worker)
    pairs = sum(others, start=first).reshape(16, 16)  # by the high half, then by the low one
    found = weighted_moments_of(E2M1, pairs.sum(axis=0) + pairs.sum(axis=1))
    sample = elements.sample(_SAMPLE)
    numbers = E2M1[np.concatenate([sample & 15, sample >> 4])]
    bins = None if found.min is None or found.max is None else histogram_of(numbers, found.min, found.max)
    return values_of_moments(found, float, bins)
