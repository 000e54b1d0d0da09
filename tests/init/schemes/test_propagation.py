"""Gains and critical points against published values, and against what layers of that initialisation do."""

import math

import pytest
import torch
from torch import nn

from paraminspect.errors import UserError
from paraminspect.init.schemes.registry import SCHEMES, bind
from paraminspect.init.schemes.scheme import parse_scheme
from tests.cases import each

GAINS = {
    "relu": (1.414214, 1.414214, 1.414214),
    "leaky_relu": (1.414143, 1.414143, 1.414143),
    "tanh": (1.592537, 1.467414, 1.666667),
    "sigmoid": (1.846229, 4.722646, 1.0),
    "selu": (1.000000, 0.966026, 0.75),
    "elu": (1.245198, 1.223429, None),
    "gelu": (1.533530, 1.481114, None),
    "silu": (1.676532, 1.623320, None),
}
FUNCTIONS = {
    "softplus": nn.functional.softplus,
    "mish": nn.functional.mish,
    "gelu": nn.functional.gelu,
    "elu:alpha=0.5": lambda z: nn.functional.elu(z, 0.5),
    "hardtanh:min_val=-2;max_val=1": lambda z: nn.functional.hardtanh(z, -2, 1),
}


def bound(text):
    return bind(*parse_scheme(text, ""))


def test_the_table_of_gains():
    rows = {row.nonlinearity: row for row in SCHEMES["gain_normal"].gains()}
    assert list(rows) == [*GAINS, "softplus", "mish"]
    for name, (second_moment, gradient, torchs) in GAINS.items():
        row = rows[name]
        assert (row.second_moment, row.gradient) == (
            pytest.approx(second_moment, abs=1e-6),
            pytest.approx(gradient, abs=1e-6),
        )
        assert row.torch == (None if torchs is None else pytest.approx(torchs, abs=1e-6))


def trapezoid(function):
    """E f(z) for z ~ N(0, 1), by the trapezoidal rule on a grid that holds 0."""
    z = torch.linspace(-12, 12, 240_001, dtype=torch.float64)
    return torch.trapezoid(function(z) * torch.exp(-z * z / 2) / math.sqrt(2 * math.pi), z).item()


def slope(function):
    def derivative(z):
        z = z.clone().requires_grad_()
        (found,) = torch.autograd.grad(function(z).sum(), z)
        return found

    return derivative


@pytest.mark.parametrize(("text", "function"), FUNCTIONS.items(), ids=FUNCTIONS)
def test_gains_are_those_of_torchs_function(text, function):
    second = bound(f"gain_normal:nonlinearity={text}").solution["gain"]
    gradient = bound(f"gain_normal:nonlinearity={text},keep=gradient").solution["gain"]
    assert second == pytest.approx(trapezoid(lambda z: function(z) ** 2) ** -0.5, rel=1e-6)
    assert gradient == pytest.approx(trapezoid(lambda z: slope(function)(z) ** 2) ** -0.5, rel=1e-4)


@each("scheme", ["gain_normal", "gain_uniform"])
@each("name", ["tanh", "gelu", "sigmoid", "mish"])
def test_a_layer_keeps_the_second_moment(scheme, name):
    """Over 1000 × 400 outputs of φ(z): their second moment is 1, within five of its standard errors."""
    torch.manual_seed(0)
    weight = torch.empty(400, 600)
    bound(f"{scheme}:nonlinearity={name}").apply(weight)
    function = getattr(nn.functional, name)
    moment = (function(torch.randn(1000, 600)) @ weight.t()).square().mean(1)
    assert abs(moment.mean() - 1) < 5 * math.sqrt(2 / 400 + moment.var() / 1000)


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg", "fan_geo_avg"])
def test_the_fan_is_the_one_that_mode_names(mode):
    fan = {"fan_in": 27, "fan_out": 36, "fan_avg": 31.5, "fan_geo_avg": math.sqrt(27 * 36)}[mode]
    for scheme in ("gain_normal", "gain_uniform"):
        found = bound(f"{scheme}:nonlinearity=relu,mode={mode}").moments((4, 3, 3, 3))
        assert found.std == pytest.approx(math.sqrt(2 / fan), rel=1e-12)


