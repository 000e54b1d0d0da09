"""A spec builds what the calls it stands for build."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import nn

from paraminspect.errors import UserError
from paraminspect.modules.demo import Residual
from paraminspect.sources.sequential import build
from paraminspect.spec.parse import parse_spec


def net_of(text: str) -> nn.Module:
    return build(parse_spec(text, "s.yaml"))


def same(built: nn.Module, by_hand: Callable[[], nn.Module], seed: int = 0) -> None:
    """Compare structure and bits with what a person would write."""
    torch.manual_seed(seed)
    wanted = by_hand()
    assert repr(built) == repr(wanted)
    assert list(built.state_dict()) == list(wanted.state_dict())
    for (name, one), other in zip(built.state_dict().items(), wanted.state_dict().values(), strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other), name


def test_positional_and_named_arguments() -> None:
    text = "layers: [Linear: [4, 3], ReLU, Linear: {in_features: 3, out_features: 1}, Linear: [1, 2, {bias: false}]]"
    same(
        net_of(text),
        lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1), nn.Linear(1, 2, bias=False)),
    )


def test_names_and_numbers_as_in_an_ordered_dict() -> None:
    text = "layers: [{name: hidden, Linear: [4, 3]}, Tanh, {name: out, Linear: [3, 1]}]"
    same(
        net_of(text),
        lambda: nn.Sequential(OrderedDict([("hidden", nn.Linear(4, 3)), ("1", nn.Tanh()), ("out", nn.Linear(3, 1))])),
    )


def test_mlp_is_the_alternating_layers_with_none_after_the_last() -> None:
    text = "seed: 3\nlayers: [MLP: {sizes: [5, 4, 3, 2], activation: {LeakyReLU: 0.1}}]"
    same(
        net_of(text),
        lambda: nn.Sequential(nn.Linear(5, 4), nn.LeakyReLU(0.1), nn.Linear(4, 3), nn.LeakyReLU(0.1), nn.Linear(3, 2)),
        seed=3,
    )


def test_repeat_makes_independent_copies_in_line() -> None:
    net = net_of("layers: [Linear: [2, 2], Repeat: {times: 3, layers: [Linear: [2, 2], Tanh]}]")
    same(
        net,
        lambda: nn.Sequential(nn.Linear(2, 2), *[m for _ in range(3) for m in (nn.Linear(2, 2), nn.Tanh())]),
    )
    assert len({id(p) for p in net.parameters()}) == 8
    assert not torch.equal(net[1].weight, net[3].weight)


def test_a_named_repeat_is_a_sequential_of_that_name() -> None:
    net = net_of("layers: [{name: body, Repeat: {times: 2, layers: [Linear: [2, 2]]}}]")
    same(net, lambda: nn.Sequential(OrderedDict([("body", nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))])))


def test_sequential_nests_and_residual_adds_its_input() -> None:
    net = net_of("layers: [Sequential: [Linear: [3, 3]], Residual: [Linear: [3, 3], Tanh]]")
    x = torch.randn(4, 3)
    inner = net[0](x)
    assert isinstance(net[1], Residual)
    assert torch.equal(net(x), inner + net[1][1](net[1][0](inner)))


@pytest.mark.parametrize(
    "text",
    [
        "layers: [Linear: [3, 3], ReLU, ref: 0]",
        "layers: [{name: a, Linear: [3, 3]}, ReLU, ref: a]",
        "layers: [{name: a, Linear: [3, 3]}, ReLU, ref: 0]",
        "layers: [Linear: [3, 3], ReLU, {ref: '0', name: again}]",
    ],
)
def test_ref_is_the_same_module_object(text: str) -> None:
    first, _, last = list(net_of(text))
    assert first is last


def test_ref_reaches_into_another_group_by_its_path() -> None:
    net = net_of("layers: [{name: enc, Sequential: [Linear: [3, 3], Tanh]}, Sequential: [ref: enc.0, Tanh]]")
    assert net.get_submodule("1.0") is net.get_submodule("enc.0")


def test_ref_is_relative_inside_a_repeated_sequential() -> None:
    net = net_of("layers: [Repeat: {times: 2, layers: [Sequential: [Linear: [3, 3], Tanh, ref: 0]]}]")
    assert net[0][0] is net[0][2]
    assert net[1][0] is net[1][2]
    assert net[0][0] is not net[1][0]


def test_a_tie_reads_like_an_assignment_and_keeps_the_last() -> None:
    net = net_of(
        "layers: [{name: a, Linear: [3, 3]}, {name: b, Linear: [3, 3]}, {name: c, Linear: [3, 3]}]\n"
        "ties: [[a.weight, c.weight, b.weight]]"
    )
    torch.manual_seed(0)
    nn.Linear(3, 3)
    kept = nn.Linear(3, 3).weight
    assert net.a.weight is net.b.weight is net.c.weight
    assert torch.equal(net.b.weight, kept)


def test_dtype_converts_after_building() -> None:
    same(net_of("layers: [Linear: [4, 3]]\ndtype: float64"), lambda: nn.Sequential(nn.Linear(4, 3)).to(torch.float64))


def test_meta_takes_no_memory_and_draws_nothing() -> None:
    net = net_of("layers: [Linear: [1000000, 1000000]]\ndevice: meta")
    assert net[0].weight.is_meta
    assert torch.equal(torch.get_rng_state(), torch.manual_seed(0).get_state())


def test_a_nested_layer_is_an_argument() -> None:
    net = net_of(
        "layers: [TransformerEncoder: {encoder_layer: {TransformerEncoderLayer: [8, 2, 16]}, num_layers: 2, enable_nested_tensor: false}]"
    )
    assert len(net[0].layers) == 2


REFUSED = [
    (
        "layers:\n  - {name: forward, Linear: [3, 3]}",
        "s.yaml:2:21: attribute 'forward' already exists\n  choose another name",
    ),
    (
        "layers:\n  - Conv2d: {in_channels: 3, out_channels: 4, kernel_size: 3, groups: 2}",
        "s.yaml:2:5: torch refused to build Conv2d: in_channels must be divisible by groups\n  Conv2d(",
    ),
    (
        "layers: [Linear: [3, 3], Linear: [3, 4]]\nties:\n  - [0.weight, 1.weight]",
        "s.yaml:3:5: cannot tie '0.weight' (3, 3) and '1.weight' (4, 3): shapes differ\n"
        "  tie parameters of one shape and one dtype",
    ),
    (
        "layers: [Linear: [3, 3], Linear: [3, 3]]\nties:\n  - [0.weihgt, 1.weight]",
        "s.yaml:3:5: ties: no parameter is called '0.weihgt'\n  did you mean '0.weight'?",
    ),
    (
        "layers: [Linear: [3, 3], LazyLinear: 3]\nties:\n  - [0.weight, 1.weight]",
        "s.yaml:3:5: cannot tie '0.weight' and '1.weight': a lazy parameter has no shape yet\n"
        "  tie parameters of one shape and one dtype",
    ),
    (
        "layers: [Linear: [3, 3], Linear: {in_features: 3, out_features: 3, dtype: float64}]\nties:\n  - [0.weight, 1.weight]",
        "s.yaml:3:5: cannot tie '0.weight' torch.float32 and '1.weight' torch.float64: dtypes differ\n"
        "  tie parameters of one shape and one dtype",
    ),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_what_cannot_be_built_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        net_of(text)
    assert str(caught.value).startswith(message)
