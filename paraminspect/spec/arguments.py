"""What stands right of a layer key, checked against the signature of the class."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from paraminspect.errors import UserError, did_you_mean
from paraminspect.spec.layers import LAYERS, MISSING, Param, signature
from paraminspect.spec.nodes import Entry, Mapping, Node, Scalar, Sequence, Value, kind_of, shown
from paraminspect.spec.sizes import DEVICES, DTYPES

LARGEST: Final = 2**63 - 1
MAX_ENTRIES: Final = 64

Nested: TypeAlias = Callable[[Node, str], Any]


@dataclass(frozen=True, slots=True)
class Bound:
    """The arguments of a call as written: lists as tuples, dtypes without ``torch.``, nested layers as read."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def bind(layer: str, node: Node | None, path: str, *, nested: Nested, where: str = "") -> Bound:
    """Check the arguments of `layer` and return them.

    `node` is what stands right of the layer key, which ends `path` (``layers[2].Linear``); null or None is no
    arguments, a bare value is the first one. A mapping at the end of a list holds arguments by name, unless a
    layer is wanted there. `nested` reads an argument that is a layer. `where` is the place of the layer key, for
    errors that belong to no single argument.

    Raises UserError naming the place, the key path and what was expected.
    """
    where = where or (str(node.mark) if node else "")
    ordered = [param for param in signature(layer) if not param.keyword_only]
    positional, named = _split(node, ordered)
    if len(positional) > len(ordered):
        raise _too_many(layer, path, positional, len(ordered))
    _check_names(layer, path, [param.name for param in ordered[: len(positional)]], named)
    _check_missing(layer, path, where, len(positional), named)
    args = tuple(
        _value(param, item, f"{path}[{i}] ({param.name})", nested)
        for i, (param, item) in enumerate(zip(ordered, positional, strict=False))
    )
    params = {param.name: param for param in signature(layer)}
    kwargs = {key: _value(params[key], entry.value, f"{path}.{key}", nested) for key, entry in named.items()}
    return Bound(args, kwargs)


def unknown_layer(name: str, where: str, path: str, extra: Iterable[str] = ()) -> UserError:
    """Build the error for a layer key that is neither in the table nor in `extra`, with the nearest one that is."""
    known = [*LAYERS, *extra]
    module, _, last = name.rpartition(".")
    if last in LAYERS and re.match(r"(torch\.)?nn(\.|$)", module):
        hint = f"write {last!r}"
    else:
        hint = did_you_mean(name, known) or "a layer is a class of torch.nn, such as Linear, ReLU or Conv2d"
    return UserError(f"{path}: unknown layer {shown(name)}", where=where, hint=hint, code="spec-unknown-layer")


def _split(node: Node | None, ordered: list[Param]) -> tuple[tuple[Node, ...], dict[str, Entry]]:
    """Return the arguments by position and by name."""
    if node is None or (isinstance(node, Scalar) and node.value is None):
        return (), {}
    if isinstance(node, Scalar):
        return (node,), {}
    if isinstance(node, Mapping):
        return (), node.entries
    *first, last = node.items or (None,)
    if not isinstance(last, Mapping) or _wants_layer(ordered, len(first)):
        return node.items, {}
    return node.items[:-1], last.entries


def _wants_layer(ordered: list[Param], position: int) -> bool:
    return position < len(ordered) and ordered[position].type == "layer"


# --- which arguments there are -----------------------------------------------------------------------------


def _usage(layer: str) -> str:
    return f"{layer}({LAYERS[layer]})" if LAYERS[layer] else f"{layer} takes no arguments"


def _too_many(layer: str, path: str, positional: tuple[Node, ...], most: int) -> UserError:
    allowed = f"at most {most} argument{'s' * (most > 1)}" if most else "no argument"
    message = f"{path} takes {allowed} by position, got {len(positional)}"
    return UserError(message, where=str(positional[most].mark), hint=_usage(layer), code="spec-too-many-arguments")


