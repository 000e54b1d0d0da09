from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from paraminspect.errors import UserError
from paraminspect.spec.arguments import Bound, bind, unknown_layer
from paraminspect.spec.signatures import LAYERS
from paraminspect.spec.syntax import parse
from paraminspect.spec.tree import Mark, Node, Scalar, Sequence, plain
from tests.cases import each

MARK = Mark("s", 1, 1)
ENCODER = "{TransformerEncoderLayer: [4, 2]}"
LINEAR = (
    "Linear(in_features: size, out_features: size, bias: bool = True, "
    "device: device | None = None, dtype: dtype | None = None)"
)


def nested(node: Node, path: str) -> Any:
    return path, plain(node)


def bound(layer: str, text: str) -> Bound:
    node = parse(text, "s", "yaml") if text else Scalar(None, MARK)
    return bind(layer, node, f"layers[2].{layer}", nested=nested, where="s:1:1")


@each(
    ("layer", "text", "args", "kwargs"),
    [
        ("ReLU", "", (), {}),
        ("ReLU", "[]", (), {}),
        ("ReLU", "{}", (), {}),
        ("ReLU", "true", (True,), {}),
        ("Linear", "[4, 3]", (4, 3), {}),
        ("Linear", "[4, 3, {bias: false}]", (4, 3), {"bias": False}),
        ("Linear", "[{in_features: 4, out_features: 3}]", (), {"in_features": 4, "out_features": 3}),
        ("Linear", "{out_features: 3, in_features: 4}", (), {"out_features": 3, "in_features": 4}),
        ("Linear", "[4, 9223372036854775807, true, cpu, null]", (4, 2**63 - 1, True, "cpu", None), {}),
        (
            "Linear",
            " [4, 3, {dtype: torch.float64, device: 'cuda:0'}]",
            (4, 3),
            {"dtype": "float64", "device": "cuda:0"},
        ),
        ("LazyLinear", "10", (10,), {}),
        ("Dropout", "0.5", (0.5,), {}),
        ("Dropout", "1", (1,), {}),
        ("GELU", "tanh", ("tanh",), {}),
        ("Conv2d", "[3, 8, [3, 5], {padding: same}]", (3, 8, (3, 5)), {"padding": "same"}),
        ("Conv2d", "[3, 8, 3, {padding: [0, 1]}]", (3, 8, 3), {"padding": (0, 1)}),
        ("ZeroPad1d", "[[-1, 2]]", ((-1, 2),), {}),
        ("Upsample", "{scale_factor: [1.5, 2]}", (), {"scale_factor": (1.5, 2)}),
        ("LayerNorm", "[[3, 4]]", ((3, 4),), {}),
        ("AdaptiveAvgPool2d", "[[null, 7]]", ((None, 7),), {}),
        ("AdaptiveAvgPool2d", "[null]", (None,), {}),
        ("BatchNorm1d", "[3, {momentum: null, bias: false}]", (3,), {"momentum": None, "bias": False}),
        ("CrossEntropyLoss", "[null, null, 3]", (None, None, 3), {}),
        ("LinearCrossEntropyLoss", "[3, 4, {out_features: []}]", (3, 4), {"out_features": ()}),
        ("Unflatten", "[1, [2, -1]]", (1, (2, -1)), {}),
        (
            "TransformerEncoder",
            f"[{ENCODER}, 2, {{LayerNorm: 4}}]",
            (
                ("layers[2].TransformerEncoder[0]", {"TransformerEncoderLayer": [4, 2]}),
                2,
                ("layers[2].TransformerEncoder[2]", {"LayerNorm": 4}),
            ),
            {},
        ),
        (
            "TransformerEncoder",
            f"[{ENCODER}, 2, null, {{mask_check: false}}]",
            (("layers[2].TransformerEncoder[0]", {"TransformerEncoderLayer": [4, 2]}), 2, None),
            {"mask_check": False},
        ),
        (
            "Transformer",
            "{custom_encoder: Identity}",
            (),
            {"custom_encoder": ("layers[2].Transformer.custom_encoder", "Identity")},
        ),
    ],
)
def test_arguments_are_returned_as_written(layer: str, text: str, args: Any, kwargs: Any) -> None:
    assert bound(layer, text) == Bound(args, kwargs)


def test_no_node_is_no_arguments() -> None:
    assert bind("Tanh", None, "layers[0].Tanh", nested=nested, where="s:1:1") == Bound((), {})


def test_without_a_node_the_place_is_that_of_the_layer_key() -> None:
    with pytest.raises(UserError) as caught:
        bind("LazyLinear", None, "layers[0].LazyLinear", nested=nested, where="s:7:5")
    assert (caught.value.where, caught.value.message) == ("s:7:5", "layers[0].LazyLinear needs out_features")


DTYPES = "known: float32, float64, float16, bfloat16, complex64, complex128"
DEVICES = "known: cpu, cuda, mps, xpu, meta, and cuda:0 for one of several"
SIZE = "must be an integer of at least 1"


