import pytest
import torch
from torch import nn

from paraminspect.init.fans import STACKED, fan_in_and_fan_out, misleading_fans


@pytest.mark.parametrize(
    "shape", [(3, 4), (1, 1), (0, 3), (3, 0), (8, 4, 3), (8, 4, 3, 5), (2, 3, 4, 5, 6), (2, 3, 0), (2, 2, 2, 2, 2, 2)]
)
def test_counts_as_torch_does(shape):
    assert fan_in_and_fan_out(shape) == nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))


@pytest.mark.parametrize("shape", [(), (3,)])
def test_needs_two_dimensions(shape):
    with pytest.raises(ValueError, match="a fan needs at least 2 dimensions"):
        fan_in_and_fan_out(shape)


TRANSPOSED = "a transposed convolution stores (in, out, kernel): torch's fan_in and fan_out are swapped"


@pytest.mark.parametrize(
    ("module_type", "name", "groups", "expected"),
    [
        ("ConvTranspose1d", "up.weight", 1, TRANSPOSED),
        ("ConvTranspose3d", "weight", 4, TRANSPOSED),
        (
            "Conv2d",
            "weight",
            8,
            "with groups=8 an input feeds 1/8 of the outputs: torch's fan_out is 8 times that",
        ),
        (
            "Bilinear",
            "weight",
            1,
            "a Bilinear weight is (out, in1, in2): torch takes in2 for a kernel, so fan_out is out · in2",
        ),
        (
            "MultiheadAttention",
            "attn.in_proj_weight",
            1,
            "in_proj_weight stacks the query, key and value matrices: torch's fan_out is 3 times that of each",
        ),
        (
            "Embedding",
            "weight",
            1,
            "an embedding is a table (rows, width) that is looked up, not multiplied: its fans mean little",
        ),
        ("LSTM", "weight_ih_l0", 1, "weight_ih_l0 stacks 4 gates: torch's fan_out is 4 times that of each"),
        ("GRUCell", "cell.weight_hh", 1, "weight_hh stacks 3 gates: torch's fan_out is 3 times that of each"),
        ("LSTM", "weight_hr_l0", 1, None),
        ("RNN", "weight_ih_l0", 1, None),
        ("Linear", "weight", 1, None),
        ("Conv2d", "weight", 1, None),
        ("ConvTranspose2d", "bias", 1, None),
        ("MultiheadAttention", "q_proj_weight", 1, None),
    ],
)
def test_says_where_the_count_misleads(module_type, name, groups, expected):
    assert misleading_fans(module_type, name, groups=groups) == expected


@pytest.mark.parametrize("module_type", STACKED)
def test_counts_the_gates(module_type):
    layer = getattr(nn, module_type)(5, 7)
    weight = layer.weight_ih if module_type.endswith("Cell") else layer.weight_ih_l0
    assert weight.shape == (STACKED[module_type] * 7, 5)


def test_the_swap_is_real():
    layer = nn.ConvTranspose2d(4, 6, 3)
    assert fan_in_and_fan_out(tuple(layer.weight.shape)) == (6 * 9, 4 * 9)
