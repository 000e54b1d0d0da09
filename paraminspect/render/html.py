"""HTML for a notebook: one fragment with its own style, legible on a light and on a dark page.

It sets no background and no text colour but for what is wrong; every text from an input is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from html import escape
from typing import Any

from paraminspect.page.parts import (
    BROKEN,
    FINE,
    HEAD,
    QUIET,
    SUSPICIOUS,
    TONES,
    Code,
    Column,
    Entries,
    Listing,
    Page,
    Paragraph,
    Part,
    Table,
    in_words,
)
from paraminspect.report import Headline
from paraminspect.text.escape import CODE, View, clean, clean_lines, spell

MOST_ROWS = 200
_MOST_OF_A_TREE = 1_000
_OPEN = 2
"""Levels of a tree that are open at first."""
_CLASSES = {SUSPICIOUS: "wrong", BROKEN: "broken", QUIET: "quiet", FINE: "fine", HEAD: "head"}
_STYLE = """<style>
.paraminspect {line-height: 1.5; overflow-x: auto}
.paraminspect p {margin: 0.2em 0}
.paraminspect table.rows {border-collapse: collapse; margin: 0.8em 0; font-size: 90%; border: 0}
.paraminspect table.rows tr {background: none}
.paraminspect table.rows th, .paraminspect table.rows td
  {border: 0; padding: 0.15em 0.7em; text-align: left; white-space: nowrap; vertical-align: top}
.paraminspect table.rows td.name {white-space: normal; overflow-wrap: anywhere; min-width: 16em}
.paraminspect table.rows th.number, .paraminspect table.rows td.number
  {text-align: right; font-variant-numeric: tabular-nums}
