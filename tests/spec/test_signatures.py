from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
import torch
from torch import nn

from paraminspect.spec.signatures import LAYERS, MISSING, Param, resolve, signature

OURS = {"PlainBiasLinear"}
LEFT_OUT = {
    "Container",
    "DataParallel",
    "Module",
    "ModuleDict",
    "ModuleList",
    "NLLLoss2d",
    "ParameterDict",
    "ParameterList",
    "RNNBase",
    "RNNCellBase",
    "Sequential",
}
VERSION = tuple(map(int, re.findall(r"\d+", torch.__version__)[:2]))
SINCE_2_13 = pytest.mark.skipif(VERSION < (2, 13), reason="the table is that of torch 2.13")
HIDDEN = {
    "GRU": "input_size hidden_size num_layers bias batch_first dropout bidirectional *device *dtype",
    "LSTM": "input_size hidden_size num_layers bias batch_first dropout bidirectional proj_size device dtype",
    "RNN": "input_size hidden_size num_layers nonlinearity bias batch_first dropout bidirectional *device *dtype",
}
MISANNOTATED = {("LazyConvTranspose2d", "dilation")}
KINDS = {
    "int": {"size", "count", "int", "sizes", "counts", "ints", "optional_sizes"},
    "float": {"float", "probability", "floats"},
    "bool": {"bool"},
    "str": {"Literal"},
    "Tensor": {"tensor"},
    "Module": {"layer"},
    "Callable": {"callable"},
}


def torch_names() -> set[str]:
    classes = {name: getattr(nn, name) for name in dir(nn)}
    return {name for name, cls in classes.items() if isinstance(cls, type) and issubclass(cls, nn.Module)}


def torch_params(name: str) -> list[inspect.Parameter]:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p for p in inspect.signature(getattr(nn, name)).parameters.values() if p.kind not in variadic]


def default_of(param: inspect.Parameter) -> Any:
    if param.default is torch.nn.functional.relu:
        return "relu"
    return MISSING if param.default is inspect.Parameter.empty else param.default


@SINCE_2_13
def test_the_table_holds_every_layer_of_torch() -> None:
    assert set(LAYERS) == (torch_names() - LEFT_OUT) | OURS


@SINCE_2_13
def test_names_order_and_defaults_are_those_of_torch() -> None:
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    for name in set(LAYERS) - OURS - set(HIDDEN):
        mine = [(p.name, repr(p.default), p.keyword_only) for p in signature(name)]
        assert mine == [(p.name, repr(default_of(p)), p.kind is keyword_only) for p in torch_params(name)], name


@pytest.mark.parametrize("name", sorted(HIDDEN))
def test_the_signatures_torch_hides_behind_args(name: str) -> None:
    assert " ".join("*" * p.keyword_only + p.name for p in signature(name)) == HIDDEN[name]


@pytest.mark.parametrize("name", sorted(HIDDEN))
def test_by_position_recurrent_layers_take_what_the_table_says(name: str) -> None:
    values = {"input_size": 3, "hidden_size": 5, "num_layers": 2, "nonlinearity": "relu", "bias": False}
    values |= {"batch_first": True, "dropout": 0.25, "bidirectional": True, "proj_size": 2}
    ordered = [p.name for p in signature(name) if not p.keyword_only and p.name in values]
    layer = getattr(nn, name)(*(values[key] for key in ordered), device="meta", dtype=torch.float64)
    assert {key: getattr(layer, key) for key in ordered} == {key: values[key] for key in ordered}


@SINCE_2_13
def test_types_fit_the_annotations_of_torch() -> None:
    for name in set(LAYERS) - OURS - set(HIDDEN):
        for mine, theirs in zip(signature(name), torch_params(name), strict=True):
            assert fits(mine, theirs) or (name, mine.name) in MISANNOTATED, (name, mine, theirs)


def fits(mine: Param, theirs: inspect.Parameter) -> bool:
    """Whether a type of ours says no more than the annotation; torch leaves some unannotated."""
    annotation = str(theirs.annotation)
    if mine.name in ("device", "dtype"):
        return (mine.type, mine.optional) == (mine.name, True)
    nullable = "None" in annotation or theirs.default is None
    if mine.optional != nullable and theirs.annotation is not inspect.Parameter.empty:
        return False
    words = {re.split(r"[\[ ]", word)[0] or "list" for word in mine.type.split(" | ")}
    allowed = {ours for word, kinds in KINDS.items() if re.search(rf"\b{word}\b", annotation) for ours in kinds}
    lengths = {
        len(found.split(",")) for found in re.findall(r"tuple\[((?:int|float)(?:, (?:int|float))*)\]", annotation)
    }
    mine_lengths = set(map(int, re.findall(r"\[(\d+)\]", mine.type)))
    return lengths == mine_lengths and (words <= allowed | {"list", "object", "layer", "Literal"} or not allowed)


def test_a_signature_is_parsed_into_params() -> None:
    assert signature("ConvTranspose1d")[2:5] + signature("GroupNorm")[-2:] == (
        Param("kernel_size", "sizes[1]", False, MISSING, False),
        Param("stride", "sizes[1]", False, 1, False),
        Param("padding", "counts[1]", False, 0, False),
        Param("dtype", "dtype", True, None, False),
        Param("bias", "bool", False, True, True),
    )
    assert signature("Conv1d")[4] == Param("padding", "counts[1] | Literal['same', 'valid']", False, 0, False)
    assert signature("Tanh") == ()


def test_the_signature_of_another_name_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        signature("Module")


def test_resolve_fills_in_defaults() -> None:
    given = {"in_features": 4, "bias": False}
    assert resolve("Linear", (4,), {"bias": False}) == given | {"device": None, "dtype": None}
