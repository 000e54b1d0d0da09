"""The columns that tables of parameters share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from paraminspect.render import cells
from paraminspect.render.several import members_of
from paraminspect.render.table.layout import Column
from paraminspect.render.table.style import BROKEN, QUIET, SHARED, SUSPICIOUS
from paraminspect.report import Parameter, Report, Values
from paraminspect.text.numbers import sparkline, total
from paraminspect.text.view import View

Row = Parameter
_TROUBLE = {
    "zero": SUSPICIOUS,
    "unused": SUSPICIOUS,
    "disconnected": SUSPICIOUS,
    "nonfinite": BROKEN,
    "frozen": QUIET,
}


def before(row: Row) -> Values | None:
    """Pick the values from before an initialisation or an edit."""
    return row.before


def now(row: Row) -> Values | None:
    """Pick the values of the tensor as it is."""
    return row.values


def name(head: str, view: View, foot: str = "") -> Column[Row]:
    """Show a tensor's name, and on lines of their own the other names of a shared one."""

    def others(row: Row) -> Sequence[str]:
        return [f"  = {view.text(alias)}" for alias in row.aliases]

    def style(row: Row) -> str:
        return SHARED if row.aliases else ""

    return Column(head, lambda row: cells.name(row, view), foot=foot, style=style, below=others)


def shape(view: View, rank: int) -> Column[Row]:
    """Show the shape as PyTorch writes it."""
    return Column("shape", lambda row: cells.shape(row, view), rank=rank)


def count(rows: Sequence[Row], view: View, rank: int) -> Column[Row]:
    """Show each row's own count, and their sum."""
    foot = total([member.numel for row in rows for member in members_of(row)], view.glyphs)
    return Column("count", lambda row: cells.count(row, view), "right", rank, foot=foot)


def percent(report: Report, rows: Sequence[Row], rank: int) -> Column[Row]:
    """Show each row's share of the whole model's elements; nothing where the model's are not all known."""
    whole = cells.whole_of(report)
    foot = cells.percent(sum(row.numel or 0 for row in rows), whole)
    return Column("%", lambda row: cells.percent(row.numel, whole), "right", rank, foot=foot)


def dtype(view: View, rank: int) -> Column[Row]:
    """Show the type of the elements."""
    return Column("dtype", lambda row: view.text(row.dtype), rank=rank)


def nbytes(rows: Sequence[Row], view: View, rank: int) -> Column[Row]:
    """Show the bytes of each tensor, and their sum."""
    foot = total([member.bytes for row in rows for member in members_of(row)], view.glyphs)
    return Column("bytes", lambda row: cells.nbytes(row, view), "right", rank, foot=foot)


def measured(
    key: str,
    pick: Callable[[Row], Values | None],
    view: View,
    rank: int,
    group: str = "",
    off: Collection[tuple[str | None, str | None]] = (),
) -> Column[Row]:
    """Show one figure of a row's values; `off` are the rows, by name, and the figures in them that are wrong."""

    def style(row: Row) -> str:
        return BROKEN if off and any((member.name, key) in off for member in members_of(row)) else ""

    return Column(key, lambda row: cells.moment(pick(row), key, view), "decimal", rank, group, style=style)


def expected(key: str, view: View, rank: int) -> Column[Row]:
    """Show a moment that the row's scheme should give."""
    return Column(key, lambda row: cells.expected(row.init, f"expected_{key}", view), "decimal", rank, "expected")


def scheme(head: str, view: View, rank: int) -> Column[Row]:
    """Show which scheme set the parameter."""
    return Column(head, lambda row: cells.scheme(row.init, view), rank=rank)


def histogram(view: View, rank: int) -> Column[Row]:
    """Draw how the values lie between min and max, where pictures are wanted."""

    def picture(row: Row) -> str:
        return sparkline(row.values.histogram, view.glyphs) if row.values and view.decoration else ""

    return Column("histogram", picture, rank=rank)


def gradient(report: Report, view: View, rank: int) -> Column[Row]:
    """Show the rms of the gradient, or in a word why there is none."""

    def cell(row: Row) -> str:
        return cells.gradient(row, report.forward, view)

    return Column("rms", cell, "decimal", rank, "gradient", style=trouble)


def trouble(row: Row) -> str:
    """Return the style of a gradient's status."""
    return _TROUBLE.get(row.gradient.status, "") if row.gradient else ""
