"""How many products a convolution adds up at each place: beside torch's own convolution of ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from paraminspect.analysis.signal import operations
from tests.cases import each

PLAIN = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": (3, 2), "stride": (2, 1), "padding": (0, 1)},
    {"kernel_size": 3, "padding": "same", "dilation": 2},
    {"kernel_size": 2, "padding": "same"},
    {"kernel_size": 3, "padding": "valid", "groups": 2},
    {"kernel_size": 1, "stride": 3},
    {"kernel_size": 5, "padding": 4, "stride": 2, "dilation": (1, 2)},
]
TRANSPOSED = [
    {"kernel_size": 3},
    {"kernel_size": 4, "stride": 2, "padding": 1},
    {"kernel_size": 3, "stride": 2, "output_padding": 1, "groups": 2},
    {"kernel_size": 2, "stride": 3, "dilation": 2, "padding": (1, 0)},
]


def _ones(layer: nn.Module) -> nn.Module:
    for parameter in layer.parameters():
        nn.init.ones_(parameter)
    return layer.double()


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@each("field", [False, True])
@each(("kind", "settings"), [*((nn.Conv2d, one) for one in PLAIN), *((nn.ConvTranspose2d, one) for one in TRANSPOSED)])
def test_what_arrives_and_what_comes_back_is_that_of_ones(
    kind: type[nn.Module], settings: dict[str, Any], field: bool
) -> None:
    layer = _ones(kind(4, 6, bias=False, **settings))
    torch.manual_seed(0)
    places = torch.rand(7, 9, dtype=torch.float64) if field else torch.full((7, 9), 0.5, dtype=torch.float64)
    x = places.expand(1, 4, 7, 9).clone().requires_grad_()
    y = layer(x)
    back = torch.rand(y.shape[-2:], dtype=torch.float64)
    (grad,) = torch.autograd.grad(y, x, back.expand(y.shape))
    names = ("stride", "padding", "dilation", "groups")
    given = {"input": x, "weight": layer.weight, **{name: getattr(layer, name) for name in names}}
    read = operations.transposed if kind is nn.ConvTranspose2d else operations.convolution
    found = read(given, y)
    start = places.numpy() if field else 0.5
    shape = tuple(y.shape[-2:])
    np.testing.assert_allclose(
        np.broadcast_to(found.connections.gathered(start), shape), y[0, 0].detach().numpy(), rtol=1e-6
    )
    np.testing.assert_allclose(
        np.broadcast_to(found.connections.returned(back.numpy()), (7, 9)), grad[0, 0].numpy(), rtol=1e-6
    )
    assert (found.width, found.units, found.rows is None) == (6, 1, layer.groups != 1)


@pytest.mark.parametrize("dimensions", [1, 3])
def test_other_dimensions(dimensions: int) -> None:
    layer = _ones(getattr(nn, f"Conv{dimensions}d")(2, 3, 3, padding=1, bias=False))
    y = layer(torch.ones(1, 2, *[5] * dimensions, dtype=torch.float64))
    found = operations.convolution(
        {"input": torch.ones(1, 2, *[5] * dimensions), "weight": layer.weight, "padding": 1}, y
    )
    np.testing.assert_allclose(found.connections.gathered(1.0), y[0, 0].detach().numpy())
    assert found.fan_in == 2 * 3**dimensions
