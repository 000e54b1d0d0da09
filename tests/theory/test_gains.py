"""Gains against the table, against torch's own function, and as what they are for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from paraminspect import theory
from tests.cases import each

TABLE = {  # 1/√Eφ², 1/√Eφ'², torch
    "relu": (1.414214, 1.414214, 1.414214),
    "leaky_relu": (1.414143, 1.414143, 1.414143),
    "tanh": (1.592537, 1.467414, 1.666667),
    "sigmoid": (1.846229, 4.722646, 1.0),
    "selu": (1.000000, 0.966026, 0.75),
    "elu": (1.245198, 1.223429, None),
    "gelu": (1.533530, 1.481114, None),
    "silu": (1.676532, 1.623320, None),
}


@each("name", TABLE)
def test_the_table_of_gains(name: str) -> None:
    second, gradient, torchs = TABLE[name]
    assert theory.gain(name) == theory.gain(name, keep="second_moment") == pytest.approx(second, abs=6e-7)
    assert theory.gain(name, keep="gradient") == pytest.approx(gradient, abs=6e-7)
    assert theory.torch_gain(name) == (None if torchs is None else pytest.approx(torchs, abs=6e-7))


@each("name", theory.NAMES)
def test_torchs_gain_is_what_torch_says(name: str) -> None:
    params = {"threshold": 0.0, "value": 0.0} if name == "threshold" else {}
    try:
        expected = torch.nn.init.calculate_gain(name)
    except ValueError:
        expected = None
    assert theory.torch_gain(name, **params) == expected
    if name == "leaky_relu":
        assert theory.torch_gain(name, negative_slope=0.3) == torch.nn.init.calculate_gain(name, 0.3)


@pytest.mark.parametrize("slope", [0.0, 0.1, 0.5, 1.0, -1.0])
def test_a_leaky_rectifier_has_torchs_gain_exactly(slope: float) -> None:
    for keep in ("second_moment", "gradient"):
        assert theory.gain("leaky_relu", keep, negative_slope=slope) == pytest.approx(math.sqrt(2 / (1 + slope**2)))


@pytest.mark.parametrize("name", ["tanh", "gelu", "silu", "mish", "softplus", "elu"])
def test_the_gain_keeps_the_second_moment_of_a_wide_layer(name: str) -> None:
    """A million units: 5 standard errors of a mean of φ² that has a kurtosis below 30."""
    z = np.random.default_rng(1).standard_normal(1_000_000)
    act = theory.activation(name)
    square = (theory.gain(name) * act.phi(z)) ** 2
    assert square.mean() == pytest.approx(1.0, abs=5 * square.std() / 1e3)


def test_selu_keeps_mean_and_variance() -> None:
    """Klambauer et al. 2017: 0 and 1 are the fixed point that its two constants were solved for."""
    assert theory.mean("selu", 1.0) == pytest.approx(0.0, abs=1e-12)
    assert theory.second_moment("selu", 1.0) == pytest.approx(1.0, abs=1e-12)


def test_what_has_no_gain() -> None:
    message = "gain: threshold is 0 almost everywhere: no gain makes up for that"
    with pytest.raises(theory.TheoryError) as caught:
        theory.gain("threshold", threshold=50.0, value=0.0)
    assert str(caught.value) == message
    with pytest.raises(theory.TheoryError, match="threshold has slope 0 almost everywhere"):
        theory.gain("threshold", "gradient", threshold=50.0, value=1.0)
    with pytest.raises(theory.TheoryError, match="keep must be one of second_moment, gradient, got 'variance'"):
        theory.gain("tanh", keep="variance")  # type: ignore[arg-type]
