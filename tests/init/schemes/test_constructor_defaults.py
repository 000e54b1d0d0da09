"""What we say torch's constructors draw, against what they drew."""

import math

import pytest
import torch
from torch import nn

from paraminspect.init.schemes import expected_moments
from paraminspect.init.schemes.constructor_defaults import bias_fan_in, default_moments
from tests.cases import each

LAYERS = {
    "linear": lambda: nn.Linear(30, 20000),
    "conv1d": lambda: nn.Conv1d(8, 8000, 5),
    "conv2d": lambda: nn.Conv2d(6, 12000, 3),
    "grouped": lambda: nn.Conv2d(6, 12000, 3, groups=3),
    "conv3d": lambda: nn.Conv3d(3, 8000, 2),
    "conv_transpose1d": lambda: nn.ConvTranspose1d(7, 9000, 3),
    "conv_transpose2d": lambda: nn.ConvTranspose2d(300, 100, 3),
    "conv_transpose3d": lambda: nn.ConvTranspose3d(30, 900, 2),
    "bilinear": lambda: nn.Bilinear(16, 3, 8000),
    "embedding": lambda: nn.Embedding(5000, 40),
    "embedding_bag": lambda: nn.EmbeddingBag(5000, 40),
    "rnn": lambda: nn.RNN(100, 400, 2),
    "lstm": lambda: nn.LSTM(100, 200, 2, proj_size=150, bidirectional=True),
    "gru": lambda: nn.GRU(100, 300),
    "rnn_cell": lambda: nn.RNNCell(100, 400),
    "lstm_cell": lambda: nn.LSTMCell(100, 200),
    "gru_cell": lambda: nn.GRUCell(100, 200),
    "batch_norm1d": lambda: nn.BatchNorm1d(50),
    "batch_norm2d": lambda: nn.BatchNorm2d(50),
    "batch_norm3d": lambda: nn.BatchNorm3d(50),
    "sync_batch_norm": lambda: nn.SyncBatchNorm(50),
    "instance_norm1d": lambda: nn.InstanceNorm1d(50, affine=True),
    "instance_norm2d": lambda: nn.InstanceNorm2d(50, affine=True),
    "instance_norm3d": lambda: nn.InstanceNorm3d(50, affine=True),
    "layer_norm": lambda: nn.LayerNorm((5, 10)),
    "group_norm": lambda: nn.GroupNorm(5, 50),
    "rms_norm": lambda: nn.RMSNorm(50),
    "attention": lambda: nn.MultiheadAttention(256, 4, add_bias_kv=True),
    "attention of other widths": lambda: nn.MultiheadAttention(256, 4, kdim=128, vdim=64),
}


@each("build", LAYERS.values(), ids=LAYERS)
def test_constructors_draw_what_we_say(build):
    """Every parameter of every layer is known; mean and std lie within five standard errors."""
    torch.manual_seed(3)
    for owner in build().modules():
        for name, parameter in owner.named_parameters(recurse=False):
            weight = getattr(owner, "weight", None)
            fan_in = None if weight is None else bias_fan_in(type(owner).__name__, tuple(weight.shape))
            expected = default_moments(type(owner).__name__, name, tuple(parameter.shape), fan_in)
            assert_drawn(parameter.detach().double(), expected)


def assert_drawn(values, expected):
    assert expected is not None
    if expected.std == 0:
        assert values.eq(expected.mean).all()
        return
    error = expected.std / math.sqrt(values.numel())
    assert abs(values.mean() - expected.mean) < 5 * error
    assert abs(values.std(correction=0) - expected.std) < 5 * error * math.sqrt((expected.kurtosis - 1) / 4)
    if expected.high is not None:
        assert values.abs().max() <= expected.high * (1 + 1e-6)


def test_the_bound_is_one_over_the_root_of_fan_in():
    weight = default_moments("Linear", "weight", (5, 12), 12)
    assert (weight.std, weight.high) == (pytest.approx(1 / 6), pytest.approx(1 / math.sqrt(12)))
    assert default_moments("Linear", "bias", (5,), 12) == weight


@each(
    ("module_type", "parameter", "shape", "fan_in"),
    [
        ("PReLU", "weight", (1,), None),
        ("Linear", "bias", (3,), None),
        ("Linear", "extra", (3, 4), 4),
        ("Linear", "weight", (3,), None),
        ("Linear", "weight", (3, 0), 0),
        ("Conv2d", "bias", (3,), 0),
        ("LayerNorm", "extra", (3,), None),
        ("Embedding", "bias", (3,), None),
        ("LSTM", "extra", (3,), None),
        ("LSTM", "weight_hh_l0_g", (16, 1), None),
        ("LSTM", "weight", (), None),
        ("LSTM", "weight_ih_l0", (0, 3), None),
        ("MultiheadAttention", "extra", (3, 3), None),
        ("MultiheadAttention", "in_proj_weight", (3,), None),
        ("MultiheadAttention", "in_proj_weight", (0, 0), None),
        ("MyLayer", "weight", (3, 4), 4),
    ],
)
def test_says_nothing_where_it_does_not_know(module_type, parameter, shape, fan_in):
    assert default_moments(module_type, parameter, shape, fan_in) is None


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_linear_layer_without_inputs_has_zero_biases():
    layer = nn.Linear(0, 3)
    assert default_moments("Linear", "bias", (3,), bias_fan_in("Linear", (3, 0))) == expected_moments.constant(0.0)
    assert layer.bias.eq(0).all()


@pytest.mark.parametrize(
    ("module_type", "shape", "expected"),
    [("Linear", (3, 4), 4), ("Conv2d", (3, 4, 2, 2), 16), ("Bilinear", (3, 4, 5), 4), ("LayerNorm", (3,), None)],
)
def test_bias_fan_in(module_type, shape, expected):
    assert bias_fan_in(module_type, shape) == expected
