"""Spec text to a tree of nodes: YAML 1.2 from the events of ruamel.yaml, JSON from its tokens."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, Final, Literal, TypeAlias

from paraminspect.errors import UserError
from paraminspect.spec.tree import Composer, Mark, Node, Scalar, Value, shown, syntax_error

Syntax: TypeAlias = Literal["yaml", "json"]


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
    schema) or JSON document with text keys, none of them twice, within the bounds of the composer on depth and size.
    """
    text = text.removeprefix("\ufeff")
    root = (read_json if syntax == "json" else read_yaml)(text, label)
    if root is None or (isinstance(root, Scalar) and root.value is None):
        raise UserError("the spec is empty", where=label, hint="start it with 'layers:'", code="spec-syntax")
    return root


# --- what a scalar means, in the core schema of YAML 1.2 (section 10.3); JSON's are among them -----------


MAX_DIGITS: Final = 100

_INTEGER: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_SEXAGESIMAL: Final = re.compile(r"[-+]?[0-9]+(?::[0-5]?[0-9])+(?:\.[0-9]*)?")
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def plain_value(text: str, mark: Mark) -> Value:
    """Return what an unquoted scalar means in the core schema of YAML 1.2 (section 10.3)."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return _integer(text, mark)
    if _FLOAT.fullmatch(text):
        return _float(text, mark)
    if _NOT_FINITE.fullmatch(text):
        raise syntax_error(f"{text} is not a finite number", mark)
    if _SEXAGESIMAL.fullmatch(text):
        raise syntax_error(
            f"{shown(text)} is a number to base 60 in YAML 1.1 and a text in YAML 1.2",
            mark,
            "put it in quotes, or write the number out",
        )
    return checked_text(text, mark)


def _integer(text: str, mark: Mark) -> int:
    digits = text.lstrip("+-")
    if len(digits) > MAX_DIGITS:
        raise syntax_error(f"an integer of {len(digits)} digits is too large", mark)
    if digits[0] == "0" and digits.isdigit() and len(digits) > 1:
        raise syntax_error(f"{text[:40]} means different numbers in YAML 1.1 and 1.2", mark, _octal_hint(text, digits))
    return int(text, 0)


def _octal_hint(text: str, digits: str) -> str:
    octal = "" if re.search("[89]", digits) else str(int(digits, 8))
    sign = "-" if text.startswith("-") else ""
    return "write " + " or ".join(dict.fromkeys(f"{sign}{number}" for number in (octal, str(int(digits))) if number))


def _float(text: str, mark: Mark) -> float:
    if len(text) > 4 * MAX_DIGITS:
        raise syntax_error(f"a number of {len(text)} characters is too long", mark)
    value = float(text)
    if abs(value) == float("inf"):
        raise syntax_error(f"{text[:40]} is too large for a number", mark)
    if value == 0 and re.search("[1-9]", re.split("[eE]", text)[0]):
        raise syntax_error(f"{text[:40]} is too small for a number", mark)
    return value


def checked_text(text: str, mark: Mark) -> str:
    """Return `text` with surrogate pairs, as escapes make them, joined to the characters they stand for."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise syntax_error("a text holds half of a surrogate pair", mark) from None


# --- YAML: one document, without tags, merge keys and directives -----------------------------------------


# What YAML does not print, and the separators that YAML 1.1 and 1.2 treat differently.
_NOT_RAW: Final = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def read_yaml(text: str, label: str) -> Node | None:
    """Return the tree of a YAML document; None for no document. Raises UserError."""
    found = _NOT_RAW.search(text)
    if found:
        hint = "in double quotes, write it as an escape"
        raise syntax_error(
            f"the character U+{ord(found[0]):04X} cannot stand here", _mark_at(text, found.start(), label), hint
        )
    composer = Composer()
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
        raise syntax_error(f"not valid YAML: {str(error.problem or error.context)[:200]}", mark) from None
    except MemoryError:
        raise
    except Exception:  # on broken text the parser also fails with ValueError, AssertionError, IndexError, …
        raise syntax_error("not valid YAML after this place", last) from None


def _compose_event(composer: Composer, event: Any, mark: Mark, documents: int) -> None:
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
        raise syntax_error("a second document begins here; a spec is one document", mark)
    if event.version not in (None, (1, 2)):
        raise syntax_error(f"YAML {event.version[0]}.{event.version[1]} is asked for; a spec is YAML 1.2", mark)
    if event.tags:
        raise syntax_error("a spec has no tags, and no %TAG directive", mark)


def _refuse_tag(event: Any, mark: Mark) -> None:
    if event.tag is not None:
        raise syntax_error(f"the tag {shown(str(event.tag))} is not allowed", mark, "write the value without a tag")


def _yaml_value(event: Any, mark: Mark, is_key: bool) -> Value:
    text: str = event.value
    if not event.implicit[0]:
        return checked_text(text, mark)
    if is_key and text == "<<":
        raise syntax_error("the merge key '<<' is not part of YAML 1.2", mark, "write the keys out")
    return plain_value(text, mark)


def _mark_at(text: str, index: int, label: str) -> Mark:
    before = text[:index]
    return Mark(label, before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1)


# --- JSON: the standard parser says whether the text is right, its tokens say where things stand ---------


_TOKEN: Final = re.compile(r'[ \t\r\n]*(?:("[^"\\]*(?:\\.[^"\\]*)*")|([-+.\w]+)|([\[\]{},:]))', re.DOTALL)


def read_json(text: str, label: str) -> Node | None:
    """Return the tree of a JSON document; None for no text. Raises UserError."""
    if not text.strip():
        return None
    try:
        json.loads(text, parse_int=float, parse_constant=str)
    except json.JSONDecodeError as error:
        problem = re.sub(" at$", " here", error.msg[:1].lower() + error.msg[1:])
        raise syntax_error(f"not valid JSON: {problem}", Mark(label, error.lineno, error.colno)) from None
    except RecursionError:
        pass  # the walk below stops at the place where it gets too deep
    composer = Composer()
    starts = [0, *(found.end() for found in re.finditer("\n", text))]
    for token in _TOKEN.finditer(text):
        line = bisect_right(starts, token.start(token.lastindex or 0))
        mark = Mark(label, line, token.start(token.lastindex or 0) - starts[line - 1] + 1)
        _compose_token(composer, token, mark)
    return composer.root


def _compose_token(composer: Composer, token: re.Match[str], mark: Mark) -> None:
    string, atom, sign = token.groups()
    if string:
        composer.scalar(checked_text(json.loads(string), mark), mark)
    elif atom in ("NaN", "Infinity", "-Infinity"):
        raise syntax_error(f"{atom} is not a finite number", mark)
    elif atom:
        composer.scalar(plain_value(atom, mark), mark)
    elif sign in "[{":
        composer.open("sequence" if sign == "[" else "mapping", mark)
    elif sign in "]}":
        composer.close()
