"""Bars on a logarithmic scale: longer for more, never empty for something, never wider than their column."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from paraminspect.page.pictures import WIDTH, Decades, decades
from paraminspect.text.escape import ASCII, Glyphs
from tests.cases import each

positive = st.floats(1e-300, 1e300)


@pytest.mark.parametrize(
    ("values", "scale", "ends"),
    [
        ([1.41, 1.38, 1.5], Decades(-1, 1), "0.1     10"),
        ([0.98, 1.02], Decades(-1, 1), "0.1     10"),
        ([1.0], Decades(-2, 0), "0.01     1"),
        ([3e-8, 0.5], Decades(-8, 0), "1e-8     1"),
        ([2.5e-10, 7e18], Decades(-10, 19), "1e-10 1e19"),
        ([None, 0.0, -1.0, math.nan, math.inf, 5.0], Decades(-1, 1), "0.1     10"),
    ],
)
def test_the_scale_holds_every_positive_number(values: list[float | None], scale: Decades, ends: str) -> None:
    assert decades(values) == scale
    assert scale.ends() == ends and len(ends) == WIDTH


@pytest.mark.parametrize("values", [[], [None], [0.0, math.nan, math.inf]])
def test_without_a_positive_number_there_is_no_scale(values: list[float | None]) -> None:
    assert decades(values) is None


@each(
    ("value", "bar", "ascii_bar"),
    [
        (1.0, "██████████", "=========="),
        (0.1, "█████", "====="),
        (0.2, "██████▌", "======="),
        (0.01, "▏", "="),
        (0.0102, "▏", "="),
        (5e-3, "▏", "="),
        (30.0, "██████████", "=========="),
        (0.0, "", ""),
        (None, "", ""),
        (math.nan, "", ""),
        (math.inf, "", ""),
        (-1.0, "", ""),
    ],
)
def test_the_length_of_a_bar(value: float | None, bar: str, ascii_bar: str) -> None:
    scale = Decades(-2, 0)
    assert (scale.bar(value, Glyphs()), scale.bar(value, ASCII)) == (bar, ascii_bar)


@given(values=st.lists(positive, min_size=1), glyphs=st.sampled_from([Glyphs(), ASCII]))
def test_a_longer_bar_is_a_larger_number(values: list[float], glyphs: Glyphs) -> None:
    scale = decades(values)
    assert scale is not None
    bars = [scale.bar(value, glyphs) for value in sorted(values)]
    steps = [len(glyphs.blocks) * len(bar[:-1]) + glyphs.blocks.index(bar[-1]) for bar in bars]
    assert steps == sorted(steps) and max(map(len, bars)) <= WIDTH
