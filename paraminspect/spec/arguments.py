"""What stands right of a layer key, checked against the signature of the class."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from paraminspect.errors import UserError, did_you_mean
from paraminspect.spec.argument_values import Nested, read_value
from paraminspect.spec.signatures import LAYERS, MISSING, Param, signature
from paraminspect.spec.tree import KeyedValue, Mapping, Node, Scalar, shown


@dataclass(frozen=True, slots=True)
class Bound:
    """The arguments of a call as written, except that lists are tuples, dtypes lose ``torch.`` and layers are read."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def bind(layer: str, node: Node | None, path: str, *, nested: Nested, where: str) -> Bound:
    """Check the arguments of `layer` and return them.

    `node` is what stands right of the layer key, which ends `path` (``layers[2].Linear``); null or None is no
    arguments, a bare value is the first one. A mapping at the end of a list holds arguments by name, unless a
    layer is wanted there. `nested` reads an argument that is a layer. `where` is the place of the layer key, for
    errors that belong to no single argument.

    Raises UserError naming the place, the key path and what was expected.
    """
    ordered = [param for param in signature(layer) if not param.keyword_only]
    positional, named = _split(node, ordered)
    if len(positional) > len(ordered):
        raise _too_many(layer, path, positional, len(ordered))
    _check_names(layer, path, [param.name for param in ordered[: len(positional)]], named)
    _check_missing(layer, path, where, len(positional), named)
    args = tuple(
        read_value(param, item, f"{path}[{i}] ({param.name})", nested)
        for i, (param, item) in enumerate(zip(ordered, positional, strict=False))
    )
    params = {param.name: param for param in signature(layer)}
    kwargs = {key: read_value(params[key], entry.value, f"{path}.{key}", nested) for key, entry in named.items()}
    return Bound(args, kwargs)


def unknown_layer(name: str, where: str, path: str, extra: Iterable[str]) -> UserError:
    """Build the error for a layer key that is neither in the table nor in `extra`, with the nearest one that is."""
    known = [*LAYERS, *extra]
    module, _, last = name.rpartition(".")
    if last in LAYERS and re.match(r"(torch\.)?nn(\.|$)", module):
        hint = f"write {last!r}"
    else:
        hint = did_you_mean(name, known) or "a layer is a class of torch.nn, such as Linear, ReLU or Conv2d"
    return UserError(f"{path}: unknown layer {shown(name)}", where=where, hint=hint, code="spec-unknown-layer")


def _split(node: Node | None, ordered: list[Param]) -> tuple[tuple[Node, ...], dict[str, KeyedValue]]:
    """Return the arguments given by position, and those given by name."""
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


def _check_names(layer: str, path: str, taken: list[str], named: dict[str, KeyedValue]) -> None:
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


def _check_missing(layer: str, path: str, where: str, given: int, named: dict[str, KeyedValue]) -> None:
    required = [param.name for param in signature(layer)[given:] if param.default is MISSING]
    missing = [name for name in required if name not in named]
    if missing:
        message = f"{path} needs {' and '.join(missing)}"
        raise UserError(message, where=where, hint=_usage(layer), code="spec-missing-argument")
