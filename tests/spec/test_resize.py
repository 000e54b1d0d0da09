"""The same network at another width or depth: what torch then builds, and what is refused."""

from __future__ import annotations

import pytest
import torch

from paraminspect.errors import UserError
from paraminspect.sources.sequential import build
from paraminspect.spec.parse import parse_spec
from paraminspect.spec.resize import with_depth, with_width
from tests.cases import each

WIDER = {
    "the first and the last width stay": (
        "[Linear: [4, 3], ReLU, Linear: [3, 3], ReLU, Linear: [3, 2]]",
        {"0.weight": (8, 4), "0.bias": (8,), "2.weight": (8, 8), "2.bias": (8,), "4.weight": (2, 8), "4.bias": (2,)},
    ),
    "the shorthand, unequal widths, arguments by name": (
        "[{name: net, MLP: {sizes: [5, 6, 7, 1], bias: false}}, Linear: {in_features: 1, out_features: 3, bias: false}]",
        {"net.0.weight": (8, 5), "net.2.weight": (8, 8), "net.4.weight": (8, 8), "1.weight": (3, 8)},
    ),
    "norms, before, between and after": (
        "[LayerNorm: 4, Linear: [4, 3, false], BatchNorm1d: 3, RMSNorm: [[3]], Linear: [3, 2, false], "
        "{RMSNorm: {normalized_shape: 2}}]",
        {
            "0.weight": (4,),
            "0.bias": (4,),
            "1.weight": (8, 4),
            "2.weight": (8,),
            "2.bias": (8,),
            "3.weight": (8,),
            "4.weight": (2, 8),
            "5.weight": (2,),
        },
    ),
    "a Residual gives what it takes, and is free inside": (
        "[Linear: [4, 6, false], Residual: [Linear: [6, 9, false], PReLU, Linear: [9, 6, false]], Linear: [6, 1, false]]",
        {"0.weight": (8, 4), "1.0.weight": (8, 8), "1.1.weight": (1,), "1.2.weight": (8, 8), "2.weight": (1, 8)},
    ),
    "a Residual over the input": (
        "[Residual: [Linear: [4, 9, false], {PReLU: 9}, Linear: [9, 4, false]], Linear: [4, 2, false]]",
        {"0.0.weight": (8, 4), "0.1.weight": (8,), "0.2.weight": (4, 8), "1.weight": (2, 4)},
    ),
    "the copies of a Repeat at the ends of the network": (
        "[Repeat: {times: 3, layers: [Linear: [4, 4, false], Tanh]}]",
        {"0.weight": (8, 4), "2.weight": (8, 8), "4.weight": (4, 8)},
    ),
    "a module that is used twice": (
        "[Linear: [4, 3, false], {name: mid, Sequential: [Linear: [3, 3, false], Tanh]}, ref: mid, Linear: [3, 2, false]]",
        {"0.weight": (8, 4), "mid.0.weight": (8, 8), "3.weight": (2, 8)},
    ),
    "a module used at the input again": (
        "[Linear: [4, 4, false], ref: 0, Linear: [4, 7, false], Linear: [7, 4, false]]",
        {"0.weight": (4, 4), "2.weight": (8, 4), "3.weight": (4, 8)},
    ),
    "channels, and a multiple of them after Flatten": (
        "[Conv2d: [3, 5, 3, {bias: false}], {GroupNorm: [1, 5]}, MaxPool2d: 2, Flatten, Linear: [20, 9, false], "
        "Linear: [9, 10, false]]",
        {"0.weight": (8, 3, 3, 3), "1.weight": (8,), "1.bias": (8,), "4.weight": (8, 32), "5.weight": (10, 8)},
    ),
    "an embedding": (
        "[Embedding: [20, 6], Linear: [6, 20, false]]",
        {"0.weight": (20, 8), "1.weight": (20, 8)},
    ),
    "lazy layers": (
        "[LazyLinear: [3, false], ReLU, Linear: [3, 2, false]]",
        {"2.weight": (2, 8)},
    ),
}  # fmt: skip


@each("what", WIDER)
def test_every_hidden_width_is_the_one_asked_for(what: str) -> None:
    layers, shapes = WIDER[what]
    net = build(with_width(parse_spec(f"layers: {layers}", "s.yaml"), 8))
    known = {name: tuple(p.shape) for name, p in net.named_parameters() if not torch.nn.parameter.is_lazy(p)}
    assert known == shapes


def test_the_result_runs_at_any_width_and_the_rest_of_the_spec_stays() -> None:
    text = (
        "{seed: 3, layers: [LayerNorm: 6, MLP: {sizes: [6, 4, 4, 2]}, Residual: [Linear: [2, 5], Tanh, Linear: [5, 2]]], "
        "input: [7, 6], init: [{params: '*.bias', scheme: zeros}], ties: [[1.bias, 3.bias]]}"
    )
    spec = parse_spec(text, "s.yaml")
    for width in (1, 2, 33):
        found = with_width(spec, width)
        assert (found.seed, found.input, found.init, found.ties) == (spec.seed, spec.input, spec.init, spec.ties)
        assert build(found)(torch.rand(7, 6)).shape == (7, 2)