.paraminspect table.rows thead tr {border-bottom: 1px solid currentColor}
.paraminspect table.rows tfoot tr {border-top: 1px solid currentColor}
.paraminspect code {background: none; color: inherit; padding: 0}
.paraminspect .quiet {opacity: 0.65}
.paraminspect .alias {opacity: 0.65; padding-left: 1em}
.paraminspect .wrong {color: #d9480f}
.paraminspect .broken {color: #d9480f; font-weight: bold}
.paraminspect .fine {color: #2b8a3e}
.paraminspect .head {font-weight: bold}
.paraminspect dl {display: grid; grid-template-columns: max-content 1fr; gap: 0 1em; margin: 0.8em 0}
.paraminspect dl dt {font-weight: bold}
.paraminspect dl dd {margin: 0; overflow-wrap: anywhere}
</style>
"""
_TREE_STYLE = """<style>
.paraminspect .tree {margin: 0.8em 0; font-size: 90%; display: inline-block; min-width: 100%}
.paraminspect .tree .head, .paraminspect .tree .row, .paraminspect .tree .foot
  {display: grid; grid-template-columns: minmax(24em, 3fr) repeat(var(--columns), minmax(7em, 1fr)); gap: 0 1em}
.paraminspect .tree .head {font-weight: bold; border-bottom: 1px solid currentColor}
.paraminspect .tree .foot {border-top: 1px solid currentColor}
.paraminspect .tree .number {text-align: right; font-variant-numeric: tabular-nums}
.paraminspect .tree summary {display: block; cursor: pointer}
.paraminspect .tree summary .name::before {content: "▸ "}
.paraminspect .tree details[open] > summary .name::before {content: "▾ "}
.paraminspect .tree .leaf .name::before {content: "\\2003"}
</style>
"""


def draw(found: Page, view: View) -> Iterator[str]:
    """Yield a page in pieces: the heading, what was run, then its parts; long tables cut."""
    yield f'<div class="paraminspect">\n{_STYLE}'
    yield f"<p><b>{_text(found.name, bare=True)}</b>: {_text(found.title)}</p>\n"
    if found.setting:
        yield f'<p class="quiet">{" · ".join(map(_text, found.setting))}</p>\n'
    for part in found.parts:
        yield from _part(part)
    yield "</div>\n"


def _part(part: Part) -> Iterator[str]:
    match part:
        case Table() if part.depth is not None:
            yield from _tree(part, part.depth)
        case Headline():
            yield f'<p class="{_CLASSES[TONES[part.tone]]}">{_text(in_words(part))}</p>\n'
            yield f"<p>try: {_text(part.hint)}</p>\n" if part.hint else ""
        case Table():
            yield from _table(part)
        case Entries():
            yield from _entries(part)
        case Listing():
            yield f"<p><b>{_text(part.name)}</b> {_text(part.about)}</p>\n"
            for label, text in part.texts:
                yield f"<p>{escape(label)}</p>\n{_block(text)}"
        case Code():
            yield _block(part.text)
        case Paragraph():
            yield f"<p>{_text(part.text)}</p>\n"


def _table(table: Table[Any]) -> Iterator[str]:
    """Yield a table without the columns that would be empty, cut after some rows; the totals are of all."""
    rows = table.rows[:MOST_ROWS]
    first, *others = table.columns
    columns = [first, *(column for column in others if any(map(column.cell, rows)))]
    heads = _row("th", columns, (column.full_head for column in columns))
    yield f'<table class="rows">\n<thead>{heads}</thead>\n<tbody>\n'
    for row in rows:
        cells = "".join(_cell(column, row) for column in columns[1:])
        yield f'<tr><td class="name">{_name(first, row)}</td>{cells}</tr>\n'
    yield "</tbody>\n"
    if any(column.foot for column in columns[1:]):
        yield f"<tfoot>{_row('td', columns, (column.foot for column in columns))}</tfoot>\n"
    yield "</table>\n"
    yield from _remarks(table, len(table.rows) - MOST_ROWS)


def _remarks(table: Table[Any], left_out: int) -> Iterator[str]:
    """Yield what was done to the rows, how many are left out, and what the columns mean."""
    notes = [f"{left_out:,} more rows" if left_out > 0 else "", table.note]
    if any(notes):
        remark = "; ".join(filter(None, notes))
        yield f'<p class="quiet">{_text(remark)} (<code>{table.field}</code> has every row)</p>\n'
    for text in table.legend:
        yield f'<p class="quiet">{_text(text)}</p>\n'


def _tree(table: Table[Any], depth: Callable[[Any], int]) -> Iterator[str]:
    """Yield a table whose rows fold: each row with rows below it is the summary of its details, the first ones open."""
    rows = table.rows[:_MOST_OF_A_TREE]
    first, *others = table.columns
    columns = [first, *(column for column in others if any(map(column.cell, rows)))]
    yield _TREE_STYLE
    yield f'<div class="tree" style="--columns: {len(columns) - 1}">\n'
    yield _line_of("head", [(_text(column.full_head), _class(column)) for column in columns])
    levels = [depth(row) for row in rows]
    open_at: list[int] = []
    for at, row in enumerate(rows):
        while open_at and open_at[-1] >= levels[at]:
            open_at.pop()
            yield "</details>\n"
        cells = [(_name(first, row), ' class="name"')]
        cells += [
            (_text(column.cell(row)), _class(column, column.tone(row) if column.tone else "")) for column in columns[1:]
        ]
        if at + 1 < len(levels) and levels[at + 1] > levels[at]:
            open_at.append(levels[at])
            yield f"<details{' open' if levels[at] < _OPEN else ''}><summary>{_line_of('row', cells)}</summary>\n"
        else:
            yield _line_of("row leaf", cells)
    yield "</details>\n" * len(open_at)
    yield _line_of("foot", [(_text(column.foot), _class(column)) for column in columns])
    yield "</div>\n"
    yield from _remarks(table, len(table.rows) - _MOST_OF_A_TREE)


def _line_of(kind: str, cells: Iterable[tuple[str, str]]) -> str:
    return f'<div class="{kind}">{"".join(f"<span{attributes}>{text}</span>" for text, attributes in cells)}</div>\n'


def _row(tag: str, columns: Iterable[Column[Any]], texts: Iterable[str]) -> str:
    pairs = zip(columns, texts, strict=True)
    return f"<tr>{''.join(f'<{tag}{_class(column)}>{_text(text)}</{tag}>' for column, text in pairs)}</tr>"


def _name(column: Column[Any], row: Any) -> str:
    below = column.below(row) if column.below else ()
    lines = (f'<br><span class="alias">{_text(line.strip())}</span>' for line in below)
    return _text(column.cell(row)) + "".join(lines)


def _cell(column: Column[Any], row: Any) -> str:
    text = _text(column.cell(row))
    return f"<td{_class(column, column.tone(row) if column.tone and text else '')}>{text}</td>"


def _class(column: Column[Any], tone: str = "") -> str:
    names = " ".join(filter(None, ("" if column.align == "left" else "number", _CLASSES.get(tone, ""))))
    return f' class="{names}"' if names else ""


def _entries(entries: Entries) -> Iterator[str]:
    lines = [f"<dt>{_text(term).strip()}</dt><dd>{_text(text)}</dd>\n" for term, text in entries.lines if text]
    if entries.title:
        yield f"<p>{_text(entries.title)}</p>\n"
    if lines:
        yield f"<dl>\n{''.join(lines)}</dl>\n"


def _block(text: str) -> str:
    return f"<pre>{escape(chr(10).join(clean_lines(text)))}</pre>\n"


def _text(text: str, bare: bool = False) -> str:
    """Spell out a sentence: its codes as code, which may be broken after dots but not inside ``{0..31}``."""
    return spell(text, _bare if bare else _marked, escape)


def _marked(mark: str, text: str) -> str:
    return f"<code>{_bare(mark, text)}</code>" if mark == CODE else _bare(mark, text)


def _bare(_mark: str, text: str) -> str:
    return escape(clean(text, None))
