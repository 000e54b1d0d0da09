"""The figures of one tensor beside plain torch, and where they are not known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from paraminspect.analysis.signal.figures import (
    UNKNOWN,
    Figures,
    cosine,
    dead_share,
    effective_rank,
    equal_units,
    figures,
    saturated_share,
)
from tests.cases import each

NAN, INF = math.nan, math.inf


@each(
    ("values", "expected"),
    [
        (torch.tensor([1.0, 3.0]), Figures(2.0, 5.0)),
        (torch.tensor([[1.0, NAN], [INF, 3.0]]), Figures(2.0, 5.0, 2, 1)),
        (torch.tensor([NAN]), Figures(None, None, 1, 0)),
        (torch.tensor([-INF]), Figures(None, None, 1, 1)),
        (torch.zeros(0), UNKNOWN),
        (torch.zeros(3, device="meta"), UNKNOWN),
        (torch.tensor(2.0), Figures(2.0, 4.0)),
        (torch.full((2,), 6e4, dtype=torch.float16), Figures(6e4, 3.6e9)),
        (torch.full((2,), 1e200, dtype=torch.float64), Figures(1e200, None)),
    ],
)
def test_moments(values: Tensor, expected: Figures) -> None:
    assert figures(values) == expected


def test_moments_of_many_elements_keep_their_digits() -> None:
    torch.manual_seed(0)
    many = torch.randn(2**22 + 3) + 1000
    found = figures(many)
    assert found.mean == pytest.approx(float(many.double().mean()), rel=1e-12)
    assert found.second == pytest.approx(float(many.double().square().mean()), rel=1e-12)


def test_the_cosine_is_the_mean_over_pairs() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 3, 4)
    x[2] = 0
    kept = x[[0, 1, 3, 4, 5]].flatten(1)
    pairs = [functional.cosine_similarity(kept[i], kept[j], dim=0) for i in range(5) for j in range(i)]
    assert cosine(x) == pytest.approx(float(torch.stack(pairs).mean()), rel=1e-5)


@pytest.mark.parametrize(
    "x", [torch.randn(5), torch.randn(1, 5), torch.zeros(3, 5), torch.zeros(0, 5), torch.randn(3, 0)]
)
def test_no_cosine_without_two_samples(x: Tensor) -> None:
    assert cosine(x) is None


def test_dead_units_are_0_everywhere() -> None:
    x = torch.tensor([[0.0, 0.0, 1.0], [0.0, 2.0, 0.0]])
    assert dead_share(x, 1) == pytest.approx(1 / 3)
    maps = torch.zeros(2, 4, 3, 3)
    maps[1, 2, 0, 0] = 1
    assert dead_share(maps, 1) == 0.75
    assert dead_share(torch.zeros(3), 0) is None


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softsign", "erf", "hardtanh", "hardsigmoid"])
def test_an_element_is_saturated_where_the_slope_is_below_a_twentieth(name: str) -> None:
    z = torch.linspace(-12, 12, 9999, dtype=torch.float64, requires_grad=True)
    function: Any = getattr(torch, name, None) or getattr(functional, name)
    y = function(z)
    (slope,) = torch.autograd.grad(y.sum(), z)
    assert saturated_share(y, name, {}) == pytest.approx(float((slope < 0.05 * slope.max()).double().mean()), abs=3e-4)


def repeated(rows: torch.Tensor, bias: torch.Tensor | None) -> int | None:
    numbers = equal_units(rows, bias)
    return 0 if numbers is None else numbers.numel() - int(numbers.unique().numel())


def test_symmetric_units_have_the_same_weights_and_bias() -> None:
    rows = torch.randn(6, 9)
    rows[3], rows[5] = rows[1], rows[1]
    assert repeated(rows, None) == 2
    assert repeated(rows, torch.arange(6.0)) == 0
    assert repeated(rows, torch.ones(6)) == 2
    assert repeated(torch.zeros(4, 3, 2), None) == 3
    near = torch.ones(3, 9)
    near[1, 8] = 1 + 1e-7
    assert repeated(near, None) == 1
    assert repeated(torch.tensor([[0.0, 1.0], [-0.0, 1.0]]), None) == 1
    assert repeated(torch.tensor([[1.0, 2.0], [2.0, 1.0]]), None) == 0
    assert repeated(torch.ones(2, 2, device="meta"), None) == 0


def test_the_effective_rank_is_the_exponential_of_the_entropy() -> None:
    torch.manual_seed(0)
    x = torch.randn(7, 12)
    shares = torch.linalg.svdvals(x.double())
    shares = shares / shares.sum()
    assert effective_rank(x) == pytest.approx(float(torch.exp(-(shares * shares.log()).sum())), rel=1e-6)
    assert effective_rank(torch.ones(7, 12)) == pytest.approx(1.0, abs=1e-5)
    assert effective_rank(torch.eye(5)) == pytest.approx(5.0)
    assert effective_rank(torch.eye(99)) == pytest.approx(64.0)  # of the first samples
    assert effective_rank(torch.eye(5) * 1e-30) == pytest.approx(5.0)
    assert effective_rank(torch.zeros(5, 5)) is None
    assert effective_rank(torch.full((5, 5), NAN)) is None
