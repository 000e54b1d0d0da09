"""Every key of a spec: what it means, and the one message for what it cannot mean."""

from __future__ import annotations

import pytest
import torch  # only to prove the numbering agrees with nn.Sequential
from torch import nn

from paraminspect.errors import UserError
from paraminspect.spec.model import GroupItem, Input, LayerItem, Ref, Repeat, Rule, Tie, numbered, resolve_references
from paraminspect.spec.parse import parse_spec
from tests.cases import each


def test_a_whole_spec() -> None:
    spec = parse_spec(
        """
name: mlp
seed: 7
layers:
  - Linear: [4, 3]
  - ReLU
  - {name: out, Linear: {in_features: 3, out_features: 1}}
  - ref: out
input: {shape: [2, 4], sample: normal, dtype: float64}
loss: mean
init:
  - {params: "*.weight", scheme: normal, mean: 0, std: 1e-2}
ties: [[0.weight, out.weight]]
dtype: float64
device: "cuda:0"
""",
        "m.yaml",
    )
    assert spec.name == "mlp"
    assert (spec.seed, spec.loss, spec.dtype, spec.device) == (7, "mean", "float64", "cuda:0")
    assert spec.layers == (
        LayerItem("Linear", (4, 3), {}, None, "m.yaml:5:5"),
        LayerItem("ReLU", (), {}, None, "m.yaml:6:5"),
        LayerItem("Linear", (), {"in_features": 3, "out_features": 1}, "out", "m.yaml:7:17"),
        Ref("out", None, "m.yaml:8:10"),
    )
    assert spec.input == Input((2, 4), "normal", "float64", None, "m.yaml:9:8")
    assert spec.init == (Rule("*.weight", "normal", {"mean": 0, "std": 0.01}, "m.yaml:12:34"),)
    assert spec.ties == (Tie(("0.weight", "out.weight"), "m.yaml:13:8"),)


def test_json_says_the_same_as_yaml() -> None:
    text = '{"name": "n", "layers": [{"Linear": [4, 3]}, "ReLU", {"ref": 0}], "input": [2, 4]}'
    one, other = parse_spec(text, "a.json"), parse_spec(text, "a.yaml")
    assert [type(item) for item in one.layers] == [type(item) for item in other.layers] == [LayerItem, LayerItem, Ref]
    assert one.input is not None
    assert other.input is not None
    assert one.input.shape == other.input.shape == (2, 4)


def test_the_name_is_the_files_without_one_in_the_spec() -> None:
    assert parse_spec("layers: [ReLU]", "some/where/tiny.yaml").name == "tiny"
    assert parse_spec("layers: [ReLU]", "-").name == "spec"


def test_a_named_repeat_or_mlp_becomes_a_group() -> None:
    spec = parse_spec(
        "layers: [{name: a, Repeat: {times: 2, layers: [ReLU]}}, {name: b, MLP: {sizes: [2, 1]}}]", "s.yaml"
    )
    body, head = spec.layers
    assert isinstance(body, GroupItem)
    assert isinstance(body.layers[0], Repeat)
    assert isinstance(head, GroupItem)
    assert head.layers == (LayerItem("Linear", (2, 1), {}, None, "s.yaml:1:67"),)


def test_children_are_numbered_as_sequential_numbers_them() -> None:
    spec = parse_spec("layers: [ReLU, Repeat: {times: 2, layers: [ReLU, Tanh]}, ReLU]", "s.yaml")
    by_torch = nn.Sequential(*[nn.ReLU() for _ in range(6)])
    assert [name for name, _ in numbered(spec.layers)] == [name for name, _ in by_torch.named_children()]
    assert torch.__version__


