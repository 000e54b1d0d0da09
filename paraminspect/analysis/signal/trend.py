"""Is the signal's way through depth steady? A factor per layer, its law, and a verdict that knows the widths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np

from paraminspect.frozen import dataclass
from paraminspect.report import Course

_LEAVES: Final = math.log(1e6)  # of second moments: a factor of 1e3 in rms, either way
_MILD: Final = math.log(20)  # a factor of 4.5 in rms from end to end, which training does not notice
_FEW: Final = 6  # below so many depths no law can be told
_SHALLOW: Final = 3  # below so many there is nothing to judge: one factor is no trend
_OWN: Final = 0.5  # a level of which the biases make more than this is no signal
_FALL: Final = math.log(30)  # of second moments, before what the biases keep up is all that is left
_DEVIATIONS: Final = 4.0  # that a tolerance allows, see theory.tolerance
_FLAT, _BENT = 0.1, 0.75  # the slope over the second half by that over the first: a level; still an exponential
_TINY: Final = 5e-324
_STEEP: Final = 4.0  # a power of the depth beyond which nothing is steady
_EXACT_NEEDS: Final = 6  # depths for a trend that theory knows all about
_NEEDS: Final = 4  # depths for any other trend
_STANDS_OUT: Final = math.log(100)  # of a second moment: a factor of 10 in rms beyond the trend
_OVERFLOW: Final = 700.0  # the largest exponent that a float holds
_PICKED: Final = 128  # depths that a slope is taken of; more tell nothing new


@dataclass(frozen=True)
class Series:
    """Hold second moments in the order in which the signal runs, of every seed, and what theory expects.

    `depths` are the numbers of the layers. `measured` has one list a seed; None stands for what was not measured, or is
    not finite: then `nonfinite` counts. `tolerance` is the widest that ln factor per layer may stray by chance, which
    follows from the widths. Where theory is `exact`, a change beyond it that comes to more than 4.5 in rms from end to
    end is a verdict; elsewhere (norms, skips, kernels) sound networks stray further, and it takes 1e3: see
    tests/benchmarks/zoo.py.
    `chi` is the factor of the gradient that theory gives at the fixed point, `constant` the part of the last second
    moment that biases make in the end; `gone` says that here they make all of it already.
    """

    depths: Sequence[int]
    measured: Sequence[Sequence[float | None]]
    expected: Sequence[float | None]
    tolerance: float
    nonfinite: Sequence[int]
    chi: float | None = None
    constant: float | None = None
    gone: bool = False
    exact: bool = True

    @property
    def needs(self) -> int:
        """Return how many depths a verdict takes."""
        return _EXACT_NEEDS if self.exact else _NEEDS

    def room(self, steps: int) -> float:
        """Return how far ln factor per layer may be from 0 over so many steps."""
        return max(self.tolerance, (_MILD if self.exact else _LEAVES) / max(steps, 1))


@dataclass(frozen=True)
class _Way:
    """What is left of a series before the signal is exactly 0 or no number any longer.

    `mean` is that of all seeds, `logs` the mean of their logarithms.
    """

    depths: Sequence[int]
    mean: Sequence[float]
    logs: Sequence[float]
    seeds: int

    @property
    def steps(self) -> int:
        """Return the number of factors."""
        return len(self.mean) - 1

    @property
    def leaves(self) -> int | None:
        """Return the depth at which the rms is a factor of 1e3 away from the first."""
        start = math.log(self.mean[0])
        far = (depth for depth, one in zip(self.depths, self.mean, strict=True) if abs(math.log(one) - start) > _LEAVES)
        return next(far, None)


def judge(series: Series) -> Course:
    """Return the course of one direction; `unknown` where fewer than three depths have figures.

    A signal that vanishes until it is 0, or explodes until it overflows, is judged by its way there.
    """
    broken = next((at for at, count in enumerate(series.nonfinite) if count), len(series.depths))
    columns = [*zip(*(one[:broken] for one in series.measured), strict=True)]
    if any(value is None for column in columns for value in column) or not series.depths:
        return Course()
    values = [[value for value in column if value is not None] for column in columns]
    zero = next((at for at, column in enumerate(values) if not any(column)), broken)
    way = _way(series.depths, values[:zero])
    whole = zero == len(series.depths)
    if way is None or not (whole or way.leaves is not None):
        ends = Course() if way is None else _ends(way)
        return replace(ends, verdict="dead" if zero < broken else "nonfinite", leaves=series.depths[zero])
    return _steady_or_not(series, way, whole) if way.steps else _ends(way)


def _way(depths: Sequence[int], values: list[list[float]]) -> _Way | None:
    """Return the way of the seeds whose signal is nowhere 0, of all where there is no such seed."""
    if not values or not values[0]:
        return None
    alive = [at for at in range(len(values[0])) if all(column[at] for column in values)]
    kept = [[column[at] for at in alive] if alive else column for column in values]
    seeds = len(kept[0])
    logs = [sum(math.log(max(one, _TINY)) for one in column) / seeds for column in kept]
    return _Way(depths[: len(kept)], [sum(column) / seeds for column in kept], logs, seeds)


def _ends(way: _Way) -> Course:
    return Course(first=math.sqrt(way.mean[0]), last=math.sqrt(way.mean[-1]))


def _steady_or_not(series: Series, way: _Way, whole: bool) -> Course:
    """Judge the trend of the factors: it lies in the band of a healthy net, or it follows a power law.

    The logarithm of a factor that is 1 in the mean lies half its variance below 0.
    """
    room = series.room(way.steps)
    step, at = _step(way.logs)
    factor = _trend(way.logs, series.exact, at)
    drift = 0.5 * (series.tolerance / _DEVIATIONS) ** 2 * way.steps * way.seeds if series.exact else 0.0
    known = [math.log(one) for one in series.expected[: way.steps + 1] if one is not None and one > 0]
    reached = len(known) == len(way.mean)
    law, exponent = _law(known if reached else way.logs, way.depths, series)
    within = -room - drift <= factor <= room and not (series.exact and way.leaves is not None)
    verdict = _verdict(way, within, law, exponent, series)
    clear = way.leaves is not None or abs(factor) * way.steps > _LEAVES
    least = _SHALLOW if verdict == "steady" or clear else series.needs
    too_few = whole and len(way.mean) < least
    course = Course(
        verdict="unknown" if too_few else verdict,
        law=None if (within and law == "exponential") or too_few else law,
        factor=math.exp(factor),
        expected=math.exp(_trend(known, series.exact, at)) if reached else None,
        low=math.exp(-room - drift),
        high=math.exp(room),
        exponent=None if too_few else exponent,
        first=_ends(way).first,
        last=_ends(way).last,
        leaves=way.leaves if verdict in ("vanishing", "exploding") and not too_few else None,
        depths=(way.depths[0], way.depths[-1]),
        step=step,
        step_at=None if at is None else way.depths[at],
        reason=f"{len(way.mean)} layers are too few for a trend" if too_few else None,
    )
    runs_on = course.law == "exponential" and course.verdict in ("vanishing", "exploding")
    if course.leaves is None and runs_on and way.depths[-1] > way.depths[0]:
        return replace(course, leaves=way.depths[0] + math.ceil(_LEAVES / abs(factor)), extrapolated=True)
    return course


def _trend(logs: Sequence[float], exact: bool, apart: int | None) -> float:
    """Return ln factor per layer: the mean of the steps but the one that stands `apart`, elsewhere the median slope."""
    if not exact:
        return _slope(logs)
    steps = [after - before for at, (before, after) in enumerate(pairwise(logs)) if at != apart]
    return sum(steps) / len(steps)


def _slope(logs: Sequence[float]) -> float:
    """Return the median slope of all pairs of points: a quarter of these may lie anywhere (Theil 1950, Sen 1968)."""
    y = np.asarray(logs)[np.unique(np.linspace(0, len(logs) - 1, min(len(logs), _PICKED)).round().astype(int))]
    x = np.linspace(0, len(logs) - 1, len(y)).round()
    before, after = np.triu_indices(len(y), 1)
    return float(np.median((y[after] - y[before]) / (x[after] - x[before])))


def _step(logs: Sequence[float]) -> tuple[float | None, int | None]:
    """Return the factor of the step furthest from the median slope, and where it starts, if it stands out."""
    trend, steps = _slope(logs), [after - before for before, after in pairwise(logs)]
    at = max(range(len(steps)), key=lambda one: abs(steps[one] - trend))
    if len(steps) < _SHALLOW or abs(steps[at] - trend) < _STANDS_OUT:
        return None, None
    return math.exp(min(steps[at], _OVERFLOW)), at


def _verdict(way: _Way, within: bool, law: str | None, exponent: float | None, series: Series) -> str:
    """Say where the signal goes: nowhere if it strays no further than the widths allow, or by a power of the depth.

    One that fell to a level that the biases make has vanished: what is left is not the input's.
    """
    drowned = series.constant is not None and series.constant >= _OWN and way.logs[-1] - way.logs[0] < -_FALL
    if series.exact and (drowned or series.gone):
        return "vanishing"
    if within or law == "constant" or (law == "power law" and exponent is not None and abs(exponent) < _STEEP):
        return "steady"
    return "vanishing" if way.logs[-1] < way.logs[0] else "exploding"


def _law(logs: Sequence[float], depths: Sequence[int], series: Series) -> tuple[str | None, float | None]:
    """Tell a constant, an exponential and a power law of the depth apart; the exponent is that of the power law.

    An exponential keeps its slope, the slope of a power law falls with depth, and what levels off has none in the end.
    Where gradients grow or shrink at the fixed point, with a factor of χ, there is no power law.
    """
    count = len(logs)
    if count < _FEW:
        return None, None
    curve = logs if depths[0] < depths[-1] else logs[::-1]
    if abs(curve[-1] - curve[0]) <= 0.5 * series.tolerance * (count - 1):
        return "constant", None
    half = count // 2
    early, late = (curve[half] - curve[0]) / half, (curve[-1] - curve[half]) / (count - 1 - half)
    if abs(late) < _FLAT * abs(early):
        return "constant", None
    critical = series.chi is None or (series.chi > 0 and abs(math.log(series.chi)) < 0.5 / count)
    if critical and 0 < late / early < _BENT if early else False:
        return "power law", _exponent(curve)
    return "exponential", None


def _exponent(curve: Sequence[float]) -> float:
    """Return p of the power law (l + l₀)^p that fits best, l being the depth and l₀ at least 0."""
    count = len(curve)
    offsets = [0.0, *(2.0 ** (half / 2) * 0.5 for half in range(2 * count.bit_length() + 4))]
    fits = (_fit([math.log(at + offset) for at in range(1, count + 1)], curve) for offset in offsets)
    return min(fits)[1]


def _fit(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Return the sum of squares that a line through the points leaves, and its slope."""
    n = len(x)
    mean_x, mean_y = sum(x) / n, sum(y) / n
    sxx = sum((a - mean_x) ** 2 for a in x)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sxx
    return sum((b - mean_y - slope * (a - mean_x)) ** 2 for a, b in zip(x, y, strict=True)), slope
