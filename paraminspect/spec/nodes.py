"""Spec text to a tree of nodes that know their line and column, within bounds on depth and size."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Final, Literal, TypeAlias

from paraminspect.errors import UserError

MAX_DEPTH: Final = 64
MAX_NODES: Final = 50_000
MAX_DIGITS: Final = 100

Syntax: TypeAlias = Literal["yaml", "json"]
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


def guess_syntax(name: str, text: str) -> Syntax:
    """Return the syntax of a spec by its file name, for any other name (``-`` is one) by its first characters.

    Text that begins with ``{"`` or ``{}`` is JSON and has to be strict JSON; anything else is YAML, which
    includes the flow mapping ``{name: mlp}``.
    """
    suffix = PurePath(name).suffix.lower()
    if suffix == ".json":
        return "json"
    if suffix in (".yaml", ".yml"):
        return "yaml"
    return "json" if re.match(r'\s*\{\s*["}]', text) else "yaml"


def parse(text: str, label: str, syntax: Syntax) -> Node:
    """Return the tree of a spec; `label` is the file name as typed.

    Raises UserError, with ``label:line:column`` in `where`, for everything that is not one YAML 1.2 (core
    schema) or JSON document with text keys, none of them twice, at most `MAX_DEPTH` deep and `MAX_NODES` large.
    """
    text = text.removeprefix("\ufeff")
    root = (_read_json if syntax == "json" else _read_yaml)(text, label)
    if root is None or (isinstance(root, Scalar) and root.value is None):
        raise UserError("the spec is empty", where=label, hint="start it with 'layers:'", code="spec-syntax")
    return root


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


def _error(message: str, mark: Mark, hint: str = "") -> UserError:
    return UserError(message, where=str(mark), hint=hint, code="spec-syntax")


# --- composing ---------------------------------------------------------------------------------------------


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
    entries: dict[str, Entry] = field(default_factory=dict)
    key: tuple[str, Mark] | None = None


class _Composer:
    """Build the tree from what a parser meets, without recursion and never beyond the bounds."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self._stack: list[_Open] = []
        self._anchors: dict[str, _Anchor] = {}
        self._count = 0

    @property
    def wants_key(self) -> bool:
        """Whether the next node is a key of a mapping."""
        return bool(self._stack) and self._stack[-1].kind == "mapping" and self._stack[-1].key is None

    def open(self, kind: Literal["sequence", "mapping"], mark: Mark, anchor: str | None = None) -> None:
        """Begin a list or a mapping."""
        if self.wants_key:
            raise _error(f"a key must be text, not a {'list' if kind == 'sequence' else kind}", mark)
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
            raise _error(f"the alias {shown('*' + name)} has no anchor {shown('&' + name)} before it", mark)
        if anchor.node is None:
            raise _error(f"the alias {shown('*' + name)} stands inside the node it names", mark)
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
            raise _error(f"nested more than {MAX_DEPTH} deep", mark)

    def _count_nodes(self, size: int, mark: Mark) -> None:
        self._count += size
        if self._count > MAX_NODES:
            raise _error(f"more than {MAX_NODES} values, aliases counted in full", mark, "use 'Repeat' for many layers")

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
            top.entries[key] = Entry(key_mark, node)
            top.key = None

    @staticmethod
    def _as_key(node: Node, entries: dict[str, Entry], mark: Mark) -> str:
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            hint = "put the key in quotes" if isinstance(node, Scalar) and node.value is not None else ""
            raise _error(f"a key must be text, not {kind_of(node)}", mark, hint)
        if node.value in entries:
            first = entries[node.value].key_mark.line
            raise _error(f"the key {shown(node.value)} stands twice, first on line {first}", mark, "keep one of them")
        return node.value


# --- YAML --------------------------------------------------------------------------------------------------

# What YAML does not print, and the separators that YAML 1.1 and 1.2 treat differently.
_NOT_RAW: Final = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INTEGER: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_SEXAGESIMAL: Final = re.compile(r"[-+]?[0-9]+(?::[0-5]?[0-9])+(?:\.[0-9]*)?")
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def _read_yaml(text: str, label: str) -> Node | None:
    found = _NOT_RAW.search(text)
    if found:
        hint = "in double quotes, write it as an escape"
        raise _error(
            f"the character U+{ord(found[0]):04X} cannot stand here", _mark_at(text, found.start(), label), hint
        )
    composer = _Composer()
    documents = 0
    for event in _yaml_events(text, label):
        documents += type(event).__name__ == "DocumentStartEvent"
        _compose_event(composer, event, Mark(label, event.start_mark.line + 1, event.start_mark.column + 1), documents)
    return composer.root


def _yaml_events(text: str, label: str) -> Iterator[Any]:
    """Yield the events of ruamel.yaml; whatever it raises becomes a UserError at the place it had reached."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError

    last = Mark(label, 1, 1)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            last = Mark(label, event.start_mark.line + 1, event.start_mark.column + 1)
            yield event
    except MarkedYAMLError as error:
        place = error.problem_mark or error.context_mark
        mark = Mark(label, place.line + 1, place.column + 1) if place else last
        raise _error(f"not valid YAML: {str(error.problem or error.context)[:200]}", mark) from None
    except MemoryError:
        raise
    except Exception:  # on broken text the parser also fails with ValueError, AssertionError, IndexError, …
        raise _error("not valid YAML after this place", last) from None


def _compose_event(composer: _Composer, event: Any, mark: Mark, documents: int) -> None:
    from ruamel.yaml import events

    if isinstance(event, events.ScalarEvent):
        _refuse_tag(event, mark)
        composer.scalar(_yaml_value(event, mark, composer.wants_key), mark, event.anchor)
    elif isinstance(event, events.CollectionStartEvent):
        _refuse_tag(event, mark)
        composer.open("sequence" if isinstance(event, events.SequenceStartEvent) else "mapping", mark, event.anchor)
    elif isinstance(event, events.CollectionEndEvent):
        composer.close()
    elif isinstance(event, events.AliasEvent):
        composer.alias(event.anchor, mark)
    elif isinstance(event, events.DocumentStartEvent):
        _check_document(event, mark, documents)


def _check_document(event: Any, mark: Mark, documents: int) -> None:
    if documents > 1:
        raise _error("a second document begins here; a spec is one document", mark)
    if event.version not in (None, (1, 2)):
        raise _error(f"YAML {event.version[0]}.{event.version[1]} is asked for; a spec is YAML 1.2", mark)
    if event.tags:
        raise _error("a spec has no tags, and no %TAG directive", mark)


def _refuse_tag(event: Any, mark: Mark) -> None:
    if event.tag is not None:
        raise _error(f"the tag {shown(str(event.tag))} is not allowed", mark, "write the value without a tag")


def _yaml_value(event: Any, mark: Mark, is_key: bool) -> Value:
    text: str = event.value
    if not event.implicit[0]:
        return _checked_text(text, mark)
    if is_key and text == "<<":
        raise _error("the merge key '<<' is not part of YAML 1.2", mark, "write the keys out")
    return _plain_value(text, mark)


def _plain_value(text: str, mark: Mark) -> Value:
    """Return what an unquoted scalar means in the core schema of YAML 1.2 (section 10.3)."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return _integer(text, mark)
    if _FLOAT.fullmatch(text):
        return _float(text, mark)
    if _NOT_FINITE.fullmatch(text):
        raise _error(f"{text} is not a finite number", mark)
    if _SEXAGESIMAL.fullmatch(text):
        raise _error(
            f"{shown(text)} is a number to base 60 in YAML 1.1 and a text in YAML 1.2",
            mark,
            "put it in quotes, or write the number out",
        )
    return _checked_text(text, mark)


def _integer(text: str, mark: Mark) -> int:
    digits = text.lstrip("+-")
    if len(digits) > MAX_DIGITS:
        raise _error(f"an integer of {len(digits)} digits is too large", mark)
    if digits[0] == "0" and digits.isdigit() and len(digits) > 1:
        raise _error(f"{text[:40]} means different numbers in YAML 1.1 and 1.2", mark, _octal_hint(text, digits))
    return int(text, 0)


def _octal_hint(text: str, digits: str) -> str:
    octal = "" if re.search("[89]", digits) else str(int(digits, 8))
    sign = "-" if text.startswith("-") else ""
    return "write " + " or ".join(dict.fromkeys(f"{sign}{number}" for number in (octal, str(int(digits))) if number))


def _float(text: str, mark: Mark) -> float:
    if len(text) > 4 * MAX_DIGITS:
        raise _error(f"a number of {len(text)} characters is too long", mark)
    value = float(text)
    if abs(value) == float("inf"):
        raise _error(f"{text[:40]} is too large for a number", mark)
    if value == 0 and re.search("[1-9]", re.split("[eE]", text)[0]):
        raise _error(f"{text[:40]} is too small for a number", mark)
    return value


def _checked_text(text: str, mark: Mark) -> str:
    """Return `text` with surrogate pairs, as escapes make them, joined to the characters they stand for."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise _error("a text holds half of a surrogate pair", mark) from None


# --- JSON --------------------------------------------------------------------------------------------------

_TOKEN: Final = re.compile(r'[ \t\r\n]*(?:("[^"\\]*(?:\\.[^"\\]*)*")|([-+.\w]+)|([\[\]{},:]))', re.DOTALL)


def _read_json(text: str, label: str) -> Node | None:
    """Check the text with the standard parser, then walk its tokens, which have places."""
    if not text.strip():
        return None
    try:
        json.loads(text, parse_int=float, parse_constant=str)
    except json.JSONDecodeError as error:
        problem = re.sub(" at$", " here", error.msg[:1].lower() + error.msg[1:])
        raise _error(f"not valid JSON: {problem}", Mark(label, error.lineno, error.colno)) from None
    except RecursionError:
        pass  # the walk below stops at the place where it gets too deep
    composer = _Composer()
    starts = [0, *(found.end() for found in re.finditer("\n", text))]
    for token in _TOKEN.finditer(text):
        line = bisect_right(starts, token.start(token.lastindex or 0))
        mark = Mark(label, line, token.start(token.lastindex or 0) - starts[line - 1] + 1)
        _compose_token(composer, token, mark)
    return composer.root


def _compose_token(composer: _Composer, token: re.Match[str], mark: Mark) -> None:
    string, atom, sign = token.groups()
    if string:
        composer.scalar(_checked_text(json.loads(string), mark), mark)
    elif atom in ("NaN", "Infinity", "-Infinity"):
        raise _error(f"{atom} is not a finite number", mark)
    elif atom:
        composer.scalar(_plain_value(atom, mark), mark)
    elif sign in "[{":
        composer.open("sequence" if sign == "[" else "mapping", mark)
    elif sign in "]}":
        composer.close()


def _mark_at(text: str, index: int, label: str) -> Mark:
    before = text[:index]
    return Mark(label, before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1)
