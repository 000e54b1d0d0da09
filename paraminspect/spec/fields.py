"""Small readers shared by the parts of the spec: a node of the right kind, or one clear error."""

from __future__ import annotations

from collections.abc import Iterable

from paraminspect.errors import UserError, did_you_mean
from paraminspect.spec.nodes import Mapping, Node, Scalar, Sequence, kind_of

SEED_LIMIT = 2**64


def wrong(node: Node, path: str, expected: str, hint: str = "") -> UserError:
    """Build the error for a value of the wrong kind: what `path` takes, and what stands there."""
    message = f"{path} must be {expected}, got {kind_of(node)}"
    return UserError(message, where=str(node.mark), hint=hint, code="spec-wrong-type")


def unknown_key(mapping: Mapping, key: str, path: str, known: Iterable[str]) -> UserError:
    """Build the error for a key that means nothing here, with the nearest one that does."""
    names = list(known)
    hint = did_you_mean(key, names) or f"known keys: {', '.join(names)}"
    where = str(mapping.entries[key].key_mark)
    return UserError(f"unknown key {key!r} in {path}", where=where, hint=hint, code="spec-unknown-key")


def mapping(node: Node, path: str, known: Iterable[str], hint: str = "") -> Mapping:
    """Return `node` as a mapping that has no key outside `known`."""
    names = list(known)
    if not isinstance(node, Mapping):
        raise wrong(node, path, "a mapping", hint)
    for key in node.entries:
        if key not in names:
            raise unknown_key(node, key, path, names)
    return node


def items(node: Node, path: str, hint: str = "") -> tuple[Node, ...]:
    """Return the items of a list."""
    if not isinstance(node, Sequence):
        raise wrong(node, path, "a list", hint)
    return node.items


def text(node: Node, path: str) -> str:
    """Return a text; a number or a boolean is not one."""
    if not (isinstance(node, Scalar) and isinstance(node.value, str)):
        raise wrong(node, path, "a text")
    return node.value


def word(node: Node, path: str, known: Iterable[str]) -> str:
    """Return a text that is one of `known`."""
    names = list(known)
    value = text(node, path)
    if value not in names:
        hint = did_you_mean(value, names) or f"known: {', '.join(names)}"
        raise UserError(f"{path}: unknown value {value!r}", where=str(node.mark), hint=hint, code="spec-unknown-value")
    return value


def integer(node: Node, path: str, least: int = 0, below: int | None = None) -> int:
    """Return an integer from `least` up to, not including, `below`."""
    if not (isinstance(node, Scalar) and type(node.value) is int):
        raise wrong(node, path, "an integer")
    if node.value < least or (below is not None and node.value >= below):
        limits = f"at least {least}" if below is None else f"from {least} to {below - 1}"
        raise UserError(f"{path} must be {limits}, got {node.value}", where=str(node.mark), code="spec-out-of-range")
    return node.value


def sizes(node: Node, path: str, least: int = 1) -> tuple[int, ...]:
    """Return a list of integers, none below `least`."""
    return tuple(integer(item, f"{path}[{i}]", least) for i, item in enumerate(items(node, path)))
