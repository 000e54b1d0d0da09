"""Moments of what was changed after it was drawn, beside those of samples."""

from __future__ import annotations

import math

import pytest
import torch

from paraminspect.init.changed import diluted
from paraminspect.init.schemes import expected_moments
from paraminspect.init.schemes.registry import bind
from paraminspect.init.schemes.scheme import Moments

DRAWN = {
    "normal": ({"std": 2.0}, None),
    "normal with a mean": ({"mean": 1.0, "std": 0.5}, "normal"),
    "uniform": ({"a": 1.0, "b": 4.0}, None),
    "trunc_normal": ({"mean": 0.5}, None),
}


@pytest.mark.parametrize("zeros", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("name", DRAWN)
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
    assert diluted(expected_moments.constant(4.0), 0.25) == Moments(3.0, math.sqrt(3.0), None, 0.0, 4.0)


def test_where_it_matters_which_elements_are_zero_nothing_is_expected() -> None:
    assert diluted(bind("eye", {}).moments((4, 4)), 0.25) is None


def test_what_is_scaled_keeps_its_kurtosis() -> None:
    assert expected_moments.scaled(expected_moments.uniform(-1.0, 3.0), 0.5) == expected_moments.uniform(-0.5, 1.5)
