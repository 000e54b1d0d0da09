"""Lay out a table in lines of fixed width: exact in a pipe, fitted to a terminal, at any number of rows.

Rich's own Table lays out some 1,700 rows a second and cuts what does not fit; this one writes 100,000 rows in some
seconds and drops whole columns instead, the least important first, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, groupby
from typing import Generic, TypeVar

from paraminspect.frozen import dataclass
from paraminspect.page.parts import HEAD, QUIET, Column, Table
from paraminspect.render.table.lines import cut, cut_name, paint, width_of
from paraminspect.text.escape import View
from paraminspect.text.numbers import plural

Row = TypeVar("Row")
_Cut = Callable[[str, int, View], str]
GAP = 2
WORTH_CUTTING_NAMES = 5
"""Names are cut rather than columns of a rank up to this lost."""
_BATCH = 1000
_MOST = 40


@dataclass(frozen=True)
class _Filled(Generic[Row]):
    """A column with its cells, aligned among themselves, their tones, the lines below them, and its natural width.

    `narrow` says that every character of the cells takes one column of the terminal.
    """

    column: Column[Row]
    cells: list[str]
    tones: list[str]
    below: list[list[str]]
    width: int
    narrow: bool


def lay_out(table: Table[Row], view: View) -> Iterator[str]:
    """Yield the lines of the table, each with its newline; a last line says which columns were left out.

    In a terminal the middle of very many rows is left out, where the table has a noun for them.
    """
    rows, gap = list(table.rows), None
    if view.width is not None and table.noun and len(rows) > _MOST:
        half = _MOST // 2
        gap = f"{view.glyphs.ellipsis} {plural(len(rows) - 2 * half, f'more {table.noun}')}"
        rows = [*rows[:half], *rows[-half:]]
    filled = [
        _fill(column, rows, None if gap is None else "" if at else gap, view) for at, column in enumerate(table.columns)
    ]
    filled = [one for one in filled if one.column.rank == 0 or any(one.cells)]
    kept = _fit(filled, view)
    while (short := filled[0].column.short) and _first_width(kept, view) < kept[0].width:
        filled[0] = _fill(short, rows, gap, view)
        kept = _fit(filled, view)
    widths = [one.width for one in kept]
    widths[0] = _first_width(kept, view)
    columns, shown = ([one.column for one in found] for found in (filled, kept))
    yield from _head(shown, widths, view)
    yield from _body(kept, widths, view, cut if table.depth is None else cut_name)
    yield from _foot(shown, widths, view)
    left_out = dict.fromkeys(f"{one.group} {one.head}".lstrip() for one in columns if one not in shown)
    if left_out:
        yield paint(_left_out(list(left_out), view), QUIET, view.colour) + "\n"


def _left_out(heads: Sequence[str], view: View) -> str:
    """Return one line that names the columns that were left out, as many as there is room for."""
    for most in range(len(heads), 0, -1):
        more = f" and {len(heads) - most:,} more" if most < len(heads) else ""
        line = f"left out: {', '.join(heads[:most])}{more} (all with | less -S)"
        if view.width is None or width_of(line) <= view.width:
            return line
    return f"{plural(len(heads), 'column')} left out"


def _fill(column: Column[Row], rows: list[Row], gap: str | None, view: View) -> _Filled[Row]:
    """Spell out a column; of very many rows the middle one is a `gap`."""
    cells = _spelled(list(map(column.cell, rows)), view)
    below = [[view.sentence(line) for line in column.below(row)] for row in rows] if column.below else []
    tones = list(map(column.tone, rows)) if column.tone and view.colour else []
    if gap is not None:
        middle = len(rows) // 2
        cells.insert(middle, gap)
        tones[middle:middle] = [""] if tones else []
        below[middle:middle] = [[]] if below else []
    if column.align == "decimal":
        cells = _align_points(cells)
    head, foot, group = map(view.sentence, (column.head, column.foot, column.group))
    column = replace(column, head=head, foot=foot, group=group)
    widths = list(map(len if "".join(cells).isascii() else width_of, cells))
    widest = max([*widths, *map(width_of, (head, foot, *chain(*below)))])
    return _Filled(column, cells, tones, below, widest, widths == list(map(len, cells)))


def _spelled(cells: list[str], view: View) -> list[str]:
    joined = "".join(cells)
    if joined.isprintable() and (joined.isascii() or not view.glyphs.ascii):
        return cells
    spelled = {text: view.sentence(text) for text in dict.fromkeys(cells)}  # a dtype is that of many rows
    return [spelled[text] for text in cells]


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
        if group and len(pairs) > 1 and view.decoration and len(group) + 2 <= span:
            parts.append(f" {group} ".center(span, view.glyphs.rule))
        elif len(pairs) > 1:
            parts.append(group.center(span))
        else:
            parts.append(_pad(group, span, pairs[0][0].align))
    return (" " * GAP).join(parts).rstrip()


def _rule(widths: list[int], view: View) -> Iterator[str]:
    if view.decoration:
        yield paint(view.glyphs.rule * (sum(widths) + GAP * (len(widths) - 1)), QUIET, view.colour) + "\n"


def _body(kept: list[_Filled[Row]], widths: list[int], view: View, shorten: _Cut) -> Iterator[str]:
    names = kept[0]
    for start in range(0, len(names.cells), _BATCH):
        padded = [_padded(one, start, width, view, shorten) for one, width in zip(kept, widths, strict=True)]
        for at, texts in enumerate(zip(*padded, strict=True), start):
            yield (" " * GAP).join(texts).rstrip() + "\n"
            for line in names.below[at] if names.below else ():
                tone = names.tones[at] if names.tones else ""
                yield paint(shorten(line, widths[0], view), tone, view.colour) + "\n"


def _padded(filled: _Filled[Row], start: int, width: int, view: View, shorten: _Cut) -> list[str]:
    align, cells = filled.column.align, filled.cells[start : start + _BATCH]
    if filled.width > width:
        cells = [shorten(text, width, view) for text in cells]
    if filled.tones:
        tones = filled.tones[start : start + _BATCH]
        return [_colour(text, tone, width, align) for text, tone in zip(cells, tones, strict=True)]
    if not filled.narrow:
        return [_pad(text, width, align) for text in cells]
    return [text.ljust(width) for text in cells] if align == "left" else [text.rjust(width) for text in cells]


def _colour(text: str, tone: str, width: int, align: str) -> str:
    """Paint a cell, but not the space around it."""
    padded = _pad(text, width, align)
    return padded.replace(text, paint(text, tone, colour=True), 1) if tone and text else padded


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
