"""The columns that tables of parameters share."""

from __future__ import annotations

from collections.abc import Callable

from paraminspect.render.escape import clean
from paraminspect.render.figures import figure, shape, sparkline, whole
from paraminspect.render.table.layout import Column
from paraminspect.render.view import View
from paraminspect.report import Init, Parameter, Report, Totals, Values

Row = Parameter
TROUBLE = {"zero": "yellow", "unused": "yellow", "disconnected": "yellow", "nonfinite": "bold red", "frozen": "dim"}


def name(rows: tuple[Row, ...]) -> Column[Row]:
    """Show a parameter under all its names."""
    return Column("parameter", names_of, style=_name_style)


def names_of(row: Row) -> str:
    """Return ``a = b`` for a Parameter that goes by two names."""
    return " = ".join(map(clean, (row.name, *row.aliases)))


def _name_style(text: str) -> str:
    return "cyan" if " = " in text else ""


def shape_of(row: Row) -> str:
    return "?" if row.numel is None else shape(row.shape)


def foot_count(totals: Totals) -> str:
    """Return the sum that stands under the counts of the rows shown."""
    return f"{totals.shown:,}"


def measured(
    head: str, pick: Callable[[Row], Values | None], key: str, view: View, rank: int, group: str = ""
) -> Column[Row]:
    """Show one figure of a row's values."""

    def cell(row: Row) -> str:
        values = pick(row)
        return figure(getattr(values, key) if values else None, view.glyphs)

    return Column(head, cell, "decimal", rank, group=group)


def expected(head: str, key: str, view: View, rank: int, group: str = "") -> Column[Row]:
    """Show a moment that the row's scheme should give."""

    def cell(row: Row) -> str:
        return figure(getattr(row.init, key), view.glyphs) if row.init else ""

    return Column(head, cell, "decimal", rank, group=group)


def scheme(rank: int) -> Column[Row]:
    """Show which scheme set the parameter, with the arguments that were given."""
    return Column("init", lambda row: scheme_of(row.init), "left", rank)


def scheme_of(init: Init | None) -> str:
    return clean(init.scheme) if init else ""


def distribution(view: View, rank: int) -> Column[Row]:
    """Draw the values between min and max."""
    return Column(
        "distribution", lambda row: sparkline(row.values.histogram if row.values else None, view.glyphs), "left", rank
    )


def gradient_rms(view: View, rank: int) -> Column[Row]:
    def cell(row: Row) -> str:
        return figure(row.gradient.rms, view.glyphs) if row.gradient else ""

    return Column("grad rms", cell, "decimal", rank)


def gradient_status(rank: int) -> Column[Row]:
    def cell(row: Row) -> str:
        return row.gradient.status if row.gradient else ""

    return Column("gradient", cell, "left", rank, lambda text: TROUBLE.get(text, ""))


def kind(report: Report, rank: int) -> Column[Row]:
    """Tell parameters from buffers and forgotten tensors, where there are any."""
    mixed = any(row.kind != "parameter" for row in report.parameters)
    return Column("kind", lambda row: row.kind if mixed else "", "left", rank, _kind_style)


def _kind_style(text: str) -> str:
    return {"buffer": "dim", "unregistered": "yellow"}.get(text, "")


def count(report: Report, view: View) -> Column[Row]:
    """Show each row's own count; the foot is their sum."""
    return Column("count", lambda row: whole(row.numel, view.glyphs), "right", foot=foot_count(report.totals))


def frozen(report: Report, rank: int) -> Column[Row]:
    """Say which parameters do not train, where some do not."""
    some = any(row.kind == "parameter" and not row.requires_grad for row in report.parameters)

    def cell(row: Row) -> str:
        if not some or row.kind != "parameter":
            return ""
        return "yes" if row.requires_grad else "no"

    return Column("trains", cell, "left", rank)