@each(
    ("layer", "text", "column", "message", "hint"),
    [
        (
            "Linear",
            "{in_feature: 4}",
            2,
            "Linear.in_feature: Linear has no such argument",
            "did you mean 'in_features'?",
        ),
        ("Linear", "[4, {'a b': 4}]", 6, "Linear.'a b': Linear has no such argument", LINEAR),
        ("Tanh", "{a: 4}", 2, "Tanh.a: Tanh has no such argument", "Tanh takes no arguments"),
        ("Linear", "", 1, "Linear needs in_features and out_features", LINEAR),
        ("Linear", "4", 1, "Linear needs out_features", LINEAR),
        ("Linear", "{out_features: 4}", 1, "Linear needs in_features", LINEAR),
        ("Linear", "[4, 3, true, cpu, float32, 7]", 28, "Linear takes at most 5 arguments by position, got 6", LINEAR),
        ("ReLU", "[true, false]", 8, "ReLU takes at most 1 argument by position, got 2", "ReLU(inplace: bool = False)"),
        ("Tanh", "3", 1, "Tanh takes no argument by position, got 1", "Tanh takes no arguments"),
        (
            "Linear",
            "[4, 3, {in_features: 4}]",
            9,
            "Linear.in_features is given twice, by position (layers[2].Linear[0]) and by name",
            "keep one of them",
        ),
        ("Linear", "[4, 0]", 5, "Linear[1] (out_features) must be at least 1, got 0", ""),
        ("Linear", "{in_features: -4, out_features: 3}", 15, "Linear.in_features must be at least 1, got -4", ""),
        (
            "Linear",
            "[4, 9223372036854775808]",
            5,
            "Linear[1] (out_features) must be at most 9223372036854775807, got 9223372036854775808",
            "",
        ),
        ("Linear", "[4, true]", 5, f"Linear[1] (out_features) {SIZE}, got true", ""),
        ("Linear", "[4, null]", 5, f"Linear[1] (out_features) {SIZE}, got nothing", ""),
        ("Linear", "[4, 1e3]", 5, f"Linear[1] (out_features) {SIZE}, got the number 1000.0", "write 1000"),
        ("Linear", "[4, 3.5]", 5, f"Linear[1] (out_features) {SIZE}, got the number 3.5", ""),
        ("Linear", "[4, '3']", 5, f"Linear[1] (out_features) {SIZE}, got the text '3'", "write it without quotes"),
        ("Linear", "[4, three]", 5, f"Linear[1] (out_features) {SIZE}, got the text 'three'", ""),
        ("Linear", "[4, [3]]", 5, f"Linear[1] (out_features) {SIZE}, got a list", ""),
        ("Linear", "[{a: 1}, 3]", 2, f"Linear[0] (in_features) {SIZE}, got a mapping", ""),
        ("Linear", "[4, 3, no]", 8, "Linear[2] (bias) must be true or false, got the text 'no'", "write false"),
        ("Linear", "[4, 3, On]", 8, "Linear[2] (bias) must be true or false, got the text 'On'", "write true"),
        ("Linear", "[4, 3, 1]", 8, "Linear[2] (bias) must be true or false, got the number 1", ""),
        ("Linear", "[4, 3, {dtype: flot32}]", 16, "Linear.dtype: unknown dtype 'flot32'", "did you mean 'float32'?"),
        ("Linear", "[4, 3, {dtype: os.system}]", 16, "Linear.dtype: unknown dtype 'os.system'", DTYPES),
        ("Linear", "[4, 3, {dtype: int64}]", 16, "Linear.dtype: a layer cannot have the dtype 'int64'", DTYPES),
        (
            "Linear",
            "[4, 3, {dtype: 64}]",
            16,
            "Linear.dtype must be a dtype such as 'float64', or null, got the number 64",
            "",
        ),
        ("Linear", "[4, 3, {device: cuda0}]", 17, "Linear.device: unknown device 'cuda0'", DEVICES),
        ("Linear", "[4, 3, {device: 'cpu:0'}]", 17, "Linear.device: unknown device 'cpu:0'", DEVICES),
        ("Linear", "[4, 3, {device: 'cuda:'}]", 17, "Linear.device: unknown device 'cuda:'", DEVICES),
        (
            "Linear",
            "[4, 3, {device: 0}]",
            17,
            "Linear.device must be a device such as 'cpu' or 'cuda:0', or null, got the number 0",
            "",
        ),
        ("Dropout", "1.5", 1, "Dropout[0] (p) must be at most 1, got 1.5", ""),
        ("Dropout", "-1", 1, "Dropout[0] (p) must be at least 0, got -1", ""),
        ("Dropout", "half", 1, "Dropout[0] (p) must be a number from 0 to 1, got the text 'half'", ""),
        ("BatchNorm1d", "[3, {eps: null}]", 11, "BatchNorm1d.eps must be a number, got nothing", ""),
        (
            "GELU",
            "tan",
            1,
            "GELU[0] (approximate) must be one of 'none', 'tanh', got the text 'tan'",
            "did you mean 'tanh'?",
        ),
        (
            "Embedding",
            "[3, 2, 1.5]",
            8,
            "Embedding[2] (padding_idx) must be an integer, or null, got the number 1.5",
            "",
        ),
        ("Conv2d", "[3, 8, [3, 3, 3]]", 8, "Conv2d[2] (kernel_size) must have 2 entries, got 3", ""),
        ("Conv1d", "[3, 8, []]", 8, "Conv1d[2] (kernel_size) must have 1 entry, got 0", ""),
        ("Conv2d", "[3, 8, [3, 0]]", 12, "Conv2d[2][1] (kernel_size) must be at least 1, got 0", ""),
        ("Conv2d", "[3, 8, 3, {stride: [1, a]}]", 24, f"Conv2d.stride[1] {SIZE}, got the text 'a'", ""),
        (
            "Conv2d",
            "[3, 8, 3, {padding: sam}]",
            21,
            "Conv2d.padding must be an integer of at least 0, or a list of 2, or one of 'same', 'valid', "
            "got the text 'sam'",
            "did you mean 'same'?",
        ),
        ("LayerNorm", "[[]]", 2, "LayerNorm[0] (normalized_shape) must have at least 1 entry, got 0", ""),
        (
            "LayerNorm",
            "[[" + "1," * 65 + "]]",
            2,
            "LayerNorm[0] (normalized_shape) must have at most 64 entries, got 65",
            "",
        ),
        ("MaxPool2d", "a", 1, f"MaxPool2d[0] (kernel_size) {SIZE}, or a list of them, got the text 'a'", ""),
        (
            "AdaptiveAvgPool2d",
            "[[a]]",
            3,
            f"AdaptiveAvgPool2d[0][0] (output_size) {SIZE}, or null, got the text 'a'",
            "",
        ),
        (
            "Unflatten",
            "[1, 2]",
            5,
            "Unflatten[1] (unflattened_size) must be a list, each entry an integer, got the number 2",
            "",
        ),
        (
            "TransformerEncoder",
            "[3, 2]",
            2,
            "TransformerEncoder[0] (encoder_layer) must be a layer, got the number 3",
            "",
        ),
        ("BCELoss", "{weight: [1, 2]}", 10, "BCELoss.weight takes a tensor, which a spec cannot hold", "leave it out"),
        (
            "TripletMarginWithDistanceLoss",
            "{distance_function: f}",
            21,
            "TripletMarginWithDistanceLoss.distance_function takes a function, which a spec cannot hold",
            "leave it out",
        ),
        (
            "SyncBatchNorm",
            "[3, {process_group: 0}]",
            21,
            "SyncBatchNorm.process_group takes an object, which a spec cannot hold",
            "leave it out",
        ),
    ],
)
def test_wrong_arguments_are_refused(layer: str, text: str, column: int, message: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        bound(layer, text)
    assert caught.value.where == f"s:1:{column}"
    assert caught.value.message == f"layers[2].{message}"
    assert caught.value.hint == hint


OTHER = "a layer is a class of torch.nn, such as Linear, ReLU or Conv2d"


@each(
    ("name", "hint"),
    [
        ("linear", "did you mean 'Linear'?"),
        ("relu", "did you mean 'ReLU'?"),
        ("Linera", "did you mean 'Linear'?"),
        ("repeat", "did you mean 'Repeat'?"),
        ("nn.Linear", "write 'Linear'"),
        ("torch.nn.ReLU", "write 'ReLU'"),
        ("torch.nn.modules.linear.Linear", "write 'Linear'"),
        ("os.system", OTHER),
        ("Module", OTHER),
        ("", OTHER),
    ],
)
def test_an_unknown_layer_gets_a_suggestion(name: str, hint: str) -> None:
    found = unknown_layer(name, "s:3:5", "layers[0]", extra=("Sequential", "Repeat"))
    assert str(found) == f"s:3:5: layers[0]: unknown layer {name!r}\n  {hint}"
    assert found.code == "spec-unknown-layer"


def test_a_long_name_is_cut() -> None:
    assert unknown_layer("x" * 500, "s:3:5", "layers[0]", extra=()).message == f"layers[0]: unknown layer '{'x' * 39}…'"


SCALARS = st.none() | st.booleans() | st.integers(-(10**99), 10**99) | st.floats(allow_nan=False) | st.text(max_size=5)
NODES = st.recursive(
    SCALARS.map(lambda value: Scalar(value, MARK)),
    lambda inner: st.lists(inner, max_size=5).map(lambda items: Sequence(tuple(items), MARK)),
    max_leaves=6,
)


@given(layer=st.sampled_from(sorted(LAYERS)), node=NODES)
@settings(max_examples=150, deadline=None)
def test_any_node_is_bound_or_an_error_of_the_user(layer: str, node: Node) -> None:
    try:
        result = bind(layer, node, "p", nested=nested, where="s:1:1")
    except UserError as error:
        assert error.where == "s:1:1"
    else:
        assert isinstance(result, Bound)
