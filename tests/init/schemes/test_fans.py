from __future__ import annotations

import pytest
import torch
from torch import nn

from paraminspect.init.schemes.fans import STACKED, fan, fan_caveat, fan_in_and_fan_out
from tests.cases import each


@each(
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


def counted(layer: nn.Module, size: tuple[int, ...]) -> tuple[int, int]:
    """Return how many inputs one output far from the border sums, and how many outputs one such input reaches."""
    x = torch.zeros(1, *size, requires_grad=True)
    y = layer(x)
    middle = (0, 0, *(n // 2 for n in y.shape[2:]))
    y[middle].backward()
    summed = int((x.grad != 0).sum())
    bump = torch.zeros(1, *size)
    bump[(0, 0, *(n // 2 for n in size[1:]))] = 1.0
    with torch.no_grad():
        reached = int((layer(bump) != layer(torch.zeros(1, *size))).sum())
    return summed, reached


@pytest.mark.parametrize(
    ("layer", "size", "text"),
    [
        (nn.Conv2d(8, 16, 3, groups=4), (8, 9, 9), "4 groups: torch counts fan_out 144, an input reaches {1}"),
        (nn.Conv1d(6, 6, 5, groups=6), (6, 20), "6 groups: torch counts fan_out 30, an input reaches {1}"),
        (
            nn.ConvTranspose2d(8, 4, 4, stride=2),
            (8, 9, 9),
            "transposed: torch counts fan_in 64 and fan_out 128, an output sums {0} and an input reaches {1}",
        ),
        (
            nn.ConvTranspose1d(6, 10, 3, groups=2),
            (6, 20),
            "transposed: torch counts fan_in 15 and fan_out 18, an output sums {0} and an input reaches {1}",
        ),
    ],
)
def test_convolutions(layer: nn.Module, size: tuple[int, ...], text: str) -> None:
    torch.manual_seed(0)
    fans = nn.init._calculate_fan_in_and_fan_out(layer.weight)
    told = fan_caveat(layer, "weight", tuple(layer.weight.shape))
    assert told == text.format(*counted(layer, size))
    assert all(f"fan_in {fans[0]}" in told or f"fan_out {fan}" in told for fan in fans[1:])


class Own(nn.Module):
    pass


class Sub(nn.GRU):
    pass


THREE_STACKED = "{} stacked: torch counts fan_out {}, each has {}"
CASES = [
    (nn.MultiheadAttention(16, 2), "in_proj_weight", (48, 16), THREE_STACKED.format("3 projections", 48, 16)),
    (nn.LSTM(8, 12), "weight_ih_l0", (48, 8), THREE_STACKED.format("4 gates", 48, 12)),
    (nn.LSTM(8, 12), "weight_hh_l0", (48, 12), THREE_STACKED.format("4 gates", 48, 12)),
    (nn.LSTM(8, 12, proj_size=5), "weight_hr_l0", (5, 12), ""),
    (Sub(8, 12), "weight_ih_l0", (36, 8), THREE_STACKED.format("3 gates", 36, 12)),
    (nn.GRUCell(8, 12), "weight_hh", (36, 12), THREE_STACKED.format("3 gates", 36, 12)),
    (nn.RNN(8, 12), "weight_ih_l0", (12, 8), ""),
    (nn.Linear(4, 3), "weight", (3, 4), ""),
    (nn.Conv2d(3, 4, 5), "weight", (4, 3, 5, 5), ""),
    (
        nn.Bilinear(5, 6, 7),
        "weight",
        (7, 5, 6),
        "bilinear: torch counts fan_out 42, which the first input reaches, the second 35; "
        "fan_in 30 counts products of both inputs, torch's own default 5",
    ),
    (
        nn.EmbeddingBag(10, 6),
        "weight",
        (10, 6),
        "a lookup: torch counts fan_in 6 and fan_out 10, an output is 1 element and an index reaches 6",
    ),
    (
        Own(),
        "w",
        (20, 30),
        "no torch.nn layer owns it: torch counts fan_in 30 and fan_out 20; "
        "where x @ W uses it, fan_in is 20 and fan_out 30",
    ),
    (Own(), "w", (20, 20), ""),
    (
        Own(),
        "w",
        (4, 20, 30),
        "no torch.nn layer owns it: torch takes (30,) for a kernel, fan_in 600 and fan_out 120; "
        "a stack of matrices has those of each",
    ),
    (Own(), "w", (20,), ""),
    (Own(), "w", (0, 20), ""),
]


@each(("owner", "leaf", "shape", "text"), CASES)
def test_other_layers(owner: nn.Module, leaf: str, shape: tuple[int, ...], text: str) -> None:
    assert fan_caveat(owner, leaf, shape) == text
