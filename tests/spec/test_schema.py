"""The schema of a spec accepts what the parser accepts, and refuses what it refuses, item by item."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from paraminspect.errors import UserError
from paraminspect.spec.dtypes import DTYPES, FLOATING
from paraminspect.spec.parse import parse_spec
from paraminspect.spec.spec_schema import spec_schema
from paraminspect.spec.syntax import parse
from paraminspect.spec.tree import plain
from tests.cases import each


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(spec_schema({"normal": ("mean", "std")}))  # test_contract.py checks it


def refuses(text: str) -> bool:
    try:
        parse_spec(text, "s.yaml")
    except UserError:
        return True
    return False


def data(text: str) -> Any:
    return plain(parse(text, "s.yaml", "yaml"))


ACCEPTED = [
    "Linear: [4, 3]",
    "Linear: [4, 3, {bias: false}]",
    "Linear: [4, {out_features: 3}]",
    "Linear: [{in_features: 4, out_features: 3}]",
    "Linear: [4, 3, true, 'cuda:1', torch.float64]",
    "Linear: [4, 3, true, null, null, {}]",
    "Linear: {in_features: 4, out_features: 3, dtype: bfloat16, device: meta}",
    "LazyLinear: 3",
    "Tanh: []",
    "Tanh: null",
    "Conv2d: [3, 8, [3, 3], {padding: same}]",
    "LayerNorm: [[4, 3]]",
    "GELU: tanh",
    "BatchNorm1d: [3, {bias: false}]",
    "GaussianNLLLoss: [{full: true}]",
    "TransformerEncoder: [{TransformerEncoderLayer: [4, 2]}, 2, {LayerNorm: 4}]",
]
REFUSED = [
    "Linear: [4, 3, yes]",
    "Linear: [4, 0]",
    "Linear: [4, 3, {bia: false}]",
    "Linear: [4, 3, true, cpu, float32, 7]",
    "Linear: [4, 3, true, cpu, int64]",
    "Linear: [4, 3, true, 'cpu:0']",
    "Linear: [4, 3, true, cpu, float32, {}, {}]",
    "Linear: {in_features: 4, out_features: 3, dtype: int64}",
    "Linear: {in_features: 4, out_features: 3, device: 'cuda:'}",
    "Tanh: [1]",
    "Tanh: 1",
    "Conv2d: [3, 8, [3, 3, 3]]",
    "LayerNorm: [4, 3, 2]",
    "LayerNorm: [[]]",
    "GELU: tan",
    "GaussianNLLLoss: true",
    "GaussianNLLLoss: [true]",
    "TransformerEncoder: [4, 2]",
    "TransformerEncoder: [{TransformerEncoderLayer: [4, 2]}, 2, {norm: {LayerNorm: 4}}]",  # a layer is wanted there
]


@each("item", ACCEPTED)
def test_arguments_of_both(item: str, validator: jsonschema.Draft202012Validator) -> None:
    text = f"layers: [{{{item}}}]"
    assert not refuses(text)
    assert [error.message for error in validator.iter_errors(data(text))] == []


@each("item", REFUSED)
def test_arguments_of_neither(item: str, validator: jsonschema.Draft202012Validator) -> None:
    text = f"layers: [{{{item}}}]"
    assert refuses(text)
    assert not validator.is_valid(data(text))


WORDS = [
    *(f"dtype: {prefix}{name}" for name in DTYPES for prefix in ("", "torch.")),
    *(
        f"device: '{name}'"
        for name in ("cpu", "cuda", "mps:0", "xpu:12", "cpu:0", "cuda:", "cuda:01", "gpu", "cuda:100")
    ),
    *(f"seed: {seed}" for seed in (0, -1, 2**64 - 1, 2**64)),
]


@each("line", WORDS)
def test_the_same_words_and_numbers(line: str, validator: jsonschema.Draft202012Validator) -> None:
    text = f"layers: [ReLU]\n{line}"
    assert refuses(text) != validator.is_valid(data(text))


def test_a_parameter_has_a_dtype_with_gradients() -> None:
    assert [name for name in DTYPES if not refuses(f"layers: [ReLU]\ndtype: {name}")] == list(FLOATING)
