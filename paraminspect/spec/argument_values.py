"""What one argument of a layer may be: a node, checked against the type its parameter has in the table."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from paraminspect.errors import UserError, did_you_mean
from paraminspect.spec import fields
from paraminspect.spec.dtypes import DTYPES, FLOATING, LARGEST, check_device
from paraminspect.spec.signatures import ELEMENT, Param, base_and_length, choices
from paraminspect.spec.tree import Mapping, Node, Scalar, Sequence, Value, shown

MAX_ENTRIES: Final = 64

Nested: TypeAlias = Callable[[Node, str], Any]


class _Mismatch(Exception):
    """Raised within this file: the node is not of the kind that was tried, so the next of the allowed kinds is."""


_LEAST: Final[dict[str, int]] = {"size": 1, "count": 0, "int": -LARGEST - 1}
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
_NUMERIC: Final = ("size", "count", "int", "float", "probability")
_BOOLEANS: Final = {**dict.fromkeys(("yes", "on", "y"), "true"), **dict.fromkeys(("no", "off", "n"), "false")}


def read_value(param: Param, node: Node, path: str, nested: Nested) -> Any:
    """Return the argument that `node` holds for `param`; `nested` reads one that is a layer.

    A list becomes a tuple, a dtype loses its ``torch.``. Raises UserError, with `path` in the message, for a value of
    another kind or out of range.
    """
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
    base, length = base_and_length(word)
    if base not in ELEMENT:
        return _scalar(word, node, path)
    if not isinstance(node, Sequence):
        return _scalar(ELEMENT[base], node, path)
    _check_length(length, node, path)
    return _entries(ELEMENT[base], base.startswith("optional"), node, path)


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
    if word == "dtype":
        return _dtype(value, node, path)
    if word == "device":
        return check_device(value, str(node.mark), path)
    if word == "str" or value in choices(word):
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
    if name in FLOATING:
        return name
    hint = did_you_mean(name, FLOATING) or f"known: {', '.join(FLOATING)}"
    problem = "a layer cannot have the dtype" if name in DTYPES else "unknown dtype"
    raise UserError(f"{path}: {problem} {shown(value)}", where=str(node.mark), hint=hint, code="unknown-dtype")


# --- the error for a value of another kind -----------------------------------------------------------------


def _wrong(kind: str, optional: bool, node: Node, path: str) -> UserError:
    words = kind.split(" | ")
    expected = ", or ".join([*map(_meaning, words), *(["null"] if optional else [])])
    hint = _hint(words, node.value) if isinstance(node, Scalar) else ""
    return fields.wrong(node, path, expected, hint)


def _meaning(word: str) -> str:
    if word.startswith("["):
        return f"a list, each entry {_MEANING[word[1:-1]]}"
    if word.startswith("Literal"):
        return f"one of {', '.join(map(repr, choices(word)))}"
    base, length = base_and_length(word)
    if base not in ELEMENT:
        return _MEANING[word]
    return f"{_MEANING[ELEMENT[base]]}, or a list of {'them' if length is None else length}"


def _hint(words: list[str], value: Value) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < LARGEST:
        return f"write {int(value)}"
    if not isinstance(value, str):
        return ""
    if words == ["bool"] and value.lower() in _BOOLEANS:
        return f"write {_BOOLEANS[value.lower()]}"
    if any(word in _NUMERIC for word in words) and re.fullmatch(r"-?[0-9.]+(e-?[0-9]+)?", value):
        return "write it without quotes"
    return did_you_mean(value, [choice for word in words for choice in choices(word)])
