"""Small readers shared by the parts of the spec: a node of the right kind, or one clear error."""

from __future__ import annotations

from collections.abc import Iterable

from paraminspect.errors import UserError, did_you_mean
from paraminspect.spec.tree import Mapping, Node, Scalar, Sequence, kind_of


def wrong(node: Node, path: str, expected: str, hint: str = "") -> UserError:
    """Build the error for a value of the wrong kind: what `path` takes, and what stands there."""
    message = f"{path} must be {expected}, got {kind_of(node)}"
    return UserError(message, where=str(node.mark), hint=hint, code="spec-wrong-type")


def mapping(node: Node, path: str, known: Iterable[str], hint: str) -> Mapping:
    """Return `node` as a mapping that has no key outside `known`; `hint` says how one looks."""
    names = list(known)
    if not isinstance(node, Mapping):
        raise wrong(node, path, "a mapping", hint)
    for key, entry in node.entries.items():
        if key not in names:
            near = did_you_mean(key, names) or f"known keys: {', '.join(names)}"
            message = f"unknown key {key!r} in {path}"
            raise UserError(message, where=str(entry.key_mark), hint=near, code="spec-unknown-key")
    return node


def items(node: Node, path: str, hint: str = "") -> tuple[Node, ...]:
    """Return the items of a list."""
    if not isinstance(node, Sequence):
        raise wrong(node, path, "a list", hint)
    return node.items


def text(node: Node, path: str) -> str:
    """Return the text that a node holds; a number or a boolean is not one. Raises UserError, as all readers here do."""
    if not (isinstance(node, Scalar) and isinstance(node.value, str)):
        raise wrong(node, path, "a text")
    return node.value


def boolean(node: Node, path: str) -> bool:
    """Return the true or false that a node holds."""
    if not (isinstance(node, Scalar) and isinstance(node.value, bool)):
        raise wrong(node, path, "true or false")
    return node.value


def word(node: Node, path: str, known: Iterable[str]) -> str:
    """Return the text that a node holds, which must be one of `known`."""
    names = list(known)
    value = text(node, path)
    if value not in names:
        hint = did_you_mean(value, names) or f"known: {', '.join(names)}"
        raise UserError(f"{path}: unknown value {value!r}", where=str(node.mark), hint=hint, code="spec-unknown-value")
    return value


def integer(node: Node, path: str, least: int, below: int | None = None) -> int:
    """Return the integer that a node holds, which must be at least `least` and less than `below`."""
    if not (isinstance(node, Scalar) and type(node.value) is int):
        raise wrong(node, path, "an integer")
    if node.value < least or (below is not None and node.value >= below):
        limits = f"at least {least}" if below is None else f"from {least} to {below - 1}"
        raise UserError(f"{path} must be {limits}, got {node.value}", where=str(node.mark), code="spec-out-of-range")
    return node.value


def sizes(node: Node, path: str) -> tuple[int, ...]:
    """Return the integers of a list, each of which must be at least 1."""
    return tuple(integer(item, f"{path}[{i}]", 1) for i, item in enumerate(items(node, path)))
