"""Which activation follows a layer, as one reads it off the module tree."""

import pytest
import torch
from torch import nn

from paraminspect.init.schemes.activation import following_activation
from paraminspect.modules.demo import Residual
from tests.cases import each

SLOPE = nn.LeakyReLU(0.2)
CASES = {
    "the next one": (nn.Sequential(nn.Linear(4, 4), nn.Tanh()), "0.weight", "tanh"),
    "its bias": (nn.Sequential(nn.Linear(4, 4), nn.Tanh()), "0.bias", "tanh"),
    "the last layer": (nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)), "2.weight", "linear"),
    "a layer comes first": (nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Tanh()), "0.weight", "linear"),
    "a layer alone": (nn.Linear(4, 4), "weight", "linear"),
    "past dropout, norms, flatten": (
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.MaxPool2d(2), nn.Dropout(), nn.Flatten(), nn.SiLU()),
        "0.weight",
        "silu",
    ),
    "past an identity": (
        nn.Sequential(nn.Linear(4, 4), nn.Identity(), nn.GELU("tanh")),
        "0.weight",
        "gelu:approximate=tanh",
    ),
    "a norm's own": (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.ELU(0.5)), "1.bias", "elu:alpha=0.5"),
    "into what is nested": (
        nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Dropout(), nn.Sequential(SLOPE), nn.Tanh())),
        "0.weight",
        "leaky_relu:negative_slope=0.2",
    ),
    "out of what is nested": (
        nn.Sequential(nn.Sequential(nn.Linear(4, 4)), nn.Dropout(), nn.Mish()),
        "0.0.weight",
        "mish",
    ),
    "the end, nested": (nn.Sequential(nn.Sequential(nn.ReLU(), nn.Linear(4, 4))), "0.1.weight", "linear"),
    "out of a residual": (nn.Sequential(Residual(nn.Tanh(), nn.Linear(4, 4)), nn.ReLU()), "0.1.weight", "relu"),
    "into a residual": (nn.Sequential(nn.Linear(4, 4), Residual(nn.SELU(), nn.Linear(4, 4))), "0.weight", "selu"),
    "before a softmax": (nn.Sequential(nn.Linear(4, 4), nn.LogSoftmax(1)), "0.weight", "linear"),
    "two arguments": (nn.Sequential(nn.Linear(4, 4), nn.Hardtanh(-2, 3)), "0.weight", "hardtanh:min_val=-2;max_val=3"),
    "relu6": (nn.Sequential(nn.Linear(4, 4), nn.ReLU6()), "0.weight", "hardtanh:min_val=0.0;max_val=6.0"),
    "prelu as it begins": (
        nn.Sequential(nn.Linear(4, 4), nn.PReLU(init=0.1)),
        "0.weight",
        "leaky_relu:negative_slope=0.1",
    ),
    "an embedding": (nn.Sequential(nn.Embedding(4, 4), nn.Tanh()), "0.weight", "tanh"),
    "names of one's own": (nn.Sequential(), "hidden.weight", "tanh"),
    "a random slope": (nn.Sequential(nn.Linear(4, 4), nn.RReLU()), "0.weight", None),
    "attention of its own": (nn.Sequential(nn.MultiheadAttention(4, 2), nn.Tanh()), "0.in_proj_weight", None),
    "a recurrent layer": (nn.Sequential(nn.RNN(4, 4), nn.Tanh()), "0.weight_ih_l0", None),
    "next to attention": (nn.Sequential(nn.Linear(4, 4), nn.MultiheadAttention(4, 2)), "0.weight", None),
    "outside of a Sequential": (nn.ModuleList([nn.Linear(4, 4), nn.Tanh()]), "0.weight", None),
}
CASES["names of one's own"][0].add_module("hidden", nn.Linear(4, 4))
CASES["names of one's own"][0].add_module("bend", nn.Tanh())


class Foreign(nn.Sequential):
    def forward(self, x):
        return super().forward(x) * 2


class Squared(nn.Tanh):
    def forward(self, x):
        return super().forward(x) ** 2


class Wide(nn.Linear):
    pass


class Soft(nn.Softsign):
    pass


CASES |= {
    "a Sequential of the user's": (Foreign(nn.Linear(4, 4), nn.Tanh()), "0.weight", None),
    "an activation of the user's": (nn.Sequential(nn.Linear(4, 4), Squared()), "0.weight", None),
    "subclasses that change nothing": (nn.Sequential(Wide(4, 4), Soft()), "0.weight", "softsign"),
}


@each(("module", "name", "expected"), CASES.values(), ids=CASES)
def test_follows(module, name, expected):
    assert following_activation(module, name) == expected


def test_it_sees_a_layer_on_the_meta_device():
    with torch.device("meta"):
        module = nn.Sequential(nn.Linear(4, 4), nn.PReLU())
    assert following_activation(module, "0.weight") == "leaky_relu:negative_slope=0.25"


ELEMENTWISE = [
    nn.CELU(0.5), nn.ELU(), nn.GELU(), nn.Hardshrink(), nn.Hardsigmoid(), nn.Hardswish(), nn.Hardtanh(), nn.LeakyReLU(),
    nn.LogSigmoid(), nn.Mish(), nn.ReLU(), nn.ReLU6(), nn.SELU(), nn.SiLU(), nn.Sigmoid(), nn.Softplus(2.0),
    nn.Softshrink(0.1), nn.Softsign(), nn.Tanh(), nn.Tanhshrink(), nn.Threshold(0.1, -1.0), nn.PReLU(),
]  # fmt: skip


@each("layer", ELEMENTWISE, ids=str)
def test_theory_knows_what_it_says(layer):
    """The function that theory has under that spelling is the layer's own."""
    from paraminspect import theory
    from paraminspect.init.schemes.scheme import parse_scheme

    text = following_activation(nn.Sequential(nn.Linear(1, 1), layer), "0.weight")
    name, args = parse_scheme(text.replace(";", ","), "")
    z = torch.linspace(-8, 8, 401, dtype=torch.float64)
    wanted = layer.double()(z).detach().numpy()
    assert theory.activation(name, **args).phi(z.numpy()) == pytest.approx(wanted, abs=1e-6)
