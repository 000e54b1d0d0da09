"""The signal from layer to layer, at infinite width and at finite ones: known values, limits, and draws."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, strategies as st

from paraminspect import theory
from paraminspect.theory.dynamics import next_cosine


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
def test_widths_and_batches_that_are_refused(call, message: str) -> None:
    with pytest.raises(theory.TheoryError) as caught:
        call()
    assert str(caught.value) == message


def test_he_keeps_two() -> None:
    assert theory.propagate("relu", sigma_w2=2, sigma_b2=0, depth=20, q0=1).tolist() == [2.0] * 20
    assert theory.gradient_factors("relu", sigma_w2=2, depth=20).tolist() == [1.0] * 19
    activations = theory.second_moment("relu", theory.propagate("relu", sigma_w2=2, depth=20))
    assert activations.tolist() == [1.0] * 20


def test_xavier_halves() -> None:
    q = theory.propagate("relu", sigma_w2=1, depth=30)
    assert theory.second_moment("relu", q).tolist() == [2.0**-layer for layer in range(1, 31)]
    assert theory.gradient_factors("relu", sigma_w2=1, depth=30).tolist() == [0.5] * 29


@pytest.mark.parametrize("width", [16, 100, 512])
def test_torchs_default_comes_to_two_fifths_of_a_width(width: int) -> None:
    """Weights and biases uniform within 1/√n: variances 1/(3n) each, so q → q/6 + 1/(3n)."""
    q = theory.propagate("relu", sigma_w2=1 / 3, sigma_b2=1 / (3 * width), depth=60, q0=1 / 3)
    by_hand = [1 / 9 + 1 / (3 * width)]
    while len(by_hand) < 60:
        by_hand.append(by_hand[-1] / 6 + 1 / (3 * width))
    assert q == pytest.approx(np.array(by_hand), rel=1e-14)
    assert q[-1] * width == pytest.approx(0.4, rel=1e-12)
    factors = theory.gradient_factors("relu", sigma_w2=1 / 3, sigma_b2=1 / (3 * width), depth=60)
    assert factors == pytest.approx(np.full(59, 1 / 6), rel=1e-15)


def test_tanh_under_xavier() -> None:
    """The std of activations at layers 1, 2, 3, 5, 10."""
    q = theory.propagate("tanh", sigma_w2=1, depth=10)
    std = np.sqrt(theory.second_moment("tanh", q))
    assert std[[0, 1, 2, 4, 9]] == pytest.approx([0.62793, 0.48626, 0.40824, 0.32162, 0.22847], abs=5e-6)


def test_tanh_dies_as_a_power_law() -> None:
    """At σw² = 1, σb² = 0, q → 1/(2l): from V(q) = q − 2q² + … ."""
    q = theory.propagate("tanh", sigma_w2=1, depth=3000)
    assert q[-1] * 2 * 3000 == pytest.approx(1.0, abs=0.01)


def test_selu_under_lecun_stays_at_one() -> None:
    assert theory.propagate("selu", sigma_w2=1, depth=50) == pytest.approx(np.ones(50), rel=1e-12)
    factors = theory.gradient_factors("selu", sigma_w2=1, depth=50)
    assert factors == pytest.approx(np.full(49, 1.071575), abs=6e-7)


def test_cosines_of_orthogonal_inputs_under_he() -> None:
    course = theory.cosines("relu", sigma_w2=2, depth=11)
    assert course[0] == 0.0
    assert course[[1, 2, 3, 5, 10]] == pytest.approx([0.3183, 0.4937, 0.6048, 0.7359, 0.8715], abs=5e-5)


def test_the_next_cosine_is_the_arc_cosine_kernel() -> None:
    # by quadrature too: a rectifier that theory is not told about
    mine = theory.activation(lambda z: np.maximum(z, 0.0))
    cases = [*((theory.activation("relu"), q, 1e-15) for q in (1e-300, 0.3, 1.0, 1e300, math.inf)), (mine, 0.7, 1e-9)]
    for c in np.linspace(-1, 1, 41).tolist():
        expected = (math.sqrt(1 - c * c) + c * (math.pi - math.acos(c))) / math.pi
        for act, q, error in cases:
            assert next_cosine(act, c, q, 2.0, 0.0) == pytest.approx(expected, abs=error)


def test_the_next_cosine_is_a_ratio_of_moments() -> None:
    q = theory.fixed_point("tanh", sigma_w2=1.3, sigma_b2=0.05).q
    expected = (1.3 * theory.pair_moment("tanh", q, 0.3 * q) + 0.05) / (1.3 * theory.second_moment("tanh", q) + 0.05)
    assert next_cosine(theory.activation("tanh"), 0.3, q, 1.3, 0.05) == expected


@given(c=st.floats(-1, 1), a=st.floats(0, 1), sigma_b2=st.floats(0, 2))
def test_one_is_a_fixed_point_of_the_next_cosine_and_it_does_not_decrease(c: float, a: float, sigma_b2: float) -> None:
    act = theory.activation("leaky_relu", negative_slope=a)

    def cosine(one: float) -> float:
        return next_cosine(act, one, 1.5, 1.2, sigma_b2)

    assert cosine(1.0) == pytest.approx(1.0, abs=1e-14)
    assert cosine(max(-1.0, c - 0.1)) <= cosine(c) + 1e-12


def test_cosines_start_from_the_inputs() -> None:
    """The first layer is linear: the bias is common to both inputs."""
    course = theory.cosines("tanh", sigma_w2=1.5, sigma_b2=0.2, depth=1, q0=2.0, c0=0.25)
    assert course.tolist() == [(1.5 * 2.0 * 0.25 + 0.2) / (1.5 * 2.0 + 0.2)]


def test_the_ends_of_the_range() -> None:
    tanh = theory.propagate("tanh", sigma_w2=1e200, depth=3)
    assert tanh == pytest.approx(np.array([1e200] * 3))
    grows = theory.propagate("relu", sigma_w2=1e200, depth=4)
    assert grows.tolist()[2:] == [math.inf, math.inf]
    assert theory.cosines("relu", sigma_w2=1e200, depth=4)[-1] == pytest.approx(0.604826, abs=1e-6)
    dies = theory.propagate("relu", sigma_w2=1e-200, depth=4)
    assert dies.tolist()[2:] == [0.0, 0.0]
    assert theory.propagate("tanh", sigma_w2=0, depth=3).tolist() == [0.0] * 3
    assert theory.propagate("relu", sigma_w2=0, sigma_b2=0.5, depth=3, q0=1e300).tolist() == [0.5] * 3
    assert np.isnan(theory.cosines("tanh", sigma_w2=0, depth=3)).all()
    assert theory.cosines("tanh", sigma_w2=0, sigma_b2=0.1, depth=3).tolist() == [1.0] * 3


def test_no_layers() -> None:
    for function in (theory.propagate, theory.cosines, theory.gradient_factors):
        assert function("relu", sigma_w2=2, depth=0).shape == (0,)
    assert theory.gradient_factors("relu", sigma_w2=2, depth=1).shape == (0,)


REFUSED = [
    ({"sigma_w2": -1.0}, "sigma_w2: sigma_w2 is a variance and must be at least 0, got -1"),
    ({"sigma_w2": math.nan}, "sigma_w2: sigma_w2 must be a number, got NaN"),
    ({"sigma_w2": math.inf}, "sigma_w2: sigma_w2 must be finite, got inf"),
    ({"sigma_b2": -0.1}, "sigma_b2: sigma_b2 is a variance and must be at least 0, got -0.1"),
    ({"q0": -2}, "q0: q0 is a variance and must be at least 0, got -2"),
    ({"depth": -1}, "depth: depth must be a whole number of at least 0, got -1"),
    ({"depth": 2.5}, "depth: depth must be a whole number of at least 0, got 2.5"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_is_refused(change: dict, message: str) -> None:
    for function in (theory.propagate, theory.cosines, theory.gradient_factors):
        with pytest.raises(theory.TheoryError) as caught:
            function("tanh", **({"sigma_w2": 1.0, "depth": 3} | change))
        assert str(caught.value) == message


@pytest.mark.parametrize("c", [1.1, -2.0, math.nan])
def test_cosines_that_are_none(c: float) -> None:
    with pytest.raises(theory.TheoryError):
        theory.cosines("relu", sigma_w2=2, depth=2, c0=c)


# --- networks of finite width ------------------------------------------------------------------------------------------


def draw(act: theory.Activation, weight: float, bias: float, width: int, depth: int, seed: int) -> tuple[float, ...]:
    """Return Σ log of q measured over theory's, the same of squared gradients, and the last cosine, of one network."""
    rng = np.random.default_rng(seed)
    h = rng.standard_normal((width, 2))
    h -= h.mean(axis=0)
    h[:, 1] -= h[:, 0] * (h[:, 0] @ h[:, 1]) / (h[:, 0] @ h[:, 0])
    h /= np.sqrt((h * h).mean(axis=0))
    q = theory.propagate(act, sigma_w2=weight, sigma_b2=bias, depth=depth)
    chi = theory.gradient_factors(act, sigma_w2=weight, sigma_b2=bias, depth=depth)
    layers = []
    for _ in range(depth):
        w = rng.standard_normal((width, width)) * math.sqrt(weight / width)
        z = w @ h + rng.standard_normal((width, 1)) * math.sqrt(bias)
        layers.append((w, z))
        h = act.phi(z)
    g = rng.standard_normal(width)
    start = (g * g).sum()
    for (_, z), (w, _) in zip(layers[-2::-1], layers[:0:-1], strict=True):
        g = (w.T @ g) * act.derivative(z[:, 0])
    last = layers[-1][1]
    cosine = float(last[:, 0] @ last[:, 1] / np.linalg.norm(last[:, 0]) / np.linalg.norm(last[:, 1]))
    forward = math.log((last[:, 0] ** 2).mean() / q[-1])
    return forward, math.log((g * g).sum() / start) - float(np.log(chi).sum()), cosine


