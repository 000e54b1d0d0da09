"""Gaussian moments against mpmath, against other integrals written here, and at the ends of the number range."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, strategies as st

from paraminspect import theory
from paraminspect.theory.form import Closed
from tests.cases import each

TABLE = {  # E φ, E φ², E φ'² for z ~ N(0, 1)
    ("relu",): (0.398942, 0.500000, 0.500000),
    ("leaky_relu",): (0.394953, 0.500050, 0.500050),
    ("tanh",): (0.0, 0.394294, 0.464403),
    ("sigmoid",): (0.5, 0.293379, 0.044836),
    ("selu",): (0.0, 1.000000, 1.071575),
    ("elu",): (0.160521, 0.644945, 0.668102),
    ("gelu",): (0.282095, 0.425221, 0.455851),
    ("silu",): (0.206621, 0.355776, 0.379482),
}


@each("spelled", TABLE, ids=lambda spelled: spelled[0])
def test_the_table_of_moments(spelled: tuple) -> None:
    (name,) = spelled
    found = theory.mean(name, 1.0), theory.second_moment(name, 1.0), theory.slope_moment(name, 1.0)
    assert found == pytest.approx(TABLE[spelled], abs=6e-7)


def logistic(z: mpmath.mpf) -> mpmath.mpf:
    return 1 / (1 + mpmath.exp(-z))


EXACT = {  # φ by mpmath, its breakpoints
    "tanh": (mpmath.tanh, ()),
    "sigmoid": (logistic, ()),
    "silu": (lambda z: z * logistic(z), ()),
    "gelu": (lambda z: z * mpmath.ncdf(z), ()),
    "mish": (lambda z: z * mpmath.tanh(mpmath.log1p(mpmath.exp(z))), ()),
    "softplus": (lambda z: mpmath.log1p(mpmath.exp(z)), ()),
    "erf": (mpmath.erf, ()),
    "atan": (mpmath.atan, ()),
    "sin": (mpmath.sin, ()),
    "cos": (mpmath.cos, ()),
    "elu": (lambda z: z if z > 0 else mpmath.expm1(z), (0,)),
    "softsign": (lambda z: z / (1 + abs(z)), (0,)),
    "hardswish": (lambda z: z * min(max(z + 3, 0), 6) / 6, (-3, 3)),
    "hardshrink": (lambda z: z if abs(z) > 0.5 else 0, (-0.5, 0.5)),
    "relu6": (lambda z: min(max(z, 0), 6), (0, 6)),
}


def by_mpmath(function, q: float, breakpoints: tuple) -> float:
    """Integrate f(z) under N(0, q), in pieces that end at the breakpoints and at steps of the standard deviation."""
    root = math.sqrt(q)
    edges = sorted({*(step * root for step in range(-12, 13, 2)), *(p for p in breakpoints if abs(p) < 12 * root)})
    return float(mpmath.quad(lambda z: function(z) * mpmath.npdf(z / root) / root, edges, method="gauss-legendre"))


@each("q", [1e-3, 1.0, 12.0])
@each("name", EXACT)
def test_moments_against_mpmath(name: str, q: float) -> None:
    phi, points = EXACT[name]
    second = by_mpmath(lambda z: phi(z) ** 2, q, points)
    assert theory.second_moment(name, q) == pytest.approx(second, rel=1e-11, abs=1e-60)
    assert theory.mean(name, q) == pytest.approx(by_mpmath(phi, q, points), rel=1e-11, abs=1e-14)
    slope = by_mpmath(lambda z: mpmath.diff(phi, z) ** 2, q, points)
    assert theory.slope_moment(name, q) == pytest.approx(slope, rel=1e-9, abs=1e-60)


# --- closed forms ----------------------------------------------------------------------------------------------------

CLOSED = ["relu", "leaky_relu", "linear", "erf", "gelu", "sin", "cos"]


@each("q", [0.01, 1.0, 5.0, 40.0])
@each("name", CLOSED)
def test_closed_forms_are_the_integrals(name: str, q: float) -> None:
    act = theory.activation(name)
    assert isinstance(act.closed, Closed)
    numeric = theory.activation(act.phi, derivative=act.derivative, breakpoints=act.breakpoints)
    assert theory.mean(act, q) == pytest.approx(theory.mean(numeric, q), rel=1e-11, abs=1e-14)
    assert theory.second_moment(act, q) == pytest.approx(theory.second_moment(numeric, q), rel=1e-11)
    assert theory.slope_moment(act, q) == pytest.approx(theory.slope_moment(numeric, q), rel=1e-11)
    if name in ("sin", "cos") and q > 5:
        return  # what swings to and fro within a standard deviation is not for the integral over the plane
    for c in (-1.0, -0.999, -0.3, 0.0, 0.4, 0.9, 1 - 1e-6, 1.0):
        pair, slopes = theory.pair_moment(numeric, q, c * q), theory.slope_pair_moment(numeric, q, c * q)
        scale = theory.second_moment(act, q)
        assert theory.pair_moment(act, q, c * q) == pytest.approx(pair, abs=1e-9 * scale)
        assert theory.slope_pair_moment(act, q, c * q) == pytest.approx(slopes, abs=1e-9)


def test_the_kernels_as_the_papers_write_them() -> None:
    for c in np.linspace(-1, 1, 21):
        angle = math.acos(c)
        arccosine = (math.sin(angle) + (math.pi - angle) * math.cos(angle)) / (2 * math.pi)  # Cho & Saul 2009, n = 1
        assert theory.pair_moment("relu", 3.0, 3.0 * c) == pytest.approx(3.0 * arccosine, abs=1e-15)
        assert theory.slope_pair_moment("relu", 3.0, 3.0 * c) == pytest.approx((math.pi - angle) / (2 * math.pi))
        arcsine = 2 / math.pi * math.asin(2 * 0.7 * c / (1 + 2 * 0.7))  # Williams 1997
        assert theory.pair_moment("erf", 0.7, 0.7 * c) == pytest.approx(arcsine, abs=1e-15)


# --- two variables: u₂ given u₁, in pieces between the breakpoints of each --------------------------------------------

NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)


def pieces(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights between neighbouring edges."""
    middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    return (middle[:, None] + half[:, None] * NODES).ravel(), (half[:, None] * WEIGHTS).ravel()


