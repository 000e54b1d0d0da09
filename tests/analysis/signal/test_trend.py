"""The judgement of a way through depth, from literal second moments."""

from __future__ import annotations

import math
from typing import Any

import pytest

from paraminspect.analysis.signal.trend import Series, judge
from paraminspect.report import Course
from tests.cases import each

DEPTH = 20
TOLERANCE = 4 * math.sqrt(5 / (256 * (DEPTH - 1)))


def series(values: list[float | None], back: bool = False, **kwargs: Any) -> Series:
    """Return the series of one seed; a gradient runs from the last depth to the first."""
    count = len(values)
    depths = [*range(count, 0, -1)] if back else [*range(1, count + 1)]
    given = {"expected": [None] * count, "tolerance": TOLERANCE, "nonfinite": [0] * count, **kwargs}
    return Series(depths, [values], **given)


EXPONENTIAL = [0.5**depth for depth in range(DEPTH)]
POWER = [1 / (1 + depth) for depth in range(DEPTH)]
GROWTH = [1 + 0.5 * depth for depth in range(DEPTH)]
SLOW_GROWTH = [1 + 0.05 * depth for depth in range(3 * DEPTH)]
LEVEL = [0.002 + 6.0**-depth for depth in range(DEPTH)]
FALL = [1e-7**depth for depth in range(DEPTH)]


@each(
    ("given", "verdict", "law"),
    [
        (series([2.0] * DEPTH), "steady", "constant"),
        (series([2.0 * 1.1**depth for depth in range(DEPTH)]), "steady", None),
        (series(EXPONENTIAL), "vanishing", "exponential"),
        (series(EXPONENTIAL, back=True), "vanishing", "exponential"),
        (series([4.0**depth for depth in range(DEPTH)]), "exploding", "exponential"),
        (series(POWER), "steady", "power law"),
        (series(POWER[::-1], back=True), "steady", "power law"),
        (series(GROWTH), "steady", "power law"),
        (series(SLOW_GROWTH, tolerance=0.01), "steady", "power law"),
        (series([(1 + depth) ** -6.0 for depth in range(DEPTH)]), "vanishing", "power law"),
        (series(POWER, chi=1.0), "steady", "power law"),
        (series([one**2 for one in POWER], chi=0.5), "vanishing", "exponential"),
        (series(LEVEL), "steady", "constant"),
        (series(LEVEL, constant=0.8), "vanishing", "constant"),
        (series([2.0] * DEPTH, constant=0.8), "steady", "constant"),
        (series([2.0] * DEPTH, constant=1.0, gone=True), "vanishing", "constant"),
        (
            series([0.01 + (0.4 if depth == 0 else 0.0) for depth in range(DEPTH)], constant=0.8, tolerance=1.0),
            "vanishing",
            "constant",
        ),
        (series([1.0] * 3 + [0.0] * 3), "dead", None),
        (series([0.0] * 6), "dead", None),
        (series([1e-3**depth for depth in range(9)] + [0.0] * 3), "vanishing", "exponential"),
        (series([1.0] * 3 + [None] * 3, nonfinite=[0, 0, 0, 2, 4, 4]), "nonfinite", None),
        (series([None] * 6, nonfinite=[1] * 6), "nonfinite", None),
        (series([1e3**depth for depth in range(9)] + [None], nonfinite=[0] * 9 + [3]), "exploding", "exponential"),
        (series([1.0, None, 1.0, 1.0]), "unknown", None),
        (series([1.0, 0.5]), "unknown", None),
        (series([1.0]), "unknown", None),
        (series([]), "unknown", None),
        (series([1.0, 0.9, 1.1]), "steady", None),
        (series([1.0, 0.01, 0.0001]), "unknown", None),
        (series([1.0, 1e-4, 1e-8]), "vanishing", None),
        (series([1.0, 1e-5, 1e-9, 1e-4], tolerance=9.0), "vanishing", None),
    ],
)
def test_verdict_and_law(given: Series, verdict: str, law: str | None) -> None:
    found = judge(given)
    assert (found.verdict, found.law) == (verdict, law)


def test_the_whole_course_of_one_that_vanishes() -> None:
    drift = 0.5 * (TOLERANCE / 4) ** 2 * (DEPTH - 1)
    room = max(TOLERANCE, math.log(20) / (DEPTH - 1))  # by 4.5 in rms, at the least
    assert judge(series(EXPONENTIAL, expected=[0.6**depth for depth in range(DEPTH)])) == Course(
        verdict="vanishing",
        law="exponential",
        factor=pytest.approx(0.5),
        expected=pytest.approx(0.6),
        low=pytest.approx(math.exp(-room - drift)),
        high=pytest.approx(math.exp(room)),
        first=1.0,
        last=pytest.approx(0.5 ** (19 / 2)),
        leaves=21,
        extrapolated=True,
        depths=(1, DEPTH),
    )


@pytest.mark.parametrize(
    ("values", "back", "leaves", "extrapolated"),
    [
        (FALL[:6], False, 2, False),
        (FALL[:6], True, 5, False),
        ([0.1**depth for depth in range(6)], False, 7, True),
        ([0.1**depth for depth in range(6)], True, None, False),
        ([1.0] * 6, False, None, False),
    ],
)
def test_where_it_leaves_three_decades(values: list[float], back: bool, leaves: int | None, extrapolated: bool) -> None:
    found = judge(series([*values], back=back))
    assert (found.leaves, found.extrapolated) == (leaves, extrapolated)


@pytest.mark.parametrize(("power", "start"), [(-1.0, 1.0), (1.0, 2.0), (-0.5, 1.0), (2.0, 4.0)])
def test_the_exponent_of_a_power_law(power: float, start: float) -> None:
    found = judge(series([(start + depth) ** power for depth in range(DEPTH)], tolerance=0.001))
    assert (found.law, found.exponent) == ("power law", pytest.approx(power, rel=0.05))


def test_theory_tells_the_law_where_it_reaches_every_layer() -> None:
    noisy = [value * (1.5 if depth % 2 else 0.6) for depth, value in enumerate(POWER)]
    assert judge(series(noisy, expected=POWER)).law == "power law"


def test_seeds_are_averaged_as_logarithms() -> None:
    given = Series([1, 2, 3], [[1.0, 4.0, 16.0], [1.0, 1.0, 1.0]], [None] * 3, 0.1, [0] * 3)
    found = judge(given)
    assert (found.factor, found.last) == (pytest.approx(2.0), pytest.approx(math.sqrt(8.5)))


def test_a_seed_that_died_is_not_judged_with_the_others() -> None:
    given = Series([1, 2, 3], [[1.0, 1.0, 1.0], [1.0, 0.5, 0.0]], [None] * 3, 0.1, [0] * 3)
    assert (judge(given).verdict, judge(given).factor) == ("steady", 1.0)
    given = Series([1, 2, 3], [[1.0, 0.0, 1.0], [1.0, 0.5, 0.0]], [None] * 3, 0.1, [0] * 3)
    assert judge(given).verdict == "vanishing"
