"""The JSON Schema of a spec, generated from the tables that validate it: an editor completes layers and arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from paraminspect.spec.items import SPECIAL
from paraminspect.spec.layers import LAYERS, MISSING, Param, signature
from paraminspect.spec.model import LOSSES
from paraminspect.spec.parse import KEYS
from paraminspect.spec.sizes import DEVICES, DTYPES

Schema = dict[str, Any]
_SIZE: Schema = {"type": "integer", "minimum": 1}
_NUMBER: Schema = {"type": "number"}


_ONE: dict[str, Schema] = {
    "size": _SIZE,
    "count": {"type": "integer", "minimum": 0},
    "int": {"type": "integer"},
    "float": _NUMBER,
    "probability": {"type": "number", "minimum": 0, "maximum": 1},
    "bool": {"type": "boolean"},
    "str": {"type": "string"},
    "dtype": {"type": "string"},
    "device": {"type": "string"},
    "layer": {"$ref": "#/$defs/item"},
}
_MANY = {"sizes": "size", "optional_sizes": "size", "counts": "count", "ints": "int", "floats": "float"}
_NOTHING: Schema = {"not": {}}  # what a spec cannot hold: a tensor, a function


def spec_schema(schemes: Mapping[str, tuple[str, ...]]) -> Schema:
    """Return the JSON Schema (2020-12) of a spec; `schemes` maps each scheme to its arguments' names."""
    layers = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/item"}}
    properties: dict[str, Schema] = {
        "name": {"type": "string"},
        "seed": {"type": "integer", "minimum": 0, "maximum": 2**64 - 1},
        "layers": layers,
        "input": {"anyOf": [{"type": "array", "items": _SIZE}, _input()]},
        "loss": {"enum": list(LOSSES)},
        "init": {"type": "array", "items": _rule(schemes)},
        "ties": {"type": "array", "items": {"type": "array", "minItems": 2, "items": {"type": "string"}}},
        "dtype": {"type": "string"},
        "device": {"enum": list(DEVICES)},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "paraminspect spec, version 1",
        "type": "object",
        "properties": {key: properties[key] for key in KEYS},
        "required": ["layers"],
        "additionalProperties": False,
        "$defs": {"item": _item(layers)},
    }


def _input() -> Schema:
    sample = {"type": "string", "pattern": r"^(uniform|normal|zeros|ones|-?\d+\.\.-?\d+)$"}
    dtype = {"enum": [*DTYPES, *(f"torch.{name}" for name in DTYPES)]}
    properties = {"shape": {"type": "array", "items": _SIZE}, "dtype": dtype, "sample": sample}
    return {"type": "object", "properties": properties, "required": ["shape"], "additionalProperties": False}


def _rule(schemes: Mapping[str, tuple[str, ...]]) -> Schema:
    arguments = sorted({name for names in schemes.values() for name in names})
    accepted = {"type": ["number", "string", "boolean"]}
    scheme = {"anyOf": [{"enum": [*schemes, *(f"{name}_" for name in schemes)]}, {"type": "string", "pattern": ":"}]}
    properties = {"params": {"type": "string"}, "scheme": scheme, **dict.fromkeys(arguments, accepted)}
    return {"type": "object", "properties": properties, "required": ["params", "scheme"], "additionalProperties": False}


def _item(layers: Schema) -> Schema:
    """Describe one item of `layers`: a class name alone, or one key with its arguments and perhaps a name."""
    bare = [name for name in LAYERS if all(p.default is not MISSING for p in signature(name))]
    keyed = {name: _arguments(name) for name in LAYERS} | _special(layers)
    one_key = [{"required": [name]} for name in keyed]
    mapping = {
        "type": "object",
        "properties": {"name": {"type": "string", "pattern": r"^[^.]+$"}, **keyed},
        "additionalProperties": False,
        "oneOf": one_key,
    }
    return {"anyOf": [{"enum": bare}, mapping]}


def _special(layers: Schema) -> dict[str, Schema]:
    repeat = {"times": _SIZE, "layers": layers}
    mlp = {
        "sizes": {"type": "array", "minItems": 2, "items": _SIZE},
        "activation": {"$ref": "#/$defs/item"},
        "bias": {"type": "boolean"},
    }
    known: dict[str, Schema] = {
        "Sequential": layers,
        "Residual": layers,
        "Repeat": {"type": "object", "properties": repeat, "required": [*repeat], "additionalProperties": False},
        "MLP": {"type": "object", "properties": mlp, "required": ["sizes"], "additionalProperties": False},
        "ref": {"type": ["integer", "string"]},
    }
    return {name: known[name] for name in SPECIAL}


def _arguments(layer: str) -> Schema:
    """Describe what may stand behind a layer's key: named arguments, a list of them, or the first one alone."""
    parameters = signature(layer)
    named = {
        "type": "object",
        "description": f"torch.nn.{layer}({LAYERS[layer]})",
        "properties": {p.name: _value(p) for p in parameters},
        "additionalProperties": False,
    }
    positional = {"type": "array"}
    alone = [_value(parameters[0])] if parameters else []
    return {"anyOf": [named, positional, {"type": "null"}, *alone]}


def _value(parameter: Param) -> Schema:
    kinds = [_kind(word) for word in parameter.type.split(" | ")]
    kinds += [{"type": "null"}] if parameter.optional else []
    return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}


def _kind(word: str) -> Schema:
    """Describe one of the table's type words: ``size``, ``sizes[2]``, ``[int]``, ``Literal['a', 'b']``."""
    if word.startswith("Literal"):
        return {"enum": re.findall(r"'([^']*)'", word)}
    if word.startswith("["):
        return {"type": "array", "items": _ONE[word[1:-1]]}
    base = word.partition("[")[0]
    if base not in _MANY:
        return _ONE.get(base, _NOTHING)
    one = _ONE[_MANY[base]]
    entry = {"anyOf": [one, {"type": "null"}]} if base.startswith("optional") else one
    return {"anyOf": [one, {"type": "array", "items": entry}]}