def bell(x: np.ndarray) -> np.ndarray:
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def one_given_the_other(function, q: float, c: float, breakpoints: tuple) -> float:
    root, rest = math.sqrt(q), math.sqrt(1 - c * c)
    steps = np.arange(-10.0, 11.0)
    # u₂ has a kink where u₁ puts its mean: the outer integrand turns within a width √(1 − c²) of it.
    turns = [p / root + offset * rest for p in breakpoints for offset in (-8, -4, -2, -1, 0, 1, 2, 4, 8)]
    x, wx = pieces(np.array(sorted({*steps, *turns})))
    inner = []
    for one in x:
        kinks = [(p / root - c * one) / rest for p in breakpoints]
        y, wy = pieces(np.array(sorted({*steps, *(k for k in kinks if abs(k) < 10)})))
        inner.append((function(root * (c * one + rest * y)) * bell(y) * wy).sum())
    return float((function(root * x) * np.array(inner) * bell(x) * wx).sum())


@each("c", [-0.8, 0.0, 0.95])
@each("q", [0.2, 16.0])
@each("name", ["tanh", "silu", "mish", "elu", "selu", "hardtanh", "softsign", "softplus", "relu6"])
def test_pairs_against_one_given_the_other(name: str, q: float, c: float) -> None:
    act = theory.activation(name)
    pair, slopes = (one_given_the_other(f, q, c, act.breakpoints) for f in (act.phi, act.derivative))
    assert theory.pair_moment(act, q, c * q) == pytest.approx(pair, abs=1e-8 * theory.second_moment(act, q))
    assert theory.slope_pair_moment(act, q, c * q) == pytest.approx(slopes, abs=1e-8 * theory.slope_moment(act, q))


@each("name", ["tanh", "silu", "elu", "hardtanh", "softsign", "hardswish", "atan"])
@each("q", [0.5, 8.9, 9.1, 1e4, 1e12])
def test_pairs_meet_the_line_where_the_cosine_is_one(name: str, q: float) -> None:
    whole, slopes = theory.second_moment(name, q), theory.slope_moment(name, q)
    near = q * (1 - 1e-13)
    assert theory.pair_moment(name, q, near) == pytest.approx(whole, rel=1e-6)
    assert theory.pair_moment(name, q, q) == whole
    assert theory.slope_pair_moment(name, q, q) == pytest.approx(slopes, rel=1e-12)


@pytest.mark.parametrize("name", ["tanh", "elu", "silu", "hardtanh", "mish"])
def test_the_slopes_are_the_derivative_of_the_pairs(name: str) -> None:
    """Price's theorem."""
    h = 1e-4
    for q, k in ((0.5, 0.2), (1.0, -0.6), (20.0, 15.0)):
        rise = theory.pair_moment(name, q, k + h) - theory.pair_moment(name, q, k - h)
        assert theory.slope_pair_moment(name, q, k) == pytest.approx(rise / (2 * h), rel=1e-5)


@each("name", ["tanh", "relu", "gelu", "silu", "elu", "hardshrink", "selu", "sin", "softplus"])
@each("q", [0.05, 1.0, 30.0])
def test_the_response_is_the_derivative_of_the_second_moment(name: str, q: float) -> None:
    h = 1e-4 * q
    rise = theory.second_moment(name, q + h) - theory.second_moment(name, q - h)
    assert theory.response(name, q) == pytest.approx(rise / (2 * h), rel=1e-6)


@given(q=st.floats(0.01, 100), c=st.floats(0, 1), name=st.sampled_from(["tanh", "relu", "gelu", "elu", "softplus"]))
def test_a_pair_lies_between_independence_and_identity(q: float, c: float, name: str) -> None:
    low, high = theory.mean(name, q) ** 2, theory.second_moment(name, q)
    assert low * (1 - 1e-9) - 1e-12 <= theory.pair_moment(name, q, c * q) <= high * (1 + 1e-9)


