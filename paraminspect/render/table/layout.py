"""Lay out a table in lines of fixed width: exact in a pipe, fitted to a terminal, at any number of rows.

Rich's own Table lays out some 1,700 rows a second and cuts what does not fit; this one writes 100,000 rows in some
seconds and drops whole columns instead, the least important first, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Generic, TypeVar

from paraminspect.render.table.folding import aside, cut
from paraminspect.render.table.style import HEAD, QUIET, paint, width_of
from paraminspect.text.view import View

Row = TypeVar("Row")
GAP = 2
WORTH_CUTTING_NAMES = 5
_BATCH = 1000


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column: what it shows of a row, how it is aligned, and how soon it goes when the terminal is narrow.

    `align` is ``left``, ``right`` or ``decimal`` (decimal points under each other, words to the right). The columns
    of the highest `rank` go first, all of them together; rank 0 stays. Names are cut rather than columns of a rank
    up to `WORTH_CUTTING_NAMES` lost. `style` is the style of a row's cell. `group` stands over neighbouring columns,
    `foot` under the column. `below` are lines that follow a row in this column.
    """

    head: str
    cell: Callable[[Row], str]
    align: str = "left"
    rank: int = 0
    group: str = ""
    foot: str = ""
    style: Callable[[Row], str] | None = None
    below: Callable[[Row], Sequence[str]] | None = None


@dataclass(frozen=True)
class _Filled(Generic[Row]):
    """A column with its cells, aligned among themselves, and its natural width.

    `narrow` says that every character of the cells takes one column of the terminal.
    """

    column: Column[Row]
    cells: list[str]
    width: int
    narrow: bool


def lay_out(columns: Sequence[Column[Row]], rows: Sequence[Row], view: View) -> Iterator[str]:
    """Yield the lines of the table, each with its newline; a last line says which columns were left out.

    The first column holds the names. Columns with nothing in any cell are not shown.
    """
    filled = [_fill(column, rows) for column in columns]
    filled = [one for one in filled if one.column.rank == 0 or any(one.cells)]
    kept = _fit(filled, view)
    widths = [one.width for one in kept]
    widths[0] = _first_width(kept, view)
    yield from _head([one.column for one in kept], widths, view)
    yield from _body(kept, widths, rows, view)
    yield from _foot([one.column for one in kept], widths, view)
    shown = [one.column for one in kept]
    left_out = dict.fromkeys(_title(one.column) for one in filled if one.column not in shown)
    if left_out:
        yield from aside(f"left out to fit: {', '.join(left_out)}", "all with | less -S", view)


def _fill(column: Column[Row], rows: Sequence[Row]) -> _Filled[Row]:
    cells = list(map(column.cell, rows))
    if column.align == "decimal":
        cells = _align_points(cells)
    below = [line for row in rows for line in column.below(row)] if column.below else []
    widths = list(map(len if "".join(cells).isascii() else width_of, cells))
    widest = max([*widths, *map(width_of, (column.head, column.foot, *below))])
    return _Filled(column, cells, widest, widths == list(map(len, cells)))


def _align_points(texts: list[str]) -> list[str]:
    """Put decimal points under each other by padding behind; a word stays as it is."""
    behind = [len(text) - text.find(".") if "." in text else 0 for text in texts]
    most = max(behind, default=0)
    return [
        text + " " * (most - after) if text[-1:].isdecimal() else text
        for text, after in zip(texts, behind, strict=True)
    ]


def _widen_for_groups(filled: list[_Filled[Row]]) -> list[_Filled[Row]]:
    """Give the last column of each group the room that the group's name needs."""
    widened = []
    for group, members in groupby(filled, key=lambda one: one.column.group):
        *others, last = members
        taken = sum(one.width + GAP for one in others)
        widened += [*others, replace(last, width=max(last.width, len(group) - taken))]
    return widened


