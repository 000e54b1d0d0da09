"""The distributions that are told apart, and how well a whole tensor agrees with one of them.

Every figure of a whole tensor that is used here is known exactly: elements, mean, mean square, largest magnitude.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from paraminspect.frozen import dataclass
from paraminspect.init.schemes import expected_moments
from paraminspect.init.schemes.expected_moments import ExpectedMoments

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Whole:
    """The figures of all elements about `centre`; `rounding` is the relative error of a number of its dtype."""

    count: int
    mean: float
    square: float
    extreme: float
    rounding: float
    centre: float = 0.0

    @property
    def slack(self) -> float:
        """Return by what factor an element may exceed its bound: drawing a + (b − a)·u in float32 rounds too."""
        return 1.0 + self.rounding + 2.0**-21

    @property
    def std(self) -> float:
        """Return the standard deviation; `centre` has to be 0."""
        return math.sqrt(max(self.square - self.mean**2, 0.0))

    def without(self, number: int, total: float, squares: float = 0.0, extreme: float | None = None) -> Whole:
        """Return the figures without so many elements, of that sum and sum of squares."""
        kept = self.count - number
        mean, square = (self.mean * self.count - total) / kept, (self.square * self.count - squares) / kept
        return Whole(kept, mean, square, self.extreme if extreme is None else extreme, self.rounding)

    def about(self, centre: float, low: float, high: float) -> Whole:
        """Return the figures about another centre than 0; `low` and `high` are the least and the greatest element."""
        square = self.std**2 + (self.mean - centre) ** 2
        return Whole(self.count, self.mean, square, max(high - centre, centre - low), self.rounding, centre)


@dataclass(frozen=True, eq=False)
class Family:
    """One shape of distribution with a scale: the std of a normal, the bound of a uniform, the std before a cut at ±2.

    `std` and `kurtosis` are those at scale 1. Up to `edge` scales from the centre there is something, nothing beyond.
    `constant` is the logarithm of the density's factor at scale 1, `quadratic` tells whether it falls as exp(−x²/2).
    """

    name: str
    std: float
    kurtosis: float
    edge: float
    constant: float
    quadratic: bool
    moments: Callable[[float, float], ExpectedMoments]

    def log_likelihood(self, whole: Whole, scale: float) -> float:
        """Return the logarithm of the density of all elements, −inf where one lies beyond the edge."""
        if whole.extreme > self.edge * scale * whole.slack:
            return -math.inf
        spread = whole.square / scale**2 / 2.0 if self.quadratic else 0.0
        return whole.count * (self.constant - math.log(scale) - spread)

    def likeliest(self, whole: Whole) -> float:
        """Return the scale of the greatest likelihood."""
        return math.sqrt(whole.square) if math.isinf(self.edge) else whole.extreme / self.edge

    def greatest(self, whole: Whole) -> float:
        """Return the logarithm of the density at the scale that makes it greatest: no other comes above it."""
        scale = self.likeliest(whole)
        return self.log_likelihood(whole, max(scale, math.sqrt(whole.square)) if self.quadratic else scale)

    def inside(self, x: Floats) -> tuple[Floats, Floats]:
        """Return the logarithms of the chances to fall below and above x, x in units of the scale.

        What rounding has put beyond the edge is mirrored there.
        """
        x = np.where(np.abs(x) > self.edge, np.sign(x) * 2.0 * self.edge - x, x) if self.edge < math.inf else x
        if not self.quadratic:
            ends = [(1.0 + x) / 2.0, (1.0 - x) / 2.0]
        else:
            z = torch.from_numpy(x)
            ends = [torch.special.ndtr(end).numpy() for end in (z, -z)]
            if math.isinf(self.edge):
                below, above = (np.log(np.maximum(end, 1e-300)) for end in ends)
                return below, above
            outside = normal_tail(self.edge)
            ends = [(end - outside) / (1.0 - 2.0 * outside) for end in ends]
        below, above = (np.log(np.clip(end, 1e-300, 1.0)) for end in ends)
        return below, above

    def beyond(self, x: float) -> float:
        """Return the chance that one element is further than x scales from the centre."""
        if not self.quadratic:
            return max(1.0 - x, 0.0)
        outside = 0.0 if math.isinf(self.edge) else 2.0 * normal_tail(self.edge)
        return max(2.0 * normal_tail(x) - outside, 0.0) / (1.0 - outside)


def normal_tail(z: float) -> float:
    """Return the chance that a standard normal exceeds z."""
    return math.erfc(z / math.sqrt(2.0)) / 2.0


_CUT: Final = expected_moments.cut_normal(0.0, 1.0)
_PEAK: Final = -0.5 * math.log(2.0 * math.pi)


def _uniform(centre: float, bound: float) -> ExpectedMoments:
    return expected_moments.uniform(centre - bound, centre + bound)


NORMAL: Final = Family("normal", 1.0, 3.0, math.inf, _PEAK, True, expected_moments.normal)
UNIFORM: Final = Family("uniform", 1.0 / math.sqrt(3.0), 1.8, 1.0, -math.log(2.0), False, _uniform)
CUT: Final = Family(
    "truncated_normal",
    expected_moments.STD_OF_CUT_NORMAL,
    _CUT.kurtosis or 3.0,
    2.0,
    _PEAK - math.log1p(-2.0 * normal_tail(2.0)),
    True,
    expected_moments.cut_normal,
)
FAMILIES: Final = (NORMAL, UNIFORM, CUT)
