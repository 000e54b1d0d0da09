"""Finite width and batch: known values, limits, and draws."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, strategies as st

from paraminspect import theory


def dead_share(batch: int, depth: int) -> float:
    """The share in a layer of a healthy net: He and relu, on inputs that are orthogonal."""
    return theory.dead_share(batch, float(theory.cosines("relu", sigma_w2=2, depth=depth)[-1]))


@pytest.mark.parametrize(("depth", "share"), [(3, 0.0145), (5, 0.0622), (10, 0.1711), (20, 0.2861)])
def test_dead_on_a_batch_of_64(depth: int, share: float) -> None:
    assert dead_share(batch=64, depth=depth) == pytest.approx(share, abs=6e-5)


def test_dead_against_mpmath() -> None:
    for c in (0.05, 0.5, 0.94449287, 0.999):
        for batch in (2, 64, 1000):
            lean = math.sqrt(c / (1 - c))
            edges = sorted({*range(-12, 13), *(step / lean for step in range(-12, 13) if abs(step) < 12 * lean)})
            share = mpmath.quad(
                lambda t, lean=lean, batch=batch: mpmath.npdf(t) * mpmath.ncdf(-lean * t) ** batch,
                edges,
                method="gauss-legendre",
            )
            assert theory.dead_share(batch, c) == pytest.approx(float(share), rel=1e-9)


def test_dead_in_closed_form() -> None:
    assert theory.dead_share(64, 0.0) == 0.5**64
    assert theory.dead_share(64, 1.0) == 0.5
    assert theory.dead_share(1, 0.7) == pytest.approx(0.5, rel=1e-12)
    for c in (0.1, 0.5, 0.9):
        assert theory.dead_share(2, c) == pytest.approx(0.25 + math.asin(c) / (2 * math.pi), rel=1e-11)
        orthant = 0.125 + 3 * math.asin(c) / (4 * math.pi)
        assert theory.dead_share(3, c) == pytest.approx(orthant, rel=1e-11)


@given(c=st.floats(0, 1), batch=st.integers(1, 100_000))
def test_dead_is_a_share_that_falls_with_the_batch(c: float, batch: int) -> None:
    assert 0.5**batch * (1 - 1e-9) <= theory.dead_share(batch, c) <= 0.5 + 1e-12
    assert theory.dead_share(batch + 1, c) <= theory.dead_share(batch, c) * (1 + 1e-9)


def test_dead_units_of_drawn_networks() -> None:
    """He and relu on 16 orthogonal inputs, layers 2 and 4 of 40 networks: 5 standard errors over the networks."""
    batch, width = 16, 256
    shares: dict[int, list[float]] = {2: [], 4: []}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        h = np.linalg.qr(rng.standard_normal((width, batch)))[0] * math.sqrt(width)
        for layer in range(1, 5):
            z = rng.standard_normal((width, width)) @ h * math.sqrt(2 / width)
            if layer in shares:
                shares[layer].append(float((z < 0).all(axis=1).mean()))
            h = np.maximum(z, 0)
    for layer, found in shares.items():
        error = 5 * np.std(found) / math.sqrt(len(found)) + 2e-3
        assert np.mean(found) == pytest.approx(dead_share(batch, layer), abs=error)


def test_fluctuation() -> None:
    assert theory.fluctuation([64, 256, 1024]) == 1 / 64 + 1 / 256 + 1 / 1024
    assert theory.fluctuation([]) == 0.0


def test_tolerance() -> None:
    assert theory.tolerance([512] * 20, seeds=3) == pytest.approx(4 * math.sqrt(5 / (512 * 20 * 3)))
    assert theory.tolerance([512] * 20, rectified=False) == pytest.approx(4 * math.sqrt(2 / (512 * 20)))
    assert theory.tolerance([10, 40]) == pytest.approx(4 * math.sqrt(5 * (0.1 + 0.025)) / 2)


def kappa(act: theory.Activation, q: float, backward: bool) -> float:
    """Return the variance of one layer's factor, times its width (Hanin 2018): of squared activations or gradients.

    Given the layer below, the pre-activations are independent Gaussians: forward κ = E φ⁴/(E φ²)² − 1; backward the sum
    over them is weighted by φ'², and κ = 3·E φ'⁴/(E φ'²)² − 1.
    """
    function = act.derivative if backward else act.phi
    second, fourth = (theory.expectation(act, lambda z, power=power: function(z) ** power, q) for power in (2, 4))
    return (3.0 if backward else 1.0) * fourth / second**2 - 1.0


@pytest.mark.parametrize("q", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("backward", [False, True])
def test_the_tolerance_of_relu_goes_by_five_and_of_a_linear_layer_by_two(q: float, backward: bool) -> None:
    for name, rectified in (("relu", True), ("linear", False)):
        each = kappa(theory.activation(name), q, backward)
        assert theory.tolerance([100], rectified=rectified) == pytest.approx(4 * math.sqrt(each / 100))


def test_kappa_is_what_layers_show() -> None:
    rng = np.random.default_rng(3)
    for name in ("relu", "tanh", "gelu"):
        act = theory.activation(name)
        width, layers = 100, 20_000
        z = rng.standard_normal((layers, width))
        g = rng.standard_normal((layers, width))
        for backward, signal in ((False, act.phi(z)), (True, g * act.derivative(z))):
            squares = (signal**2).mean(axis=1)
            variance = squares.var() / squares.mean() ** 2
            assert width * variance == pytest.approx(kappa(act, 1.0, backward), rel=0.06)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.fluctuation([8, 0]), "widths: widths must be a whole number of at least 1, got 0"),
        (lambda: theory.fluctuation([2.5]), "widths: widths must be a whole number of at least 1, got 2.5"),  # type: ignore[list-item]
        (lambda: theory.tolerance([]), "widths: widths is empty: a tolerance needs a layer"),
        (lambda: theory.tolerance([8], seeds=0), "seeds: seeds must be a whole number of at least 1, got 0"),
        (lambda: theory.dead_share(0, 0.5), "batch: batch must be a whole number of at least 1, got 0"),
        (lambda: theory.dead_share(8, -0.5), "c: c must be at least 0, got -0.5"),
        (lambda: theory.dead_share(8, 1.5), "c: c is a cosine, from -1 to 1, got 1.5"),
    ],
)
def test_what_is_refused(call, message: str) -> None:
    with pytest.raises(theory.TheoryError) as caught:
        call()
    assert str(caught.value) == message