def _check_names(layer: str, path: str, taken: list[str], named: dict[str, Entry]) -> None:
    names = [param.name for param in signature(layer)]
    for key, entry in named.items():
        where = str(entry.key_mark)
        if key not in names:
            hint = did_you_mean(key, names) or _usage(layer)
            message = (
                f"{path}.{key if key.isidentifier() and len(key) < 40 else shown(key)}: {layer} has no such argument"
            )
            raise UserError(message, where=where, hint=hint, code="spec-unknown-argument")
        if key in taken:
            message = f"{path}.{key} is given twice, by position ({path}[{taken.index(key)}]) and by name"
            raise UserError(message, where=where, hint="keep one of them", code="spec-argument-twice")


def _check_missing(layer: str, path: str, where: str, given: int, named: dict[str, Entry]) -> None:
    required = [param.name for param in signature(layer)[given:] if param.default is MISSING]
    missing = [name for name in required if name not in named]
    if missing:
        message = f"{path} needs {' and '.join(missing)}"
        raise UserError(message, where=where, hint=_usage(layer), code="spec-missing-argument")


# --- what an argument may be -------------------------------------------------------------------------------


class _Mismatch(Exception):
    """Say that a node is not of the kind that was tried."""


_LEAST: Final[dict[str, int]] = {"size": 1, "count": 0, "int": -LARGEST - 1}
_ELEMENT: Final = {"sizes": "size", "optional_sizes": "size", "counts": "count", "ints": "int", "floats": "float"}
_INEXPRESSIBLE: Final = {"tensor": "a tensor", "callable": "a function", "object": "an object"}
_MEANING: Final = {
    "size": "an integer of at least 1",
    "count": "an integer of at least 0",
    "int": "an integer",
    "float": "a number",
    "probability": "a number from 0 to 1",
    "bool": "true or false",
    "str": "a text",
    "dtype": "a dtype such as 'float64'",
    "device": "a device such as 'cpu' or 'cuda:0'",
    "layer": "a layer",
}
_FLOATING: Final = tuple(name for name in DTYPES if name.startswith(("float", "bfloat", "complex")))


def _value(param: Param, node: Node, path: str, nested: Nested) -> Any:
    if isinstance(node, Scalar) and node.value is None and param.optional:
        return None
    for word in param.type.split(" | "):
        try:
            return _read(word, node, path, nested)
        except _Mismatch:
            continue
    raise _wrong(param.type, param.optional, node, path)


def _read(word: str, node: Node, path: str, nested: Nested) -> Any:
    """Return the value of `node` as `word`; raise _Mismatch for another kind, UserError for a value out of range."""
    if word == "layer":
        return _layer(node, path, nested)
    if word in _INEXPRESSIBLE:
        message = f"{path} takes {_INEXPRESSIBLE[word]}, which a spec cannot hold"
        raise UserError(message, where=str(node.mark), hint="leave it out", code="spec-wrong-type")
    if word.startswith("["):
        return _entries(word[1:-1], False, node, path)
    base, length = _parts(word)
    if base not in _ELEMENT:
        return _scalar(word, node, path)
    if not isinstance(node, Sequence):
        return _scalar(_ELEMENT[base], node, path)
    _check_length(length, node, path)
    return _entries(_ELEMENT[base], base.startswith("optional"), node, path)


def _parts(word: str) -> tuple[str, int | None]:
    """Split ``sizes[2]`` into the word and the length; a word without one has None."""
    found = re.fullmatch(r"(\w+)\[(\d+)\]", word)
    return (found[1], int(found[2])) if found else (word, None)


def _layer(node: Node, path: str, nested: Nested) -> Any:
    if isinstance(node, Mapping) or (isinstance(node, Scalar) and isinstance(node.value, str)):
        return nested(node, path.partition(" ")[0])
    raise _Mismatch


def _check_length(length: int | None, node: Sequence, path: str) -> None:
    if len(node.items) != (length or len(node.items) or 1):
        wanted = "at least 1 entry" if length is None else f"{length} {'entry' if length == 1 else 'entries'}"
        message = f"{path} must have {wanted}, got {len(node.items)}"
        raise UserError(message, where=str(node.mark), code="spec-out-of-range")


def _entries(word: str, optional: bool, node: Node, path: str) -> tuple[Any, ...]:
    if not isinstance(node, Sequence):
        raise _Mismatch
    if len(node.items) > MAX_ENTRIES:
        message = f"{path} must have at most {MAX_ENTRIES} entries, got {len(node.items)}"
        raise UserError(message, where=str(node.mark), code="spec-out-of-range")
    key, space, name = path.partition(" ")
    return tuple(_entry(word, optional, item, f"{key}[{i}]{space}{name}") for i, item in enumerate(node.items))


