"""Every activation against torch's own, its derivative against autograd and against differences; names and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from paraminspect import theory
from paraminspect.errors import UserError
from tests.cases import each

MODULES = {
    ("relu",): nn.ReLU(),
    ("leaky_relu",): nn.LeakyReLU(),
    ("leaky_relu", ("negative_slope", 0.3)): nn.LeakyReLU(0.3),
    ("prelu",): nn.PReLU(dtype=torch.float64),
    ("prelu", ("init", 0.1)): nn.PReLU(init=0.1, dtype=torch.float64),
    ("rrelu",): nn.RReLU().eval(),
    ("rrelu", ("lower", 0.1), ("upper", 0.5)): nn.RReLU(0.1, 0.5).eval(),
    ("relu6",): nn.ReLU6(),
    ("elu",): nn.ELU(),
    ("elu", ("alpha", 0.5)): nn.ELU(0.5),
    ("celu",): nn.CELU(),
    ("celu", ("alpha", 2.0)): nn.CELU(2.0),
    ("selu",): nn.SELU(),
    ("threshold", ("threshold", 0.4), ("value", -1.0)): nn.Threshold(0.4, -1.0),
    ("linear",): nn.Identity(),
    ("tanh",): nn.Tanh(),
    ("sigmoid",): nn.Sigmoid(),
    ("softsign",): nn.Softsign(),
    ("hardtanh",): nn.Hardtanh(),
    ("hardtanh", ("min_val", -0.5), ("max_val", 2.0)): nn.Hardtanh(-0.5, 2.0),
    ("hardtanh", ("min_val", 0.0), ("max_val", math.inf)): nn.Hardtanh(0.0, math.inf),
    ("hardtanh", ("min_val", -1e12), ("max_val", 2.0)): nn.Hardtanh(-1e12, 2.0),
    ("hardsigmoid",): nn.Hardsigmoid(),
    ("gelu",): nn.GELU(),
    ("gelu", ("approximate", "tanh")): nn.GELU(approximate="tanh"),
    ("silu",): nn.SiLU(),
    ("mish",): nn.Mish(),
    ("softplus",): nn.Softplus(),
    ("softplus", ("beta", 3.0), ("threshold", 2.0)): nn.Softplus(3.0, 2.0),
    ("logsigmoid",): nn.LogSigmoid(),
    ("hardswish",): nn.Hardswish(),
    ("hardshrink",): nn.Hardshrink(),
    ("hardshrink", ("lambd", 1.5)): nn.Hardshrink(1.5),
    ("softshrink",): nn.Softshrink(),
    ("softshrink", ("lambd", 0.0)): nn.Softshrink(0.0),
    ("tanhshrink",): nn.Tanhshrink(),
    ("erf",): torch.erf,
    ("atan",): torch.atan,
    ("sin",): torch.sin,
    ("cos",): torch.cos,
}
CASES = each(("spelled", "theirs"), MODULES.items(), ids=["-".join(map(str, key)) for key in MODULES])
SIXTH_IN_FLOAT32 = ("hardsigmoid",)  # torch's backward multiplies by a 1/6 of single precision
POINTS = np.concatenate([np.linspace(-40, 40, 401) + 0.0123, np.linspace(-3.1, 3.1, 200), [-1e3, 1e3]])


def ours(spelled: tuple) -> theory.Activation:
    return theory.activation(spelled[0], **dict(spelled[1:]))


def test_every_activation_is_among_the_cases() -> None:
    assert {spelled[0] for spelled in MODULES} == set(theory.NAMES)


@CASES
def test_values_and_slopes_are_torchs(spelled: tuple, theirs: nn.Module) -> None:
    z = torch.tensor(POINTS, requires_grad=True)
    value = theirs(z)
    (slope,) = torch.autograd.grad(value.sum(), z)
    act = ours(spelled)
    np.testing.assert_allclose(act.phi(POINTS), value.detach().numpy(), rtol=1e-13, atol=1e-13)
    digits = 4e-8 if act.name in SIXTH_IN_FLOAT32 else 1e-12
    np.testing.assert_allclose(act.derivative(POINTS), slope.numpy(), rtol=digits, atol=digits)


@CASES
def test_slopes_are_those_of_differences_of_values(spelled: tuple, theirs: nn.Module) -> None:
    act = ours(spelled)
    by_values = theory.activation(act.phi, breakpoints=act.breakpoints)
    points = POINTS[np.abs(POINTS) < 15]
    np.testing.assert_allclose(by_values.derivative(points), act.derivative(points), rtol=1e-9, atol=2e-9)


@CASES
def test_the_breakpoints_are_all_there_are(spelled: tuple, theirs: nn.Module) -> None:
    """Between them, neither the function nor its slope jumps."""
    act = ours(spelled)
    z = np.linspace(-10, 10, 200_001)
    away = np.ones(len(z) - 1, dtype=bool)
    for point in act.breakpoints:
        away &= (z[:-1] > point + 1e-9) | (z[1:] < point - 1e-9)
    for function in (act.phi, act.derivative):
        assert np.abs(np.diff(function(z)))[away].max() < 2e-3


@CASES
def test_huge_and_tiny_arguments_do_no_harm(spelled: tuple, theirs: nn.Module) -> None:
    z = np.array([-1.2e151, -1e-150, 0.0, 1e-150, 1.2e151])
    act = ours(spelled)
    with np.errstate(all="raise", under="ignore"):
        assert np.isfinite(act.phi(z)).all()
        assert np.isfinite(act.derivative(z)).all()


CLASSES = """
    ELU Hardshrink Hardsigmoid Hardtanh Hardswish LeakyReLU LogSigmoid PReLU ReLU ReLU6 RReLU SELU CELU GELU
    Sigmoid SiLU Mish Softplus Softshrink Softsign Tanh Tanhshrink Threshold Identity
