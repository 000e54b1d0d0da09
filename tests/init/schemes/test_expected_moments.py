"""Each formula against a numerical integral of its density."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from paraminspect.init.schemes import expected_moments
from paraminspect.init.schemes.expected_moments import ExpectedMoments, diluted
from paraminspect.init.schemes.registry import bind
from tests.cases import each

NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)


def integrate(f, pieces):
    """Integrate f over the pieces (low, high) by Gauss-Legendre."""
    total = 0.0
    for low, high in pieces:
        x = low + (high - low) * (NODES + 1) / 2
        total += (high - low) / 2 * float(np.sum(WEIGHTS * f(x)))
    return total


def by_quadrature(density, pieces, at_zero=0.0):
    """Return (mean, std, kurtosis) of an unnormalised density, beside a probability of being exactly 0."""
    scale = (1 - at_zero) / integrate(density, pieces)
    mean = scale * integrate(lambda x: x * density(x), pieces)
    second, fourth = (
        at_zero * mean**k + scale * integrate(lambda x, k=k: (x - mean) ** k * density(x), pieces) for k in (2, 4)
    )
    return mean, math.sqrt(second), fourth / second**2


def assert_close(found, expected, tolerance=1e-9):
    assert found.std == pytest.approx(expected[1], rel=tolerance)
    assert found.mean == pytest.approx(expected[0], rel=tolerance, abs=tolerance * expected[1])
    assert found.kurtosis == pytest.approx(expected[2], rel=tolerance)


def bell(mean, std):
    return lambda x: np.exp(-0.5 * ((x - mean) / std) ** 2)


def flat(x):
    return np.ones_like(x)


def test_normal():
    assert_close(expected_moments.normal(0.3, 0.5), by_quadrature(bell(0.3, 0.5), [(-5.7, 0.3), (0.3, 6.3)]))
    assert (expected_moments.normal(0.3, 0.5).low, expected_moments.normal(0.3, 0.5).high) == (None, None)


def test_uniform():
    assert_close(expected_moments.uniform(-1.0, 4.0), by_quadrature(flat, [(-1.0, 4.0)]))
    assert (expected_moments.uniform(-1.0, 4.0).low, expected_moments.uniform(-1.0, 4.0).high) == (-1.0, 4.0)


@pytest.mark.parametrize(
    ("mean", "std", "a", "b"),
    [
        (0.0, 1.0, -2.0, 2.0),
        (0.0, 0.02, -2.0, 2.0),
        (1.0, 2.0, 0.0, 3.0),
        (-3.0, 1.0, -2.0, 2.0),
        (0.0, 1.0, -1e200, 0.5),
        (0.0, 1.0, 0.1, 0.2),
        (5.0, 3.0, -1.0, 60.0),
    ],
)
def test_truncated_normal(mean, std, a, b):
    low, high = max(a, mean - 12 * std), min(b, mean + 12 * std)
    middle = min(max(mean, low), high)
    pieces = [piece for piece in ((low, middle), (middle, high)) if piece[0] < piece[1]]
    assert_close(expected_moments.truncated_normal(mean, std, a, b), by_quadrature(bell(mean, std), pieces), 1e-7)


@given(
    mean=st.floats(-3, 3),
    std=st.floats(0.01, 10),
    start=st.floats(-6, 2),
    width=st.floats(-9, 1).map(lambda power: 10**power),
)
def test_truncated_normal_anywhere(mean, std, start, width):
    a, b = mean + start * std, mean + (start + width) * std
    if b <= a or mean > b + 2 * std:
        return
    found = expected_moments.truncated_normal(mean, std, a, b)
    expected = by_quadrature(bell(mean, std), [(a, b)])
    assert found.std == pytest.approx(expected[1], rel=1e-4)
    assert found.mean == pytest.approx(expected[0], rel=1e-12, abs=1e-4 * expected[1])
    if width > 0.05:
        assert found.kurtosis == pytest.approx(expected[2], rel=1e-3)


def test_truncated_normal_of_the_textbooks():
    assert expected_moments.truncated_normal(0.0, 1.0, -2.0, 2.0).std == pytest.approx(0.87962566103423978, rel=1e-14)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.3, 0.02), (-5.0, 3.0)])
def test_cut_normal(mean, std):
    found = expected_moments.cut_normal(mean, std)
    assert_close(found, by_quadrature(bell(mean, std), [(mean - 2 * std, mean + 2 * std)]))
    assert (found.low, found.high) == (mean - 2 * std, mean + 2 * std)
    assert found.std == pytest.approx(expected_moments.STD_OF_CUT_NORMAL * std, rel=1e-12)


@pytest.mark.parametrize("factor", [2.0, -0.5])
def test_scaled(factor):
    ends = sorted((-1.0 * factor, 4.0 * factor))
    assert_close(expected_moments.scaled(expected_moments.uniform(-1.0, 4.0), factor), by_quadrature(flat, [ends]))
    assert [expected_moments.scaled(expected_moments.uniform(-1.0, 4.0), factor).low, ends[1]] == ends
    assert expected_moments.scaled(expected_moments.UNKNOWN, factor) == expected_moments.UNKNOWN


@pytest.mark.parametrize(("low", "high"), [(5.0, 10.0), (0.0, 1.0), (1.0, 1.5)])
def test_textbook(low, high):
    found = bind("textbook", {"low": low, "high": high}).moments((3, 4))
    assert_close(found, by_quadrature(flat, [(-high, -low), (low, high)], at_zero=low / high))


def test_textbook_variance():
    assert bind("textbook", {}).moments((3,)).std ** 2 == pytest.approx(29 + 1 / 6, rel=1e-14)


@pytest.mark.parametrize(("rows", "zeros"), [(10, 9), (7, 7), (1000, 900)])
def test_sparse(rows, zeros):
    """ceil(sparsity · rows) of each column are zero, the rest normal."""
    found = bind("sparse", {"sparsity": 0.9, "std": 2.0}).moments((rows, 4))
    if zeros == rows:
        assert found == expected_moments.constant(0.0)
        return
    assert_close(found, by_quadrature(bell(0.0, 2.0), [(-24.0, 0.0), (0.0, 24.0)], at_zero=zeros / rows))


@pytest.mark.parametrize(
    ("found", "value"),
    [
        (expected_moments.normal(2.0, 0.0), 2.0),
        (expected_moments.uniform(2.0, 2.0), 2.0),
        (expected_moments.truncated_normal(0.0, 1.0, 2.0, 2.0), 2.0),
        (expected_moments.cut_normal(2.0, 0.0), 2.0),
        (expected_moments.scaled(expected_moments.normal(1.0, 2.0), 0.0), 0.0),
        (expected_moments.symmetric_uniform(0.0), 0.0),
    ],
)
def test_degenerate_distributions_are_constants(found, value):
    assert found == ExpectedMoments(mean=value, std=0.0, kurtosis=None, low=value, high=value)


@pytest.mark.parametrize(
    ("ones", "numel", "expected"),
    [
        (0, 4, ExpectedMoments(0.0, 0.0, None, 0.0, 0.0)),
        (1, 4, ExpectedMoments(0.25, math.sqrt(0.1875), None, 0.0, 1.0)),
        (4, 4, ExpectedMoments(1.0, 0.0, None, 1.0, 1.0)),
        (0, 0, ExpectedMoments(None, None, None, None, None)),
    ],
)
def test_indicator(ones, numel, expected):
    assert expected_moments.indicator(ones, numel) == expected


DRAWN = {
    "normal": ({"std": 2.0}, None),
    "normal with a mean": ({"mean": 1.0, "std": 0.5}, "normal"),
    "uniform": ({"a": 1.0, "b": 4.0}, None),
    "trunc_normal": ({"mean": 0.5}, None),
}


@each("zeros", [0.0, 0.1, 0.5])
@each("name", DRAWN)
def test_zeros_among_what_was_drawn(name: str, zeros: float) -> None:
    """Of a million elements: the standard errors are a thousandth of the spread."""
    args, scheme = DRAWN[name]
    bound, n = bind(scheme or name, args), 1_000_000
    torch.manual_seed(0)
    tensor = torch.empty(n, dtype=torch.float64)
    bound.apply(tensor)
    tensor[: int(n * zeros)] = 0.0
    found = diluted(bound.moments((n,)), zeros)
    assert found is not None
    assert found.std is not None
    assert found.kurtosis is not None
    assert found.mean == pytest.approx(tensor.mean().item(), abs=5e-3 * found.std)
    assert found.std == pytest.approx(tensor.std(correction=0).item(), rel=5e-3)
    fourth = ((tensor - tensor.mean()) ** 4).mean().item() / tensor.var(correction=0).item() ** 2
    assert found.kurtosis >= 0.97 * fourth
    assert found.low is None or found.low <= tensor.min().item()
    assert found.high is None or found.high >= tensor.max().item()


def test_of_zero_nothing_is_left_but_a_constant() -> None:
    assert diluted(expected_moments.constant(0.0), 0.25) == expected_moments.constant(0.0)
    assert diluted(expected_moments.normal(0.0, 1.0), 1.0) == expected_moments.constant(0.0)


def test_a_constant_among_zeros_is_exact() -> None:
    assert diluted(expected_moments.constant(4.0), 0.25) == ExpectedMoments(3.0, math.sqrt(3.0), None, 0.0, 4.0)


def test_where_it_matters_which_elements_are_zero_nothing_is_expected() -> None:
    assert diluted(bind("eye", {}).moments((4, 4)), 0.25) is None


def test_what_is_scaled_keeps_its_kurtosis() -> None:
    assert expected_moments.scaled(expected_moments.uniform(-1.0, 3.0), 0.5) == expected_moments.uniform(-0.5, 1.5)