NOT_WIDER = {
    "[Linear: [4, 2]]": "s.yaml: the network has no hidden width\n"
    "  a width is hidden where neither the input nor the output has it",
    "[Residual: [Linear: [4, 4], ReLU], Linear: [4, 2]]": "s.yaml: the network has no hidden width\n"
    "  a width is hidden where neither the input nor the output has it",
    "[Linear: [4, 6], GLU, Linear: [3, 2]]": "s.yaml:1:26: --width: layer '1' (GLU): "
    "the width of GLU cannot be changed here\n  give a spec for each width",
    "[{name: a, Sequential: [Conv1d: [4, 4, 1, {groups: 4}]]}, Conv1d: [4, 2, 1]]": "s.yaml:1:33: --width: "
    "layer 'a.0' (Conv1d): the width of a Conv1d in groups cannot be changed here\n  give a spec for each width",
    "[Conv2d: [1, 6, 1], {LayerNorm: [[6, 5, 5]]}, Conv2d: [6, 2, 1]]": "s.yaml:1:30: --width: layer '1' (LayerNorm): "
    "the shape (6, 5, 5) has more than a width in it\n  give a spec for each width",
    "[Linear: [4, 6], Linear: [4, 2]]": "s.yaml:1:26: --width: layer '1' (Linear): "
    "it takes 4, what comes before it gives 6\n  give a spec for each width",
}


@pytest.mark.parametrize("layers", NOT_WIDER)
def test_what_cannot_be_widened_is_refused_by_name(layers: str) -> None:
    with pytest.raises(UserError) as caught:
        with_width(parse_spec(f"layers: {layers}", "s.yaml"), 8)
    assert (str(caught.value), caught.value.code) == (NOT_WIDER[layers], "no-width")


DEEPER = {
    "hidden layers of an MLP": ("[MLP: {sizes: [4, 3, 2]}]", 3, [(3, 4), (3, 3), (3, 3), (2, 3)]),
    "the last width goes on": ("[MLP: {sizes: [4, 5, 3, 2]}]", 4, [(5, 4), (3, 5), (3, 3), (3, 3), (2, 3)]),
    "fewer": ("[MLP: {sizes: [4, 5, 3, 2]}]", 1, [(5, 4), (2, 5)]),
    "as many": ("[MLP: {sizes: [4, 5, 3, 2]}]", 2, [(5, 4), (3, 5), (2, 3)]),
    "in a group, beside others": (
        "[Linear: [9, 4], {name: net, MLP: {sizes: [4, 3, 2], activation: Tanh}}, Linear: [2, 6]]",
        2,
        [(4, 9), (3, 4), (3, 3), (2, 3), (6, 2)],
    ),
    "what is repeated": ("[Repeat: {times: 2, layers: [Linear: [4, 4], ReLU]}]", 3, [(4, 4)] * 3),
    "a Repeat before an MLP": (
        "[{name: body, Repeat: {times: 4, layers: [Residual: [Linear: [4, 4]]]}}, MLP: {sizes: [4, 3, 2]}]",
        1,
        [(4, 4), (3, 4), (2, 3)],
    ),
}


@pytest.mark.parametrize("what", DEEPER)
def test_the_depth_is_the_one_asked_for(what: str) -> None:
    layers, depth, shapes = DEEPER[what]
    net = build(with_depth(parse_spec(f"layers: {layers}", "s.yaml"), depth))
    assert [tuple(p.shape) for p in net.parameters() if p.dim() > 1] == shapes


def test_the_added_layers_have_the_mlps_own_activation_and_bias() -> None:
    spec = parse_spec("layers: [MLP: {sizes: [4, 3, 2], activation: {ELU: 0.5}, bias: false}]", "s.yaml")
    assert str(build(with_depth(spec, 2))) == (
        "Sequential(\n"
        "  (0): Linear(in_features=4, out_features=3, bias=False)\n"
        "  (1): ELU(alpha=0.5)\n"
        "  (2): Linear(in_features=3, out_features=3, bias=False)\n"
        "  (3): ELU(alpha=0.5)\n"
        "  (4): Linear(in_features=3, out_features=2, bias=False)\n"
        ")"
    )


HINT = "  it needs one Repeat, or one MLP with a hidden layer"
NOT_DEEPER = {
    "[Linear: [4, 3], ReLU, Linear: [3, 2]]": f"s.yaml: --depth: no MLP and no Repeat\n{HINT}",
    "[MLP: {sizes: [4, 2]}]": f"s.yaml: --depth: no MLP and no Repeat\n{HINT}",
    "[MLP: {sizes: [4, 3, 2]}, MLP: {sizes: [2, 3, 2]}]": (
        f"s.yaml: --depth: 2 layers are MLP: which one is the depth?\n{HINT}"
    ),
    "[Repeat: {times: 2, layers: [Repeat: {times: 2, layers: [ReLU]}]}]": (
        f"s.yaml: --depth: 2 layers are Repeat: which one is the depth?\n{HINT}"
    ),
}


@pytest.mark.parametrize("layers", NOT_DEEPER)
def test_a_depth_that_is_not_clear_is_refused(layers: str) -> None:
    with pytest.raises(UserError) as caught:
        with_depth(parse_spec(f"layers: {layers}", "s.yaml"), 2)
    assert (str(caught.value), caught.value.code) == (NOT_DEEPER[layers], "no-depth")