def _fit(filled: list[_Filled[Row]], view: View) -> list[_Filled[Row]]:
    """Choose the columns that fit, and give each group the room that its name needs."""
    kept = _widen_for_groups(filled)
    while view.width is not None and (worst := max(one.column.rank for one in kept)):
        names = kept[0].width
        if worst <= WORTH_CUTTING_NAMES:
            names = min(names, max(16, view.width * 2 // 5))
        if names + _others(kept) <= view.width:
            break
        kept = _widen_for_groups([one for one in filled if one.column.rank < worst])
    return kept


def _first_width(kept: list[_Filled[Row]], view: View) -> int:
    natural = kept[0].width
    return natural if view.width is None else max(1, min(natural, view.width - _others(kept)))


def _others(kept: list[_Filled[Row]]) -> int:
    """Return what the columns after the first take, with the gaps before them."""
    return sum(GAP + one.width for one in kept[1:])


def _title(column: Column[Row]) -> str:
    return f"{column.group} {column.head}".lstrip()


def _head(columns: Sequence[Column[Row]], widths: list[int], view: View) -> Iterator[str]:
    if any(column.group for column in columns):
        yield paint(_groups(columns, widths, view), HEAD, view.colour) + "\n"
    yield paint(_line([column.head for column in columns], columns, widths), HEAD, view.colour) + "\n"
    yield from _rule(widths, view)


def _groups(columns: Sequence[Column[Row]], widths: list[int], view: View) -> str:
    """Write each group's name over its columns, with a rule to both sides where it has several."""
    parts = []
    for group, members in groupby(zip(columns, widths, strict=True), key=lambda pair: pair[0].group):
        pairs = list(members)
        span = sum(width for _, width in pairs) + GAP * (len(pairs) - 1)
        if group and len(pairs) > 1 and view.decoration:
            parts.append(f" {group} ".center(span, view.glyphs.rule))
        elif len(pairs) > 1:
            parts.append(group.center(span))
        else:
            parts.append(_pad(group, span, pairs[0][0].align))
    return (" " * GAP).join(parts).rstrip()


def _rule(widths: list[int], view: View) -> Iterator[str]:
    if view.decoration:
        yield paint(view.glyphs.rule * (sum(widths) + GAP * (len(widths) - 1)), QUIET, view.colour) + "\n"


def _body(kept: list[_Filled[Row]], widths: list[int], rows: Sequence[Row], view: View) -> Iterator[str]:
    names = kept[0].column
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        cells = [_padded(one, start, batch, width, view) for one, width in zip(kept, widths, strict=True)]
        for row, texts in zip(batch, zip(*cells, strict=True), strict=True):
            yield (" " * GAP).join(texts).rstrip() + "\n"
            for line in names.below(row) if names.below else ():
                style = names.style(row) if names.style else ""
                yield paint(cut(line, widths[0], view), style, view.colour) + "\n"


def _padded(filled: _Filled[Row], start: int, rows: Sequence[Row], width: int, view: View) -> list[str]:
    column, cells = filled.column, filled.cells[start : start + len(rows)]
    if filled.width > width:
        cells = [cut(text, width, view) for text in cells]
    if view.colour and column.style:
        return [_colour(column, row, text, width) for row, text in zip(rows, cells, strict=True)]
    if not filled.narrow:
        return [_pad(text, width, column.align) for text in cells]
    return [text.ljust(width) for text in cells] if column.align == "left" else [text.rjust(width) for text in cells]


def _colour(column: Column[Row], row: Row, text: str, width: int) -> str:
    """Paint a cell, but not the space around it."""
    padded = _pad(text, width, column.align)
    style = column.style(row) if column.style else ""
    return padded.replace(text, paint(text, style, colour=True), 1) if style and text else padded


def _foot(columns: Sequence[Column[Row]], widths: list[int], view: View) -> Iterator[str]:
    if any(column.foot for column in columns[1:]):
        yield from _rule(widths, view)
        yield _line([column.foot for column in columns], columns, widths) + "\n"


def _line(texts: Sequence[str], columns: Sequence[Column[Row]], widths: list[int]) -> str:
    cells = (_pad(text, width, column.align) for text, column, width in zip(texts, columns, widths, strict=True))
    return (" " * GAP).join(cells).rstrip()


def _pad(text: str, width: int, align: str) -> str:
    space = " " * (width - width_of(text))
    return text + space if align == "left" else space + text
