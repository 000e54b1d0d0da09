"""Figures of parts, merged, are those of the whole; a report's rounded figures merge as well as moments do."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import pytest
from hypothesis import given, strategies as st

from paraminspect.report import Gradient, Values
from paraminspect.report.merge import Moments, merge_figures, moments_of_values, values_of_moments

KEYS = ("mean", "std", "rms", "min", "max", "l2", "zeros", "nan", "inf")
SOME = Values(0.1, 0.3, math.hypot(0.1, 0.3), -1, 1, math.sqrt(0.3), 2)


def measured(numbers: Sequence[float]) -> Values:
    finite = [number for number in numbers if math.isfinite(number)]
    squares = sum(number**2 for number in finite)
    return Values(
        statistics.fmean(finite),
        statistics.pstdev(finite),
        math.sqrt(squares / len(finite)),
        min(finite),
        max(finite),
        math.sqrt(squares),
        numbers.count(0.0),
        sum(map(math.isnan, numbers)),
        sum(map(math.isinf, numbers)),
    )


figure = st.floats(-1e3, 1e3).map(lambda number: round(number, 3))
numbers = st.tuples(figure, st.lists(figure | st.sampled_from([math.nan, math.inf, 0.0]), max_size=8))


@given(st.lists(numbers.map(lambda drawn: [drawn[0], *drawn[1]]), min_size=1, max_size=6))
def test_merged_figures_are_those_of_all_the_elements(parts: list[list[float]]) -> None:
    found = merge_figures([(measured(part), len(part)) for part in parts])
    wanted = measured([number for part in parts for number in part])
    assert {key: getattr(found, key) for key in KEYS} == pytest.approx(
        {key: getattr(wanted, key) for key in KEYS}, rel=1e-9, abs=1e-9
    )


def test_there_and_back() -> None:
    assert moments_of_values(Values(2.0, 1.0, math.sqrt(5), 1, 3, math.sqrt(20)), 4) == Moments(
        4, 2.0, 0.0, 4.0, 0, 1, 3
    )
    assert values_of_moments(Moments(4, 2.0, 0.0, 4.0, 0, 1, 3)) == Values(2.0, 1.0, math.sqrt(5), 1, 3, math.sqrt(20))


def test_what_all_parts_have_is_kept_to_the_bit() -> None:
    found = merge_figures([(SOME, 3)] * 7)
    assert (found.mean, found.std, found.rms, found.zeros) == (SOME.mean, SOME.std, SOME.rms, 14)
    assert found.l2 == pytest.approx(math.sqrt(0.3 * 7))


def test_no_figure_overflows_that_the_result_does_not() -> None:
    huge = 1.7e308
    found = merge_figures([(Values(sign * huge, 0.0, huge, sign * huge, sign * huge, huge), 1) for sign in (1, 1, -1)])
    assert (found.mean, found.rms, found.min, found.max) == (pytest.approx(huge / 3), huge, -huge, huge)
    assert (found.std, found.l2) == (pytest.approx(huge * (math.sqrt(8) / 3)), math.inf)


def test_what_no_part_has_and_what_one_part_lacks() -> None:
    assert merge_figures([]) == Values()
    assert merge_figures([(Values(nan=3, inf=1), 4), (Values(), 0)]) == Values(nan=3, inf=1)
    assert merge_figures([(Values(nan=1), 1), (SOME, 3)]) == Values(
        0.1, 0.3, SOME.rms, -1, 1, pytest.approx(SOME.l2), 2, nan=1
    )
    assert merge_figures([(Gradient("ok", rms=1.0, zeros=1), 3), (SOME, 3)]) == Values(zeros=3)
    magnitudes = Values(1.0, 0.5, math.hypot(1.0, 0.5), None, None, 2.0)
    found = merge_figures([(magnitudes, 4), (magnitudes, 4)])
    assert (found.mean, found.std, found.min, found.max) == (1.0, 0.5, None, None)
