from __future__ import annotations

import ast
import math
import re
import warnings
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings, strategies as st
from torch import nn

from paraminspect.errors import UserError
from paraminspect.spec.model import LayerItem
from paraminspect.spec.shapes import MAX_TENSORS, buffer_shapes, parameter_shapes
from paraminspect.spec.signatures import LAYERS, MISSING, Param, resolve, signature
from tests.cases import each

BUILT = sorted(name for name in LAYERS if hasattr(nn, name))


def nested(type: str, *args: Any, **kwargs: Any) -> LayerItem:
    """What the reader of layers returns for a layer that is an argument."""
    return LayerItem(type, args, kwargs, None, "")


def build(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> nn.Module:
    def made(value: Any) -> Any:
        return build(value.type, value.args, value.kwargs) if isinstance(value, LayerItem) else value

    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        return getattr(nn, name)(*map(made, args), **{key: made(value) for key, value in kwargs.items()})


def built_shapes(module: nn.Module) -> tuple[Counter[Any], Counter[Any]]:
    return Counter(tuple(p.shape) for p in module.parameters()), Counter(tuple(b.shape) for b in module.buffers())


def computed_shapes(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Counter[Any], Counter[Any]]:
    arguments = resolve(name, args, kwargs)
    return Counter(parameter_shapes(name, arguments)), Counter(buffer_shapes(name, arguments))


NO_BIAS = {"bias": False}
ENCODER = nested("TransformerEncoderLayer", 4, 2, 6)
DECODER = nested("TransformerDecoderLayer", 4, 2, dim_feedforward=6, bias=False)
BATCH_NORM = nested("BatchNorm1d", 4)


CASES: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("Linear", (4, 3), {}),
    ("Linear", (4, 3), NO_BIAS),
    ("Linear", (2**36, 2**20), {}),
    ("Bilinear", (2, 3, 4), {}),
    ("Bilinear", (2, 3, 4), NO_BIAS),
    ("Conv1d", (4, 8, 3), {"groups": 2}),
    ("Conv2d", (4, 8, (3, 5)), {"padding": "same"}),
    ("Conv3d", (4, 8, 2), NO_BIAS),
    ("ConvTranspose1d", (4, 8, 3), {"groups": 2}),
    ("ConvTranspose2d", (4, 8, (3, 5)), {}),
    ("ConvTranspose3d", (4, 8, 3), NO_BIAS),
    ("Embedding", (10, 3), {"padding_idx": -1}),
    ("EmbeddingBag", (10, 3), {"mode": "sum"}),
    ("BatchNorm1d", (3,), {}),
    ("BatchNorm2d", (3,), {"affine": False}),
    ("BatchNorm3d", (3,), {"track_running_stats": False}),
    ("InstanceNorm1d", (3,), {}),
    ("InstanceNorm2d", (3,), {"affine": True, "track_running_stats": True}),
    ("SyncBatchNorm", (3,), {}),
    ("GroupNorm", (2, 4), {}),
    ("GroupNorm", (2, 4), {"affine": False}),
    ("LayerNorm", (3,), {}),
    ("LayerNorm", ((2, 3),), NO_BIAS),
    ("LayerNorm", (3,), {"elementwise_affine": False}),
    ("RMSNorm", ((2, 3),), {}),
    ("RMSNorm", (3,), {"elementwise_affine": False}),
    ("PReLU", (), {}),
    ("PReLU", (5,), {}),
    ("RNN", (3, 5, 2, "relu"), {}),
    ("RNN", (3, 5, 3), {"bidirectional": True, "bias": False}),
    ("GRU", (3, 5, 2), {"bidirectional": True}),
    ("LSTM", (3, 5), {}),
    ("LSTM", (3, 5, 3), {"bidirectional": True, "proj_size": 2}),
    ("LSTM", (3, 5, 2), {"bias": False, "proj_size": 4}),
    ("RNNCell", (3, 5), {}),
    ("GRUCell", (3, 5), NO_BIAS),
    ("LSTMCell", (3, 5), {}),
    ("MultiheadAttention", (4, 2), {}),
    ("MultiheadAttention", (4, 2), NO_BIAS),
    ("MultiheadAttention", (4, 2), {"kdim": 3, "add_bias_kv": True}),
    ("MultiheadAttention", (4, 2), {"kdim": 4, "vdim": 4}),
    ("MultiheadAttention", (4, 2), {"vdim": 5, "bias": False, "add_zero_attn": True}),
    ("TransformerEncoderLayer", (4, 2), {}),
    ("TransformerDecoderLayer", (4, 2, 6), NO_BIAS),
    ("TransformerEncoder", (ENCODER, 2), {}),
    ("TransformerEncoder", (ENCODER, 0, nested("LayerNorm", 4)), {}),
    ("TransformerEncoder", (nested("TransformerEncoder", ENCODER, 2), 3, BATCH_NORM), {}),
    ("TransformerDecoder", (DECODER, 2), {"norm": BATCH_NORM}),
    ("Transformer", (), {}),
    ("Transformer", (4, 2, 1, 2, 6), NO_BIAS),
    ("Transformer", (4, 2), {"custom_encoder": BATCH_NORM, "num_decoder_layers": 0}),
    ("Transformer", (4, 2), {"custom_decoder": nested("Identity"), "num_encoder_layers": 1}),
    ("AdaptiveLogSoftmaxWithLoss", (8, 20, (4, 10)), {}),
    ("AdaptiveLogSoftmaxWithLoss", (8, 20, (4,)), {"div_value": 1.5, "head_bias": True}),
    ("AdaptiveLogSoftmaxWithLoss", (9, 20, (1, 2, 3)), {"div_value": 2}),
    ("LinearCrossEntropyLoss", (3, 4), {}),
    ("LinearCrossEntropyLoss", (3, 4), {"out_features": (2, 5), "bias": True}),
]


