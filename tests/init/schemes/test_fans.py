import pytest
import torch
from torch import nn

from paraminspect.init.schemes.fans import STACKED, fan, fan_in_and_fan_out


@pytest.mark.parametrize(
    "shape", [(3, 4), (1, 1), (0, 3), (3, 0), (8, 4, 3), (8, 4, 3, 5), (2, 3, 4, 5, 6), (2, 3, 0), (2, 2, 2, 2, 2, 2)]
)
def test_counts_as_torch_does(shape):
    assert fan_in_and_fan_out(shape) == nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))


@pytest.mark.parametrize("shape", [(), (3,)])
def test_needs_two_dimensions(shape):
    with pytest.raises(ValueError, match="a fan needs at least 2 dimensions"):
        fan_in_and_fan_out(shape)


@pytest.mark.parametrize("module_type", STACKED)
def test_counts_the_gates(module_type):
    layer = getattr(nn, module_type)(5, 7)
    weight = layer.weight_ih if module_type.endswith("Cell") else layer.weight_ih_l0
    assert weight.shape == (STACKED[module_type] * 7, 5)


@pytest.mark.parametrize(
    ("mode", "expected"), [("fan_in", 27), ("fan_out", 36), ("fan_avg", 31.5), ("fan_geo_avg", (27 * 36) ** 0.5)]
)
def test_the_fan_that_a_mode_names(mode, expected):
    assert fan((4, 3, 3, 3), mode) == expected