START = "a spec starts like this:\n  layers:\n    - Linear: [4, 3]\n    - ReLU"
WRONG = [
    ("[]", "s.yaml:1:1: the spec must be a mapping, got a list\n  " + START),
    ("seed: 1", "s.yaml:1:1: the spec has no layers\n  " + START),
    ("layers: []", "s.yaml:1:9: layers is empty\n  for example: - Linear: [4, 3]"),
    (
        "layers: 3",
        "s.yaml:1:9: layers must be a list, got the number 3\n  every layer starts with a dash: - Linear: [4, 3]",
    ),
    ("layer: [ReLU]", "s.yaml:1:1: unknown key 'layer' in the spec\n  did you mean 'layers'?"),
    ("layers: [ReLU]\nseed: -1", "s.yaml:2:7: seed must be from 0 to 18446744073709551615, got -1"),
    ("layers: [ReLU]\nseed: true", "s.yaml:2:7: seed must be an integer, got true"),
    ("layers: [ReLU]\nseed: 1.5", "s.yaml:2:7: seed must be an integer, got the number 1.5"),
    ("layers: [ReLU]\nname: 3", "s.yaml:2:7: name must be a text, got the number 3"),
    ("layers: [ReLU]\nloss: summ", "s.yaml:2:7: loss: unknown value 'summ'\n  did you mean 'sum'?"),
    ("layers: [ReLU]\ndtype: float16x", "s.yaml:2:8: dtype: unknown value 'float16x'\n  did you mean 'float16'?"),
    ("layers: [ReLU]\ndtype: int64", "s.yaml:2:8: dtype: unknown value 'int64'\n  "),
    (
        "layers: [ReLU]\ndevice: gpu",
        "s.yaml:2:9: device: unknown device 'gpu'\n  did you mean 'cuda'?",
    ),
    ("layers: [Relu]", "s.yaml:1:10: layers[0]: unknown layer 'Relu'\n  did you mean 'ReLU'?"),
    ("layers: [Module]", "s.yaml:1:10: layers[0]: unknown layer 'Module'"),
    ("layers: [functional]", "s.yaml:1:10: layers[0]: unknown layer 'functional'"),
    ("layers: [nn.Linear: [4, 3]]", "s.yaml:1:10: layers[0]: unknown layer 'nn.Linear'\n  write 'Linear'"),
    ("layers: [os.system: ls]", "s.yaml:1:10: layers[0]: unknown layer 'os.system'"),
    (
        "layers: [{Linear: [4, 3], ReLU: }]",
        "s.yaml:1:27: layers[0] has more than one layer key: Linear, ReLU\n  put 'ReLU' in a list item of its own",
    ),
    (
        "layers: [{Linear: , in_features: 4}]",
        "s.yaml:1:21: layers[0] has more than one layer key: Linear, in_features\n  put 'in_features'",
    ),
    ("layers: [{name: x}]", "s.yaml:1:10: layers[0] names no layer\n  for example: - Linear: [4, 3]"),
    (
        "layers: [{name: a.b, ReLU: }]",
        "s.yaml:1:17: layers[0].name: a child's name cannot be empty or contain a dot, got 'a.b'",
    ),
    ("layers: [[ReLU]]", "s.yaml:1:10: layers[0] must be a layer, got a list\n  for example: - Linear: [4, 3]"),
    ("layers: [Repeat: {times: 0, layers: [ReLU]}]", "s.yaml:1:26: layers[0].Repeat.times must be at least 1, got 0"),
    (
        "layers: [Repeat: {layers: [ReLU]}]",
        "s.yaml:1:10: layers[0].Repeat needs 'times'\n  for example: - Repeat: {times: 3, layers: [Linear: [4, 4], ReLU]}",
    ),
    (
        "layers: [Repeat]",
        "s.yaml:1:10: layers[0]: Repeat needs a value\n  for example: - Repeat: {times: 3, layers: [Linear: [4, 4], ReLU]}",
    ),
    (
        "layers: [MLP: {sizes: [3]}]",
        "s.yaml:1:23: layers[0].MLP.sizes needs at least two widths: the input's and the output's",
    ),
    ("layers: [MLP: {sizes: [3, 0]}]", "s.yaml:1:27: layers[0].MLP.sizes[1] must be at least 1, got 0"),
    (
        "layers: [MLP: {sizes: [3, 2], activation: Repeat}]",
        "s.yaml:1:43: layers[0].MLP.activation: Repeat needs a value\n  ",
    ),
    (
        "layers: [MLP: {sizes: [3, 2], bias: 1}]",
        "s.yaml:1:37: layers[0].MLP.bias must be true or false, got the number 1",
    ),
    (
        "layers: [ref: -1]",
        "s.yaml:1:15: layers[0].ref must be the name or the number of an earlier layer, got the number -1\n  for example: - ref: 0",
    ),
    ("layers: [ReLU]\ninput: {}", "s.yaml:2:8: input needs a shape\n  for example: shape: [2, 4]"),
    ("layers: [ReLU]\ninput: [0]", "s.yaml:2:9: input[0] must be at least 1, got 0"),
    (
        "layers: [ReLU]\ninput: {shape: [2], sample: unifrom}",
        "s.yaml:2:29: unknown sample 'unifrom'\n  did you mean 'uniform'?",
    ),
    (
        "layers: [ReLU]\ninput: {shape: [2], dtype: float23}",
        "s.yaml:2:28: unknown dtype or sample 'float23'\n  did you mean 'float32'?",
    ),
    ("layers: [ReLU]\ninput: {shape: [2], sample: 9..0}", "s.yaml:2:8: 9..0: the low end is above the high end"),
    (
        "layers: [ReLU]\ninput: {shape: [2], dtype: int64}",
        "s.yaml:2:8: uniform numbers cannot be drawn as int64\n  give a range of integers, e.g. sample 0..9",
    ),
    ("layers: [ReLU]\ninit: {}", "s.yaml:2:7: init must be a list, got a mapping"),
    (
        "layers: [ReLU]\ninit: [{scheme: normal}]",
        "s.yaml:2:8: init[0] needs 'params'\n  for example: - {params: \"*.weight\", scheme: normal, std: 0.01}",
    ),
    (
        "layers: [ReLU]\nties: [[a.weight]]",
        "s.yaml:2:8: ties[0] needs at least two different names\n  for example: ties: [[decoder.weight, encoder.weight]]",
    ),
    ("layers: [ReLU]\nties: [[a, a]]", "s.yaml:2:8: ties[0] needs at least two different names\n  "),
]