@each(("name", "args", "kwargs"), CASES)
def test_shapes_are_those_torch_builds(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    assert computed_shapes(name, args, kwargs) == built_shapes(build(name, args, kwargs))


# --- every class, arguments by chance ----------------------------------------------------------------------

LENGTHS = {"Unflatten": {"unflattened_size": (2, 3)}, "AdaptiveLogSoftmaxWithLoss": {"n_classes": 9}}
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "size": st.sampled_from([1, 2, 4]),
    "count": st.sampled_from([0, 1, 2]),
    "int": st.integers(-1, 1),
    "float": st.sampled_from([0.5, 1.0, 2]),
    "probability": st.sampled_from([0, 0.5, 1]),
    "bool": st.booleans(),
}
LAYER = st.sampled_from([ENCODER, DECODER, BATCH_NORM, nested("Linear", 2, 3)])


def values(name: str, param: Param) -> st.SearchStrategy[Any]:
    """Return a strategy for what a spec may give for `param`."""
    word = param.type.split(" | ")[0]
    base, _, length = word.rstrip("]").partition("[")
    if param.name in LENGTHS.get(name, {}):
        return st.just(LENGTHS[name][param.name])
    if word in ("tensor", "callable", "object", "dtype", "device"):
        return st.none()
    if word.startswith("Literal"):
        return st.sampled_from(ast.literal_eval(word.removeprefix("Literal")))
    if word.startswith("["):
        return st.lists(st.integers(1, 8), min_size=1, max_size=3, unique=True).map(lambda items: tuple(sorted(items)))
    if base == "layer":
        strategy = LAYER
    elif base in SCALARS:
        strategy = SCALARS[base]
    else:
        entry = SCALARS[base.removeprefix("optional_").removesuffix("s")]
        strategy = entry | (st.tuples(*[entry] * int(length)) if length else st.lists(entry, min_size=1).map(tuple))
    return st.none() | strategy if param.optional else strategy


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    owners = sorted({name for name, _, _ in CASES} - {"Transformer"})  # six layers twice take too long to build
    name = draw(st.sampled_from(owners) | st.sampled_from([name for name in BUILT if name != "Transformer"]))
    given = [p for p in signature(name) if p.default is MISSING or draw(st.booleans())]
    return name, {p.name: draw(values(name, p)) for p in given}


@given(call=calls())
@settings(max_examples=300, deadline=None)
def test_shapes_of_any_call_that_torch_accepts(call: tuple[str, dict[str, Any]]) -> None:
    name, kwargs = call
    computed = computed_shapes(name, (), kwargs)
    try:
        module = build(name, (), kwargs)
    except Exception:  # sizes that do not go together, as 3 channels in 2 groups
        assume(False)
    if name.startswith("Lazy"):
        assert computed == (Counter(), Counter())
    else:
        assert computed == built_shapes(module)


@each("name", BUILT)
def test_every_class_is_built_from_what_the_table_requires(name: str) -> None:
    least = {"size": 4, "sizes": 4, "optional_sizes": 4, "int": 1, "ints": 1, "float": 1.0, "count": 2}
    least |= {"[int]": (2, 3), "[size]": (1, 3), "layer": ENCODER if "Encoder" in name else DECODER}
    required = [p for p in signature(name) if p.default is MISSING]
    kwargs = {p.name: least[re.sub(r"(?<=\w)\[\d\]", "", p.type)] for p in required}
    kwargs |= {"output_size": 4} if name.startswith("Fractional") else {}
    module = build(name, (), kwargs)
    computed = computed_shapes(name, (), kwargs)
    assert computed == ((Counter(), Counter()) if name.startswith("Lazy") else built_shapes(module))


def test_our_own_class() -> None:
    assert computed_shapes("PlainBiasLinear", (4, 3), {}) == (Counter([(3, 4)]), Counter())


def test_integers_never_wrap() -> None:
    shapes = parameter_shapes("Linear", resolve("Linear", (2**62, 2**62), {}))
    assert sum(map(math.prod, shapes)) == 2**124 + 2**62


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("LSTM", (3, 5, 10**15)),
        ("TransformerEncoder", (ENCODER, 10**15)),
        ("Transformer", (4, 2, 10**15)),
        ("TransformerEncoder", (nested("TransformerEncoder", ENCODER, 8_000), 8_000)),
    ],
)
def test_a_layer_of_countless_tensors_is_refused(name: str, args: tuple[Any, ...]) -> None:
    with pytest.raises(UserError, match=rf"^one layer would own \d+ tensors; at most {MAX_TENSORS} are read"):
        parameter_shapes(name, resolve(name, args, {}))


@pytest.mark.parametrize("div_value", [0, 0.0, -1, 1e308, 10**99])
def test_a_div_value_torch_cannot_use_is_left_to_torch(div_value: float) -> None:
    arguments = resolve("AdaptiveLogSoftmaxWithLoss", (8, 20, (4, 10)), {"div_value": div_value})
    assert parameter_shapes("AdaptiveLogSoftmaxWithLoss", arguments)[0] == (6, 8)


def test_a_nested_layer_of_another_kind_has_no_known_shapes() -> None:
    assert computed_shapes("TransformerEncoder", (nested("Sequential"), 2), {}) == (Counter(), Counter())
