"""One histogram for several: the counts of each spread over the bins of the whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float64]
_AT_ONCE = 2**14
"""Histograms that are spread together: their edges are then some megabytes."""


class Binned(NamedTuple):
    """A histogram: `counts` in equal bins from `low` to `high`, of a sample of `weight` elements."""

    low: float
    high: float
    counts: tuple[int, ...]
    weight: float


def pool_histograms(parts: Sequence[Binned]) -> tuple[float, float, tuple[int, ...]]:
    """Return the lowest and the highest element, and the counts in equal bins between.

    Each part weighs as much as it has elements, and its counts are spread evenly over the bins of the whole that they
    reach into; where all parts have the same bins, counts add up.
    """
    low, high = min(part.low for part in parts), max(part.high for part in parts)
    bins = max(len(part.counts) for part in parts)
    if all((part.low, part.high, len(part.counts)) == (low, high, bins) for part in parts):
        weights = [part.weight / (sum(part.counts) or 1) for part in parts]
        if len(set(weights)) == 1:
            return low, high, tuple(map(sum, zip(*(part.counts for part in parts), strict=True)))
    total = np.zeros(bins)
    alike: dict[int, list[Binned]] = {}
    for part in parts:
        alike.setdefault(len(part.counts), []).append(part)
    for members in alike.values():
        for start in range(0, len(members), _AT_ONCE):
            total += _spread(members[start : start + _AT_ONCE], low, high, bins)
    return low, high, tuple(math.ceil(count - 1e-6) for count in total.tolist())


def _spread(parts: Sequence[Binned], low: float, high: float, bins: int) -> _Floats:
    """Add up histograms of as many bins each, in so many equal bins from `low` to `high`.

    The elements of a part up to an edge of the whole are those of its bins below, and a share of the one it cuts; what
    lies between two edges is the difference, exactly 0 where there is nothing.
    """
    below, width = low / 2, high / 2 - low / 2  # halves: the width itself may overflow
    flat = chain.from_iterable(part.counts for part in parts)
    counts = np.fromiter(flat, np.float64).reshape(len(parts), -1)
    ends = np.array([(part.low, part.high) for part in parts]) / 2
    weights = np.array([part.weight for part in parts]) / np.maximum(counts.sum(1), 1)
    places = np.clip((ends - below) / width, 0.0, 1.0) * bins if width else np.full(ends.shape, 0.5 * bins)
    total: _Floats = np.zeros(bins)
    first, last = places.T
    reach = last - first
    point = reach <= 0
    np.add.at(total, np.minimum(first[point].astype(np.intp), bins - 1), (counts.sum(1) * weights)[point])
    first, reach, counts, weights = first[~point], reach[~point], counts[~point], weights[~point]
    own = counts.shape[1]
    edges = np.clip((np.arange(bins + 1.0) - first[:, None]) / reach[:, None], 0.0, 1.0) * own
    cut = np.minimum(edges.astype(np.intp), own - 1)
    before = np.concatenate([np.zeros((len(counts), 1)), np.cumsum(counts, axis=1)], axis=1)
    up_to = np.take_along_axis(before, cut, 1) + np.take_along_axis(counts, cut, 1) * (edges - cut)
    total += (np.diff(up_to, axis=1) * weights[:, None]).sum(0)
    return total
