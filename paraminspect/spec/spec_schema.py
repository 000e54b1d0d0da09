"""The JSON Schema of a spec, generated from the tables that validate it: an editor completes layers and arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paraminspect.spec.dtypes import DEVICE_PATTERN, DTYPES, FLOATING, SEEDS
from paraminspect.spec.model import LOSSES
from paraminspect.spec.parse import KEYS, SPECIAL
from paraminspect.spec.signatures import ELEMENT, LAYERS, MISSING, Param, base_and_length, choices, signature

Schema = dict[str, Any]


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


_KINDS: dict[str, Schema] = {
    "size": {"type": "integer", "minimum": 1},
    "count": {"type": "integer", "minimum": 0},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "probability": {"type": "number", "minimum": 0, "maximum": 1},
    "bool": {"type": "boolean"},
    "str": {"type": "string"},
    "dtype": {"enum": [*FLOATING, *(f"torch.{name}" for name in FLOATING)]},
    "device": {"type": "string", "pattern": f"^{DEVICE_PATTERN}$"},
    "layer": _ref("item"),
}
_NOTHING: Schema = {"not": {}}  # what a spec cannot hold: a tensor, a function


def spec_schema(schemes: Mapping[str, tuple[str, ...]]) -> Schema:
    """Return the JSON Schema (2020-12) of a spec; `schemes` maps each scheme to its arguments' names."""
    layers = {"type": "array", "minItems": 1, "items": _ref("item")}
    properties: dict[str, Schema] = {
        "name": {"type": "string"},
        "seed": {"type": "integer", "minimum": 0, "maximum": SEEDS - 1},
        "seed_per_parameter": {"type": "boolean"},
        "layers": layers,
        "input": {"anyOf": [{"type": "array", "items": _ref("size")}, _input()]},
        "loss": {"enum": list(LOSSES)},
        "init": {"type": "array", "items": _rule(schemes)},
        "ties": {"type": "array", "items": {"type": "array", "minItems": 2, "items": {"type": "string"}}},
        "dtype": _ref("dtype"),
        "device": _ref("device"),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "paraminspect spec, version 1",
        "type": "object",
        "properties": {key: properties[key] for key in KEYS},
        "required": ["layers"],
        "additionalProperties": False,
        "$defs": {"item": _item(layers)} | _KINDS | {name: _named(name) for name in LAYERS},
    }


def _input() -> Schema:
    sample = {"type": "string", "pattern": r"^(uniform|normal|zeros|ones|-?\d+\.\.-?\d+)$"}
    dtype = {"enum": [*DTYPES, *(f"torch.{name}" for name in DTYPES)]}
    properties = {"shape": {"type": "array", "items": _ref("size")}, "dtype": dtype, "sample": sample}
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
    repeat = {"times": _ref("size"), "layers": layers}
    mlp = {
        "sizes": {"type": "array", "minItems": 2, "items": _ref("size")},
        "activation": _ref("item"),
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
    ordered = [param for param in signature(layer) if not param.keyword_only]
    named = _ref(layer)
    values = [_ref(f"{layer}/properties/{param.name}") for param in ordered]
    # A mapping at the end of a list holds arguments by name, unless a layer is wanted there.
    positional = {
        "type": "array",
        "prefixItems": [
            value if param.type == "layer" else {"anyOf": [value, named]}
            for param, value in zip(ordered, values, strict=True)
        ],
        "items": named,
        "maxItems": len(ordered) + 1,
    }
    if not ordered:
        del positional["prefixItems"]  # it may not be empty
    alone = [{"type": ["string", "number", "boolean"], "allOf": values[:1]}] if ordered else []
    return {"anyOf": [named, positional, {"type": "null"}, *alone]}


def _named(layer: str) -> Schema:
    return {
        "type": "object",
        "description": f"torch.nn.{layer}({LAYERS[layer]})",
        "properties": {param.name: _value(param) for param in signature(layer)},
        "additionalProperties": False,
    }


def _value(parameter: Param) -> Schema:
    kinds = [_kind(word) for word in parameter.type.split(" | ")]
    kinds += [{"type": "null"}] if parameter.optional else []
    return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}


def _kind(word: str) -> Schema:
    """Describe one of the table's type words: ``size``, ``sizes[2]``, ``[int]``, ``Literal['a', 'b']``."""
    if word.startswith("Literal"):
        return {"enum": choices(word)}
    if word.startswith("["):
        return {"type": "array", "items": _ref(word[1:-1])}
    base, length = base_and_length(word)
    if base not in ELEMENT:
        return _ref(base) if base in _KINDS else _NOTHING
    one = _ref(ELEMENT[base])
    entry = {"anyOf": [one, {"type": "null"}]} if base.startswith("optional") else one
    bounds = {"minItems": 1} if length is None else {"minItems": length, "maxItems": length}
    return {"anyOf": [one, {"type": "array", "items": entry, **bounds}]}