def _entry(word: str, optional: bool, node: Node, path: str) -> Any:
    if isinstance(node, Scalar) and node.value is None and optional:
        return None
    try:
        return _scalar(word, node, path)
    except _Mismatch:
        raise _wrong(word, optional, node, path) from None


def _scalar(word: str, node: Node, path: str) -> Any:
    value = node.value if isinstance(node, Scalar) else None
    if word in _LEAST and type(value) is int:
        return _in_range(value, _LEAST[word], LARGEST, node, path)
    if word == "probability" and type(value) in (int, float):
        return _in_range(value, 0, 1, node, path)
    if (word == "float" and type(value) in (int, float)) or (word == "bool" and isinstance(value, bool)):
        return value
    if not isinstance(value, str):
        raise _Mismatch
    if word in ("dtype", "device"):
        return (_dtype if word == "dtype" else _device)(value, node, path)
    if word == "str" or value in _choices(word):
        return value
    raise _Mismatch


def _in_range(value: Any, least: int, most: int, node: Node, path: str) -> Any:
    if least <= value <= most:
        return value
    bound = f"at least {least}" if value < least else f"at most {most}"
    message = f"{path} must be {bound}, got {shown(value)}"
    raise UserError(message, where=str(node.mark), code="spec-out-of-range")


def _dtype(value: str, node: Node, path: str) -> str:
    name = value.removeprefix("torch.")
    if name in _FLOATING:
        return name
    hint = did_you_mean(name, _FLOATING) or f"known: {', '.join(_FLOATING)}"
    problem = "a layer cannot have the dtype" if name in DTYPES else "unknown dtype"
    raise UserError(f"{path}: {problem} {shown(value)}", where=str(node.mark), hint=hint, code="unknown-dtype")


def _device(value: str, node: Node, path: str) -> str:
    kind, colon, number = value.partition(":")
    numbered = kind not in ("cpu", "meta") and re.fullmatch(r"0|[1-9][0-9]?", number)
    if kind in DEVICES and (numbered or not colon):
        return value
    hint = f"known: {', '.join(DEVICES)}, and cuda:0 for one of several"
    raise UserError(f"{path}: unknown device {shown(value)}", where=str(node.mark), hint=hint, code="unknown-device")


def _choices(word: str) -> list[str]:
    return ast.literal_eval(word.removeprefix("Literal")) if word.startswith("Literal") else []


# --- the error for a value of another kind -----------------------------------------------------------------


def _wrong(kind: str, optional: bool, node: Node, path: str) -> UserError:
    words = kind.split(" | ")
    expected = ", or ".join([*map(_meaning, words), *(["null"] if optional else [])])
    hint = _hint(words, node.value) if isinstance(node, Scalar) else ""
    message = f"{path} must be {expected}, got {kind_of(node)}"
    return UserError(message, where=str(node.mark), hint=hint, code="spec-wrong-type")


def _meaning(word: str) -> str:
    if word.startswith("["):
        return f"a list, each entry {_MEANING[word[1:-1]]}"
    if word.startswith("Literal"):
        return f"one of {', '.join(map(repr, _choices(word)))}"
    base, length = _parts(word)
    if base not in _ELEMENT:
        return _MEANING[word]
    return f"{_MEANING[_ELEMENT[base]]}, or a list of {'them' if length is None else length}"


def _hint(words: list[str], value: Value) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < LARGEST:
        return f"write {int(value)}"
    if not isinstance(value, str):
        return ""
    if words == ["bool"] and value.lower() in _BOOLEANS:
        return f"write {_BOOLEANS[value.lower()]}"
    if any(word in _NUMERIC for word in words) and re.fullmatch(r"-?[0-9.]+(e-?[0-9]+)?", value):
        return "write it without quotes"
    return did_you_mean(value, [choice for word in words for choice in _choices(word)])


_NUMERIC: Final = ("size", "count", "int", "float", "probability")
_BOOLEANS: Final = {**dict.fromkeys(("yes", "on", "y"), "true"), **dict.fromkeys(("no", "off", "n"), "false")}
