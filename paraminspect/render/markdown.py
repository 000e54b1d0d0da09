"""Markdown that pastes into a pull request: a heading, what was run, tables, lists.

Every text from an input stands in a code span, where GitHub reads no markup, no HTML, no @name and no link.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from paraminspect.page.parts import Code, Column, Entries, Listing, Page, Paragraph, Part, Table, in_words
from paraminspect.report import Headline
from paraminspect.text.escape import CODE, END, View, clean, clean_lines, spell

_HARMLESS = re.compile("–|-?[0-9][0-9A-Za-z.,+-]*|[A-Za-z][0-9A-Za-z]*(_[0-9A-Za-z]+)*")


def draw(found: Page, view: View) -> Iterator[str]:
    """Yield a page in pieces: its title as a heading, then its parts, a blank line between."""
    if found.name or found.title:
        yield f"### {_text(found.name)}: {_text(found.title)}\n"
    if found.setting:
        yield f"\n{' · '.join(map(_text, found.setting))}\n"
    for part in found.parts:
        yield from _part(part)


def _part(part: Part) -> Iterator[str]:
    match part:
        case Headline():
            yield f"\n**{_text(in_words(part))}**\n"
            yield f"\ntry: {_text(part.hint)}\n" if part.hint else ""
        case Table():
            yield from _table(part)
        case Entries():
            yield from _entries(part)
        case Listing():
            yield f"\n{_text(part.name)}: {_text(part.about)}\n"
            for label, text in part.texts:
                yield f"\n{label}:\n"
                yield from _block(text)
        case Code():
            yield from _block(part.text)
        case Paragraph():
            yield f"\n{_text(part.text)}\n"


def _table(table: Table[Any]) -> Iterator[str]:
    """Yield the table without the columns that would be empty, and below it what there is to say of it."""
    first, *others = table.columns
    shown = [first, *(column for column in others if any(map(column.cell, table.rows)))]
    yield "\n" + _line([_text(column.full_head) for column in shown])
    yield _line(["---" if column.align == "left" else "--:" for column in shown])
    for row in table.rows:
        yield _line([_name(first, row), *(_text(column.cell(row)) for column in shown[1:])])
    for text in filter(None, (table.note, *table.legend)):
        yield f"\n{_text(text)}\n"


def _name(column: Column[Any], row: Any) -> str:
    texts = [column.cell(row), *(column.below(row) if column.below else ())]
    return " ".join(_text(text).strip() for text in texts)


def _line(texts: Sequence[str]) -> str:
    line = " | ".join(texts)
    if line.count("|") >= len(texts):
        line = " | ".join(text.replace("|", "\\|") for text in texts)
    return f"| {line} |\n"


def _entries(entries: Entries) -> Iterator[str]:
    terms = [(_text(term).strip(), _text(text)) for term, text in entries.lines if text]
    lines = [f"- {term}: {text}\n" if term else f"  {text}\n" for term, text in terms]
    if entries.title:
        yield f"\n{_text(entries.title)}\n"
    if lines:
        yield "\n"
        yield from lines


def _block(text: str) -> Iterator[str]:
    """Yield the lines of a text as they are, in a fence that none of them can close."""
    fence = _fence(text, 3)
    yield f"\n{fence}\n"
    for line in clean_lines(text):
        yield f"{line}\n"
    yield f"{fence}\n"


# --- texts -------------------------------------------------------------------------------------------------------


def _text(text: str) -> str:
    """Spell out a sentence: its codes as code spans, its words as they are unless they could be markup."""
    return spell(text, _marked) if END in text else text


def _marked(mark: str, text: str) -> str:
    return _span(text) if mark == CODE else _words(text)


@lru_cache(1000)
def _words(text: str) -> str:
    return " ".join(word if _HARMLESS.fullmatch(word) else _span(word) for word in text.split(" "))


def _span(text: str) -> str:
    """Return a text as a code span that shows it exactly; nothing where there is no text."""
    shown = clean(text, limit=None)
    if not shown:
        return ""
    if "`" not in shown and " " not in shown:
        return f"`{shown}`"
    fence = _fence(shown, 1)
    stripped = shown[0] == shown[-1] == " " and shown.strip(" ")
    pad = " " if stripped or "`" in (shown[0], shown[-1]) else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def _fence(text: str, least: int) -> str:
    return "`" * max(least, 1 + max(map(len, re.findall("`+", text)), default=0))