"""
FUNCTIONS = """
    elu hardshrink hardsigmoid hardtanh hardswish leaky_relu logsigmoid prelu relu relu6 rrelu selu celu gelu sigmoid
    silu mish softplus softshrink softsign tanh tanhshrink threshold relu_ leaky_relu_ elu_ hardtanh_
"""


@each("name", CLASSES.split())
def test_the_names_of_torch_nn(name: str) -> None:
    assert hasattr(nn, name)
    assert theory.known(name)


@each("name", FUNCTIONS.split())
def test_the_names_of_functional(name: str) -> None:
    assert hasattr(functional, name)
    assert theory.known(name)


@pytest.mark.parametrize("name", ["softmax", "Linear_layer", "glu", "", "MultiheadAttention", "Softmin", "tahn"])
def test_names_that_are_none(name: str) -> None:
    assert not theory.known(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [("swish", "silu"), ("identity", "linear"), ("LeakyReLU", "leaky_relu"), ("SiLU", "silu"), ("relu_", "relu")],
)
def test_two_names_are_one_activation(one: str, other: str) -> None:
    assert theory.activation(one).name == theory.activation(other).name == other


def test_an_activation_is_remembered_and_frozen() -> None:
    one = theory.activation("leaky_relu", negative_slope=0.2)
    assert one is theory.activation("leaky_relu", negative_slope=0.2)
    assert one is theory.activation(one)
    assert dict(one.params) == {"negative_slope": 0.2}
    with pytest.raises(AttributeError):
        one.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        one.params["negative_slope"] = 1.0  # type: ignore[index]


def test_the_weight_of_prelu_is_its_init() -> None:
    assert dict(theory.activation("prelu", weight=0.5).params) == {"init": 0.5}


# --- functions ---------------------------------------------------------------------------------------------------


def test_a_function_is_as_good_as_a_name() -> None:
    for name, function, points in (
        ("tanh", np.tanh, ()),
        ("relu", lambda z: np.maximum(z, 0), (0,)),
        ("hardtanh", lambda z: np.clip(z, -1, 1), (-1, 1)),
        ("elu", lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))), (0,)),
    ):
        mine = theory.activation(function, breakpoints=points)
        for q in (0.01, 1.0, 7.0):
            assert theory.second_moment(mine, q) == pytest.approx(theory.second_moment(name, q), rel=1e-10)
            assert theory.slope_moment(mine, q) == pytest.approx(theory.slope_moment(name, q), rel=1e-9)
            for k in (-0.4 * q, 0.0, 0.7 * q):
                assert theory.pair_moment(mine, q, k) == pytest.approx(theory.pair_moment(name, q, k), abs=1e-10)


def test_a_derivative_of_ones_own() -> None:
    act = theory.activation(np.sinh, derivative=np.cosh, breakpoints=())
    assert theory.slope_moment(act, 0.5) == pytest.approx((1 + math.exp(1.0)) / 2, rel=1e-12)
    assert theory.slope_moment(np.sinh, 0.5) == pytest.approx((1 + math.exp(1.0)) / 2, rel=1e-9)
    assert theory.gain(np.sinh, keep="gradient", derivative=np.cosh) == pytest.approx(
        ((1 + math.exp(2.0)) / 2) ** -0.5, rel=1e-12
    )


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, z: np.ndarray) -> np.ndarray:
        return np.tanh(z)


def test_a_callable_that_cannot_be_hashed() -> None:
    assert theory.second_moment(theory.activation(Unhashable()), 1.0) == theory.second_moment(np.tanh, 1.0)


@pytest.mark.parametrize("far", [1e10, 1e38, math.inf])
def test_a_bound_out_of_reach_is_none(far: float) -> None:
    cut, whole = theory.activation("hardtanh", min_val=0.0, max_val=far), theory.activation("linear")
    assert cut.breakpoints == (0.0,)
    assert theory.saturated_share(cut, 1.0) is None
    assert theory.second_moment(cut, 3.0) == pytest.approx(theory.second_moment("relu", 3.0), rel=1e-12)
    cut = theory.activation("hardtanh", min_val=-far, max_val=far)
    assert theory.pair_moment(cut, 3.0, 1.0) == pytest.approx(theory.pair_moment(whole, 3.0, 1.0), rel=1e-9)


# --- errors --------------------------------------------------------------------------------------------------------

REFUSED = [
    (("tahn",), {}, "activation: unknown activation 'tahn'\n  did you mean 'tanh'?"),
    (("relu",), {"slope": 1.0}, "activation: relu has no parameter 'slope'\n  relu takes no parameters"),
    (
        ("leaky_relu",),
        {"slope": 1.0},
        "activation: leaky_relu has no parameter 'slope'\n  leaky_relu takes negative_slope",
    ),
    (("threshold",), {"value": 0.0}, "activation: threshold needs threshold\n  threshold takes threshold, value"),
    (("celu",), {"alpha": 0.0}, "activation: celu: alpha must be above 0, got 0"),
    (("softplus",), {"beta": -1.0}, "activation: softplus: beta must be above 0, got -1"),
    (("hardtanh",), {"min_val": 1.0}, "activation: hardtanh: min_val must be below max_val, got 1 and 1"),
    (("softshrink",), {"lambd": -1.0}, "activation: softshrink: lambd must be at least 0, got -1"),
    (("rrelu",), {"lower": 0.5}, "activation: rrelu: lower must not be above upper, got 0.5 and 0.333333"),
    (("gelu",), {"approximate": "erf"}, "activation: gelu: approximate must be one of none, tanh; got 'erf'"),
    (("elu",), {"alpha": math.nan}, "elu: alpha: elu: alpha must be a number, got NaN"),
    (("elu",), {"alpha": "x"}, "elu: alpha: elu: alpha must be a number, got 'x'"),
    (("elu",), {"alpha": math.inf}, "activation: elu: alpha must lie within ±1e+09, got inf"),
    ((3,), {}, "activation: an activation is a name or a function of arrays, got int"),
    (
        (np.tanh,),
        {"alpha": 1.0},
        "activation: 'alpha' is a parameter of a named activation, not of a function or one made before",
    ),
    (
        ("tanh",),
        {"breakpoints": (0,)},
        "activation: derivative and breakpoints are for a function, not for 'tanh', whose own are known",
    ),
    ((np.sum,), {}, "activation: sum is no elementwise function: it gives shape () for shape (2, 4)"),
    (
        (torch.tanh,),
        {},
        "activation: tanh raised TypeError on an array: tanh(): argument 'input' (position 1) must be Tensor, not "
        "numpy.ndarray\n  it must be a function of numpy arrays; torch's activations go by their names, as 'tanh'",
    ),
]


@each(("args", "kwargs", "message"), REFUSED, ids=[message[:50] for *_, message in REFUSED])
def test_what_is_no_activation(args: tuple, kwargs: dict, message: str) -> None:
    with pytest.raises(theory.TheoryError) as caught:
        theory.activation(*args, **kwargs)
    assert str(caught.value) == message
    assert isinstance(caught.value, UserError)
    assert isinstance(caught.value, ValueError)


def test_a_function_that_gives_nan() -> None:
    def half(z: np.ndarray) -> np.ndarray:
        return np.where(z > 0, z, np.nan)

    with pytest.raises(theory.TheoryError, match="half is no elementwise function: it gives NaN"):
        theory.activation(half)
