"""The tree that a spec's text is read to: nodes that know their line and column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from paraminspect.errors import UserError

Value: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a spec; `line` and `column` count from 1."""

    label: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.label}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text, a number, true, false or nothing."""

    value: Value
    mark: Mark


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    mark: Mark


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands under a key, and where the key stands."""

    key_mark: Mark
    value: Node


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys, each with an entry, in the order written."""

    entries: dict[str, Entry]
    mark: Mark


Node: TypeAlias = Scalar | Sequence | Mapping


def plain(node: Node) -> Any:
    """Return a node as Python data: dict, list, str, int, float, bool or None."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {key: plain(entry.value) for key, entry in node.entries.items()}


def kind_of(node: Node) -> str:
    """Return what a node is, in the words of an error message; long values are cut."""
    if isinstance(node, Scalar):
        return _describe(node.value)
    return "a list" if isinstance(node, Sequence) else "a mapping"


def _describe(value: Value) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    return f"the {'text' if isinstance(value, str) else 'number'} {shown(value)}"


def shown(value: str | int | float) -> str:
    """Return the repr of a value, cut where it is long."""
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else f"{value[:39]}…")
    digits = repr(value)
    return digits if len(digits) <= 40 else f"{digits[:39]}…"


def syntax_error(message: str, mark: Mark, hint: str = "") -> UserError:
    """Build the error for text that is not one document of a spec's YAML or JSON."""
    return UserError(message, where=str(mark), hint=hint, code="spec-syntax")