# --- the ends of the range ---------------------------------------------------------------------------------------------

EVERY = [name for name in theory.NAMES if name != "threshold"]


@each("name", EVERY)
def test_no_variance_overflows(name: str) -> None:
    for q in (1e-300, 1e-30, 1e-3, 1e3, 1e30, 1e300):
        for moment in (theory.mean, theory.second_moment, theory.slope_moment, theory.response):
            assert math.isfinite(moment(name, q)), (moment, q)
        for k in (-q, -0.5 * q, 0.0, 0.5 * q, q):
            assert math.isfinite(theory.pair_moment(name, q, k))
            assert math.isfinite(theory.slope_pair_moment(name, q, k))


@each("name", EVERY)
def test_at_zero_the_moments_are_values(name: str) -> None:
    act = theory.activation(name)
    at_zero = float(act.phi(np.zeros(1))[0])
    assert theory.mean(name, 0.0) == at_zero
    assert theory.second_moment(name, 0.0) == theory.pair_moment(name, 0.0, 0.0) == at_zero**2
    assert theory.slope_moment(name, 0.0) == pytest.approx(theory.slope_moment(name, 1e-24), rel=1e-9)


@each(
    ("name", "mean", "second", "slope"),
    [
        ("tanh", 0.0, 1.0, 0.0),
        ("sigmoid", 0.5, 0.5, 0.0),
        ("relu", math.inf, math.inf, 0.5),
        ("gelu", math.inf, math.inf, 0.5),
        ("silu", math.inf, math.inf, 0.5),
        ("elu", math.inf, math.inf, 0.5),
        ("linear", 0.0, math.inf, 1.0),
        ("logsigmoid", -math.inf, math.inf, 0.5),
        ("relu6", 3.0, 18.0, 0.0),
    ],
)
def test_at_infinity_the_moments_are_limits(name: str, mean: float, second: float, slope: float) -> None:
    assert theory.mean(name, math.inf) == pytest.approx(mean)
    assert theory.second_moment(name, math.inf) == pytest.approx(second)
    assert theory.slope_moment(name, math.inf) == pytest.approx(slope, abs=1e-12)


def test_a_steep_sigmoid_keeps_its_digits() -> None:
    """E tanh'² → ∫ sech⁴ / √(2πq) = (4/3)/√(2πq)."""
    for q in (1e6, 1e12, 1e100):
        assert theory.slope_moment("tanh", q) == pytest.approx(4 / 3 / math.sqrt(2 * math.pi * q), rel=1e-5)


def test_arrays_give_arrays() -> None:
    q = np.array([[0.0, 1.0], [2.0, 1e300]])
    for moment in (theory.mean, theory.second_moment, theory.slope_moment):
        found = moment("gelu", q)
        assert found.shape == q.shape
        assert found.ravel().tolist() == [moment("gelu", float(one)) for one in q.ravel()]


# --- saturation --------------------------------------------------------------------------------------------------------


@each("name", ["tanh", "sigmoid", "softsign", "hardtanh", "hardsigmoid", "erf", "atan"])
@each("q", [0.3, 4.0, 100.0])
def test_the_saturated_share_is_what_a_grid_counts(name: str, q: float) -> None:
    z = np.linspace(-12, 12, 480_001) * math.sqrt(q)
    slope = np.abs(theory.activation(name).derivative(z))
    weights = np.exp(-z * z / (2 * q))
    share = weights[slope < 0.05 * slope.max()].sum() / weights.sum()
    assert theory.saturated_share(name, q) == pytest.approx(share, abs=2e-5)


def test_the_saturated_share_elsewhere() -> None:
    assert theory.saturated_share("tanh", 0.0) == 0.0
    assert theory.saturated_share("tanh", math.inf) == 1.0
    for name in ("relu", "gelu", "relu6", "softplus", "sin", "linear"):
        assert theory.saturated_share(name, 1.0) is None


# --- errors --------------------------------------------------------------------------------------------------------------

BAD = [(-1.0, "q is a variance and must be at least 0, got -1"), (math.nan, "q must be a number, got NaN")]


@pytest.mark.parametrize(
    ("q", "message"), [*BAD, ("1", "q must be a number, got '1'"), (True, "q must be a number, got True")]
)
def test_variances_that_are_none(q: object, message: str) -> None:
    for moment in (theory.mean, theory.second_moment, theory.slope_moment, theory.saturated_share):
        with pytest.raises(ValueError) as caught:
            moment("tanh", q)  # type: ignore[arg-type]
        assert str(caught.value) == f"q: {message}"


@pytest.mark.parametrize("k", [1.1, -2.0, math.nan, math.inf])
def test_covariances_that_are_none(k: float) -> None:
    with pytest.raises(theory.TheoryError, match="k is a covariance, at most q = 1 in size, got "):
        theory.pair_moment("tanh", 1.0, k)


def test_a_covariance_that_rounding_put_outside() -> None:
    assert theory.pair_moment("tanh", 1.0, 1.0 + 1e-12) == theory.second_moment("tanh", 1.0)
