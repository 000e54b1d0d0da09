"""The tree that a spec's text is read to: nodes that know their place, composed within bounds on depth and size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

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
    """A node that holds a text, a number, true, false or nothing."""

    value: Value
    mark: Mark


@dataclass(frozen=True, slots=True)
class Sequence:
    """A node that holds a list of nodes."""

    items: tuple[Node, ...]
    mark: Mark


@dataclass(frozen=True, slots=True)
class KeyedValue:
    """What stands under a key, and where the key stands."""

    key_mark: Mark
    value: Node


@dataclass(frozen=True, slots=True)
class Mapping:
    """A node that holds keys, in the order written, and what stands under each."""

    entries: dict[str, KeyedValue]
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


# --- building the tree from what a parser meets ----------------------------------------------------------


MAX_DEPTH: Final = 64
MAX_NODES: Final = 50_000


@dataclass(slots=True)
class _Anchor:
    """What an alias refers to: nothing yet while the node is still open."""

    node: Node | None = None
    size: int = 0
    height: int = 0


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet."""

    kind: Literal["sequence", "mapping"]
    mark: Mark
    anchor: _Anchor | None
    start: int
    height: int = 1
    items: list[Node] = field(default_factory=list)
    entries: dict[str, KeyedValue] = field(default_factory=dict)
    key: tuple[str, Mark] | None = None


class Composer:
    """Build the tree from what a parser meets, without recursion and never beyond the bounds."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self._stack: list[_Open] = []
        self._anchors: dict[str, _Anchor] = {}
        self._count = 0

    @property
    def wants_key(self) -> bool:
        """Tell whether the next node is a key of a mapping."""
        return bool(self._stack) and self._stack[-1].kind == "mapping" and self._stack[-1].key is None

    def open(self, kind: Literal["sequence", "mapping"], mark: Mark, anchor: str | None = None) -> None:
        """Begin a list or a mapping."""
        if self.wants_key:
            raise syntax_error(f"a key must be text, not a {'list' if kind == 'sequence' else kind}", mark)
        self._check_depth(1, mark)
        self._count_nodes(1, mark)
        self._stack.append(_Open(kind, mark, self._declare(anchor), self._count))

    def close(self) -> None:
        """End the innermost list or mapping."""
        top = self._stack.pop()
        node = Sequence(tuple(top.items), top.mark) if top.kind == "sequence" else Mapping(top.entries, top.mark)
        if top.anchor:
            top.anchor.node, top.anchor.size, top.anchor.height = node, self._count - top.start + 1, top.height
        self._add(node, top.height, top.mark)

    def scalar(self, value: Value, mark: Mark, anchor: str | None = None) -> None:
        """Add a text, a number, true, false or nothing."""
        self._count_nodes(1, mark)
        node = Scalar(value, mark)
        declared = self._declare(anchor)
        if declared:
            declared.node, declared.size = node, 1
        self._add(node, 0, mark)

    def alias(self, name: str, mark: Mark) -> None:
        """Add the node that was anchored as `name` once more."""
        anchor = self._anchors.get(name)
        if anchor is None:
            raise syntax_error(f"the alias {shown('*' + name)} has no anchor {shown('&' + name)} before it", mark)
        if anchor.node is None:
            raise syntax_error(f"the alias {shown('*' + name)} stands inside the node it names", mark)
        self._check_depth(anchor.height, mark)
        self._count_nodes(anchor.size, mark)
        self._add(anchor.node, anchor.height, mark)

    def _declare(self, name: str | None) -> _Anchor | None:
        if name is None:
            return None
        # The latest anchor of a name counts from where it begins, so it is entered before its node is complete.
        self._anchors[name] = _Anchor()
        return self._anchors[name]

    def _check_depth(self, height: int, mark: Mark) -> None:
        if len(self._stack) + height > MAX_DEPTH:
            raise syntax_error(f"nested more than {MAX_DEPTH} deep", mark)

    def _count_nodes(self, size: int, mark: Mark) -> None:
        self._count += size
        if self._count > MAX_NODES:
            raise syntax_error(
                f"more than {MAX_NODES} values, aliases counted in full", mark, "use 'Repeat' for many layers"
            )

    def _add(self, node: Node, height: int, mark: Mark) -> None:
        if not self._stack:
            self.root = node
            return
        top = self._stack[-1]
        top.height = max(top.height, height + 1)
        if top.kind == "sequence":
            top.items.append(node)
        elif top.key is None:
            top.key = self._as_key(node, top.entries, mark), mark
        else:
            key, key_mark = top.key
            top.entries[key] = KeyedValue(key_mark, node)
            top.key = None

    @staticmethod
    def _as_key(node: Node, entries: dict[str, KeyedValue], mark: Mark) -> str:
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            hint = "put the key in quotes" if isinstance(node, Scalar) and node.value is not None else ""
            raise syntax_error(f"a key must be text, not {kind_of(node)}", mark, hint)
        if node.value in entries:
            first = entries[node.value].key_mark.line
            raise syntax_error(
                f"the key {shown(node.value)} stands twice, first on line {first}", mark, "keep one of them"
            )
        return node.value