CRITICAL = {
    "tanh,sigma_b2=0.01": (1.424205, 0.01),
    "tanh,sigma_b2=0.05": (1.760955, 0.05),
    "tanh,sigma_b2=0.1": (1.986073, 0.1),
    "relu": (2.0, 0.0),
    "tanh": (1.0, 0.0),
    "linear": (1.0, 0.0),
    "leaky_relu:negative_slope=0.2": (2 / 1.04, 0.0),
    "gelu": (1.98305826, 0.17292239),
}


@each(("text", "variances"), CRITICAL.items(), ids=CRITICAL)
def test_critical_points(text, variances):
    scheme = bound(f"critical:nonlinearity={text}")
    assert [*scheme.solution.values()] == pytest.approx(variances, abs=1e-6)
    assert scheme.moments((7, 50)).std == pytest.approx(math.sqrt(variances[0] / 50), abs=1e-6)
    assert scheme.moments((7,)).std == pytest.approx(math.sqrt(variances[1]), abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_critical_fills_weights_and_biases(dtype):
    torch.manual_seed(0)
    layer = nn.Linear(500, 4000, dtype=dtype)
    scheme = bound("critical:nonlinearity=tanh,sigma_b2=0.05")
    for name, parameter in layer.named_parameters():
        scheme.check(name, tuple(parameter.shape), str(dtype)[6:])
        scheme.apply(parameter)
        n = parameter.numel()
        expected = scheme.moments(tuple(parameter.shape)).std
        assert abs(parameter.double().std() / expected - 1) < 5 / math.sqrt(2 * n)
        assert abs(parameter.double().mean()) < 5 * expected / math.sqrt(n)


def test_a_bias_without_variance_is_zero():
    bias = torch.ones(5)
    bound("critical:nonlinearity=relu").apply(bias)
    assert bias.eq(0).all()


def test_auto_is_settled_by_the_model():
    net = nn.Sequential(nn.Linear(4, 3), nn.LeakyReLU(0.2), nn.Linear(3, 2))
    scheme = bound("critical")
    first, last = scheme.for_parameter(net, "0.weight"), scheme.for_parameter(net, "2.bias")
    assert (str(first), str(last)) == (
        "critical:nonlinearity=leaky_relu:negative_slope=0.2",
        "critical:nonlinearity=linear",
    )
    assert (scheme.is_open, first.is_open, first.for_parameter(net, "2.weight")) == (True, False, first)
    assert bound(str(first)) == first
    curved = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    settled = [str(bound("critical:sigma_b2=0.05").for_parameter(curved, name)) for name in ("0.weight", "2.weight")]
    assert settled == ["critical:nonlinearity=tanh,sigma_b2=0.05", "critical:nonlinearity=linear"]
    normal = bound("normal")
    assert normal.for_parameter(net, "0.weight") is normal and not normal.is_open


def test_where_the_model_does_not_tell_the_hint_is_what_to_write():
    with pytest.raises(UserError) as caught:
        bound("gain_normal").for_parameter(nn.ModuleList([nn.Linear(4, 3)]), "0.weight")
    assert str(caught.value) == (
        "gain_normal cannot tell which activation follows '0.weight'\n"
        "  say which, e.g. gain_normal:nonlinearity=tanh; it sees the layers of an nn.Sequential"
    )


def test_auto_alone_has_no_moments():
    with pytest.raises(UserError, match="nonlinearity=auto is read off a model, and there is none"):
        bound("critical").moments((3, 4))


def test_where_there_is_no_critical_point_the_error_names_the_parameter():
    with pytest.raises(UserError) as caught:
        bound("critical:nonlinearity=relu,sigma_b2=0.1").check("0.weight", (3, 4), "float32")
    said = "critical:nonlinearity=relu,sigma_b2=0.1 cannot fill '0.weight': relu has no critical point with σb² = 0.1"
    assert caught.value.message.startswith(said)
    assert "sigma_b2=0" in caught.value.hint


def test_mup_readout_is_lecuns_at_the_base_width():
    readout = bound("mup_readout:gain=2,base_width=64")
    assert readout.moments((10, 64)).std == 2 / math.sqrt(64)
    assert readout.moments((10, 256)).std == readout.moments((10, 64)).std / 4
    assert bound("mup_readout").moments((10, 256)).std == 1 / 256