@each(("text", "message"), WRONG)
def test_what_a_spec_cannot_say(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_spec(text, "s.yaml")
    assert str(caught.value).startswith(message)
    if not message.endswith(("  ", "'Module'", "'functional'", "'os.system'", "list item of its own", "'in_features'")):
        assert str(caught.value) == message


NAMES = [
    ("layers: [{name: a, ReLU: }, {name: a, Tanh: }]", "s.yaml:1:39: two layers would be called 'a'\n  "),
    ("layers: [{name: '1', ReLU: }, Tanh]", "s.yaml:1:31: two layers would be called '1'\n  "),
    (
        "layers: [Repeat: {times: 2, layers: [{name: a, ReLU: }]}]",
        "s.yaml:1:48: two layers would be called 'a'\n  inside Repeat, leave the name out",
    ),
    ("layers: [ref: 0]", "s.yaml:1:15: ref points to itself\n  name an earlier layer"),
    ("layers: [ReLU, ref: 1]", "s.yaml:1:21: ref points to itself\n  name an earlier layer"),
    (
        "layers: [ReLU, ref: 2, ReLU]",
        "s.yaml:1:21: ref: '2' is not a layer that stands before this one\n  layers before this one: 0",
    ),
    (
        "layers: [{name: body, ReLU: }, ref: boddy]",
        "s.yaml:1:37: ref: 'boddy' is not a layer that stands before this one\n  did you mean 'body'?",
    ),
    (
        "layers: [{name: a, Sequential: [ref: a]}]",
        "s.yaml:1:38: ref: 'a' is not a layer that stands before this one\n  layers before this one: none",
    ),
]


@each(("text", "message"), NAMES)
def test_names_and_references(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve_references(parse_spec(text, "s.yaml"))
    assert str(caught.value).startswith(message)
