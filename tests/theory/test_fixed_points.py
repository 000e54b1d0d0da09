"""Fixed points and critical points: the published values, the definitions they must satisfy, and where there are none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from paraminspect import theory
from paraminspect.theory.dynamics import next_cosine
from tests.cases import each

POINTS = [  # σw², σb², q*, χ₁ of tanh
    (1.3, 0.05, 0.315316, 0.880164),
    (2.5, 0.05, 1.063958, 1.133516),
    (25 / 9, 0.0, 1.17848, 1.20983),
]


@pytest.mark.parametrize(("weight", "bias", "q", "chi1"), POINTS)
def test_tanh_settles_where_the_table_says(weight: float, bias: float, q: float, chi1: float) -> None:
    found = theory.fixed_point("tanh", sigma_w2=weight, sigma_b2=bias)
    digits = 6e-7 if bias else 6e-6
    assert found.q == pytest.approx(q, abs=digits)
    assert found.chi1 == pytest.approx(chi1, abs=digits)


def test_tanh_at_its_torch_gain() -> None:
    q = theory.fixed_point("tanh", sigma_w2=theory.torch_gain("tanh") ** 2).q
    assert math.sqrt(theory.second_moment("tanh", q)) == pytest.approx(0.65135, abs=6e-6)


SETTLING = [
    ("tanh", 1.3, 0.05),
    ("tanh", 2.5, 0.05),
    ("tanh", 4.0, 0.0),
    ("tanh", 1.760955, 0.05),
    ("sigmoid", 3.0, 0.1),
    ("erf", 2.0, 0.1),
    ("elu", 1.2, 0.1),
    ("selu", 1.0, 0.0),
    ("gelu", 1.5, 0.3),
    ("silu", 1.9, 0.2),
    ("softplus", 1.0, 0.0),
    ("relu", 1.5, 0.3),
    ("hardtanh", 1.4, 0.02),
    ("sin", 1.5, 0.05),
]


@each(("name", "weight", "bias"), SETTLING)
def test_a_fixed_point_is_where_many_layers_lead(name: str, weight: float, bias: float) -> None:
    found = theory.fixed_point(name, sigma_w2=weight, sigma_b2=bias)
    layers = 2000
    q = theory.propagate(name, sigma_w2=weight, sigma_b2=bias, depth=layers)
    assert found.q == pytest.approx(q[-1], rel=1e-9)
    assert found.chi1 == pytest.approx(weight * theory.slope_moment(name, found.q), rel=1e-12)
    act = theory.activation(name)
    assert next_cosine(act, found.c, found.q, weight, bias) == pytest.approx(found.c, abs=1e-9)
    c = 0.5
    for _ in range(300):
        c = next_cosine(act, c, found.q, weight, bias)
    slow = 300 / found.xi_c if math.isfinite(found.xi_c) else 0.0  # the approach to criticality is a power of depth
    assert found.c == pytest.approx(c, abs=0.05 if slow < 1 else 2 * math.exp(-slow) + 1e-9)


@each(("name", "weight", "bias"), SETTLING)
def test_depth_scales_are_how_fast_it_goes(name: str, weight: float, bias: float) -> None:
    """What is left of a small deviation after one more layer is exp(−1/ξ) of it."""
    found = theory.fixed_point(name, sigma_w2=weight, sigma_b2=bias)
    h = 1e-5
    rise = theory.second_moment(name, found.q * (1 + h)) - theory.second_moment(name, found.q * (1 - h))
    assert found.xi_q == pytest.approx(-1 / math.log(weight * rise / (2 * h * found.q)), rel=1e-4)
    below = next_cosine(theory.activation(name), found.c - h, found.q, weight, bias)
    factor = (found.c - below) / h
    if abs(factor - 1) > 0.01:
        assert found.xi_c == pytest.approx(-1 / math.log(factor), rel=3e-2)


WITHOUT_ONE = {  # q, χ₁, c, ξ_q, ξ_c
    ("relu", 2.0, 0.0): (2.0, 1.0, 1.0, math.inf, math.inf),
    ("relu", 2.0, 0.1): (math.inf, 1.0, 1.0, math.inf, math.inf),
    ("relu", 1.0, 0.0): (0.0, 0.5, 1.0, 1 / math.log(2), math.inf),
    ("relu", 4.0, 0.0): (math.inf, 2.0, 1.0, 1 / math.log(2), math.inf),
    ("relu", 1.0, 0.5): (1.0, 0.5, 1.0, 1 / math.log(2), 1 / math.log(2)),
    ("linear", 1.0, 0.0): (1.0, 1.0, math.nan, math.inf, math.inf),
    ("linear", 0.5, 0.5): (1.0, 0.5, 1.0, 1 / math.log(2), 1 / math.log(2)),
    ("tanh", 1.0, 0.0): (0.0, 1.0, math.nan, math.inf, math.inf),
    ("tanh", 0.5, 0.0): (0.0, 0.5, math.nan, 1 / math.log(2), math.inf),
    ("tanh", 0.0, 0.0): (0.0, 0.0, math.nan, 0.0, math.nan),
    ("tanh", 0.0, 2.0): (2.0, 0.0, 1.0, 0.0, 0.0),
    ("gelu", 4.0, 0.0): (math.inf, 2.0, 1.0, 1 / math.log(2), math.inf),
    ("hardshrink", 2.0, 0.1): (math.inf, 2.0, math.nan, 1 / math.log(2), math.inf),
    ("relu", 1e200, 0.0): (math.inf, 5e199, 1.0, 1 / math.log(5e199), math.inf),
}


@each("case", WITHOUT_ONE, ids=lambda case: "-".join(map(str, case)))
def test_where_the_signal_dies_grows_or_stays(case: tuple[str, float, float]) -> None:
    name, weight, bias = case
    found = theory.fixed_point(name, sigma_w2=weight, sigma_b2=bias)
    assert [found.q, found.chi1, found.c, found.xi_q, found.xi_c] == pytest.approx(
        list(WITHOUT_ONE[case]), rel=1e-9, nan_ok=True
    )


def test_a_function_settles_as_its_name_does() -> None:
    relu = theory.fixed_point(lambda z: np.maximum(z, 0), sigma_w2=2, sigma_b2=0.0)
    assert (relu.q, relu.c) == (pytest.approx(2.0), 1.0)
    assert theory.fixed_point(lambda z: np.maximum(z, 0), sigma_w2=2, sigma_b2=0.1).q == math.inf
    mine = theory.fixed_point(np.tanh, sigma_w2=2.5, sigma_b2=0.05)
    known = theory.fixed_point("tanh", sigma_w2=2.5, sigma_b2=0.05)
    for key in ("q", "chi1", "c", "xi_q", "xi_c"):
        assert getattr(mine, key) == pytest.approx(getattr(known, key), rel=1e-8)


@given(weight=st.floats(0.05, 20), bias=st.floats(1e-6, 5))
def test_every_fixed_point_of_tanh_is_one(weight: float, bias: float) -> None:
    found = theory.fixed_point("tanh", sigma_w2=weight, sigma_b2=bias)
    assert weight * theory.second_moment("tanh", found.q) + bias == pytest.approx(found.q, rel=1e-10)
    assert 0 <= found.c <= 1
    assert (found.c < 1) == (found.chi1 > 1 + 1e-6) or abs(found.chi1 - 1) < 1e-4


def test_where_it_starts_decides_at_a_half_stable_point() -> None:
    """GELU at its critical variances: from above q comes to 3.5616, from below to a fixed point of its own."""
    above = theory.fixed_point("gelu", sigma_w2=1.98305826, sigma_b2=0.17292239, q0=10.0)
    below = theory.fixed_point("gelu", sigma_w2=1.98305826, sigma_b2=0.17292239)
    assert above.q == pytest.approx((3 + math.sqrt(17)) / 2, abs=1e-2)
    assert above.chi1 == pytest.approx(1.0, abs=1e-4)
    assert below.q == pytest.approx(3.03501, abs=1e-4)


# --- the critical line -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bias", "weight"), [(0.01, 1.424205), (0.05, 1.760955), (0.1, 1.986073)])
def test_the_critical_line_of_tanh(bias: float, weight: float) -> None:
    found = theory.critical("tanh", sigma_b2=bias)
    assert (found.sigma_w2, found.sigma_b2) == (pytest.approx(weight, abs=6e-7), bias)
    assert theory.fixed_point("tanh", sigma_w2=found.sigma_w2, sigma_b2=bias).q == pytest.approx(found.q, rel=1e-9)


CANONICAL = {  # σw², σb², q
    "relu": (2.0, 0.0, 2.0),
    "leaky_relu": (2 / 1.0001, 0.0, 2 / 1.0001),
    "linear": (1.0, 0.0, 1.0),
    "tanh": (1.0, 0.0, 0.0),
    "sin": (1.0, 0.0, 0.0),
    "erf": (math.pi / 4, 0.0, 0.0),
    "softsign": (1.0, 0.0, 0.0),
    "hardtanh": (1.0, 0.0, 0.0),
    "atan": (1.0, 0.0, 0.0),
    "elu": (1.0, 0.0, 0.0),
    "relu6": (2.0, 0.0, 0.0),
    "gelu": (1.98305826, 0.17292239, (3 + math.sqrt(17)) / 2),
    "silu": (1.98800468, 0.55514317, 14.32017362),
}


@each("name", CANONICAL)
def test_canonical_critical_points(name: str) -> None:
    """Those of gelu and silu: Roberts, Yaida & Hanin 2022, section 5.3.4."""
    found = theory.critical(name)
    assert [found.sigma_w2, found.sigma_b2, found.q] == pytest.approx(list(CANONICAL[name]), rel=1e-8)


@pytest.mark.parametrize("name", ["gelu", "silu", "mish", "hardswish"])
def test_both_susceptibilities_are_one_at_a_half_stable_point(name: str) -> None:
    found = theory.critical(name)
    assert found.sigma_w2 * theory.second_moment(name, found.q) + found.sigma_b2 == pytest.approx(found.q, rel=1e-12)
    assert found.sigma_w2 * theory.slope_moment(name, found.q) == pytest.approx(1.0, rel=1e-12)
    h = 1e-4 * found.q
    rise = theory.second_moment(name, found.q + h) - theory.second_moment(name, found.q - h)
    assert found.sigma_w2 * rise / (2 * h) == pytest.approx(1.0, abs=1e-7)


LINES = ["tanh", "erf", "sin", "atan", "elu", "selu", "celu", "softsign", "hardtanh", "relu6", "sigmoid", "cos"]


@each("name", LINES)
@each("bias", [1e-4, 0.05, 0.5])
def test_every_line_is_critical_and_attracts(name: str, bias: float) -> None:
    found = theory.critical(name, sigma_b2=bias)
    assert found.sigma_b2 == bias
    assert found.sigma_w2 * theory.slope_moment(name, found.q) == pytest.approx(1.0, rel=1e-12)
    assert found.sigma_w2 * theory.second_moment(name, found.q) + bias == pytest.approx(found.q, rel=1e-9)
    assert abs(found.sigma_w2 * theory.response(name, found.q)) < 1.0
    assert theory.regime(theory.fixed_point(name, sigma_w2=found.sigma_w2, sigma_b2=bias, q0=0.01).chi1) == "critical"


def test_a_line_that_starts_at_zero() -> None:
    assert theory.critical("tanh", sigma_b2=0.0) == theory.critical("tanh")
    assert theory.critical("relu", sigma_b2=0.0) == theory.critical("relu")
    assert theory.critical("tanh", sigma_b2=1e-12).sigma_w2 == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "bias", "message"),
    [
        (
            "relu",
            0.05,
            "critical: relu has no critical point with σb² = 0.05: where gradients keep their size, q does not settle\n"
            "  it has one with sigma_b2=0",
        ),
        (
            "gelu",
            0.05,
            "critical: gelu has no critical point with σb² = 0.05: where gradients keep their size, q does not settle",
        ),
        (
            "softplus",
            None,
            "critical: softplus has no critical point: no q at which deviations of q and gradients both keep their size",
        ),
        (
            "sigmoid",
            None,
            "critical: sigmoid has no critical point: no q at which deviations of q and gradients both keep their size\n"
            "  with sigma_b2 given, gradients alone may",
        ),
    ],
)
def test_where_there_is_no_critical_point(name: str, bias: float | None, message: str) -> None:
    with pytest.raises(theory.TheoryError) as caught:
        theory.critical(name, sigma_b2=bias)
    assert str(caught.value) == message


@pytest.mark.parametrize("bias", [-0.1, math.nan, math.inf])
def test_biases_that_are_none(bias: float) -> None:
    with pytest.raises(theory.TheoryError):
        theory.critical("tanh", sigma_b2=bias)
    with pytest.raises(theory.TheoryError):
        theory.fixed_point("tanh", sigma_w2=1.0, sigma_b2=bias)


# --- words ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chi1", "tolerance", "word"),
    [
        (0.88, 1e-3, "ordered"),
        (1.0, 0.0, "critical"),
        (0.9995, 1e-3, "critical"),
        (0.9995, 1e-4, "ordered"),
        (1.0005, 1e-4, "chaotic"),
        (0.0, 1e-3, "ordered"),
        (math.inf, 1e-3, "chaotic"),
    ],
)
def test_regimes(chi1: float, tolerance: float, word: str) -> None:
    assert theory.regime(chi1, tolerance) == word


@pytest.mark.parametrize(
    ("chi", "scale"),
    [(0.5, 1 / math.log(2)), (2.0, 1 / math.log(2)), (1.0, math.inf), (0.0, 0.0), (math.inf, 0.0), (1 / math.e, 1.0)],
)
def test_depth_scales(chi: float, scale: float) -> None:
    assert theory.depth_scale(chi) == pytest.approx(scale)


@pytest.mark.parametrize("value", [-0.5, math.nan])
def test_factors_that_are_none(value: float) -> None:
    for function in (theory.regime, theory.depth_scale):
        with pytest.raises(theory.TheoryError):
            function(value)