CASES = [("relu", 2.0, 0.0), ("relu", 1.0, 0.0), ("linear", 1.0, 0.0), ("tanh", 1.3, 0.05), ("tanh", 2.5, 0.05),
         ("gelu", 2.0, 0.1), ("selu", 1.0, 0.0)]  # fmt: skip


@pytest.mark.parametrize(("name", "weight", "bias"), CASES)
def test_networks_of_finite_width_keep_to_the_theory(name: str, weight: float, bias: float) -> None:
    act = theory.activation(name)
    width, depth, seeds = 200, 10, 20
    runs = np.array([draw(act, weight, bias, width, depth, seed) for seed in range(seeds)])
    q = float(theory.propagate(act, sigma_w2=weight, sigma_b2=bias, depth=depth)[-1])
    widths = [width] * depth
    for column, backward in ((0, False), (1, True)):
        each = kappa(act, q, backward)
        bound = 4 * math.sqrt(max(each, 2.0) * theory.fluctuation(widths) / seeds) / depth
        # log of a mean is above the mean of logs by half the variance
        lean = each * theory.fluctuation(widths) / 2 / depth
        assert abs(runs[:, column].mean() / depth) <= bound + lean
    cosine = theory.cosines(act, sigma_w2=weight, sigma_b2=bias, depth=depth)[-1]
    assert runs[:, 2].mean() == pytest.approx(cosine, abs=5 * runs[:, 2].std() / math.sqrt(seeds) + 3 / width)
