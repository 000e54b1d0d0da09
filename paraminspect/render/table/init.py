"""`init`: what every scheme did, before beside after beside expected."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.render.initialisation import initialisation, provenance
from paraminspect.render.judgement import judgement
from paraminspect.render.rows import Rows, folded
from paraminspect.render.table import columns
from paraminspect.render.table.folding import aside, entry
from paraminspect.render.table.header import title
from paraminspect.render.table.layout import Column, lay_out
from paraminspect.render.table.style import BROKEN
from paraminspect.render.table.values import values_blocks
from paraminspect.render.table.verdicts import figures_off, judged, nonfinite
from paraminspect.report import Parameter, Report
from paraminspect.text.view import View

_MOST_NOTES = 8


def init(report: Report, view: View) -> Iterator[str]:
    """Yield the table of moments, then what was applied, overridden or left alone, and the digest."""
    yield from title(report, view)
    yield "\n"
    rows = Rows(report, view).of_kinds(("parameter", "computed"))
    yield from lay_out(_columns(report, view), rows, view)
    yield from aside(folded(rows), "all with --no-fold", view)
    yield "\n"
    own = [row for row in report.parameters if row.kind == "parameter"]
    told = (
        *initialisation(report, view.text, None if view.width is None else _MOST_NOTES),
        *nonfinite(own, view),
        *judged(report, view),
    )
    for head, text in (*told, *provenance(report, view.text)):
        yield from entry(head, text, view, 10)
    if view.values:
        yield from values_blocks(report, view)


def _columns(report: Report, view: View) -> list[Column[Parameter]]:
    off = figures_off(report)
    return [
        columns.name("parameter", view),
        columns.shape(view, 6),
        columns.scheme("scheme", view, 5),
        Column("in", lambda row: _fan(row.init.fan_in if row.init else None), "right", 8, "fan"),
        Column("out", lambda row: _fan(row.init.fan_out if row.init else None), "right", 8, "fan"),
        columns.measured("mean", columns.before, view, 4, "before"),
        columns.measured("std", columns.before, view, 4, "before"),
        columns.measured("mean", columns.now, view, 2, "after", off),
        columns.measured("std", columns.now, view, 2, "after", off),
        columns.expected("mean", view, 3),
        columns.expected("std", view, 3),
        columns.expected("low", view, 10),
        columns.expected("high", view, 10),
        columns.measured("min", columns.now, view, 9),
        columns.histogram(view, 7),
        columns.measured("max", columns.now, view, 9),
        _verdict(report, view),
    ]


def _fan(fan: int | None) -> str:
    return "" if fan is None else f"{fan:,}"


def _verdict(report: Report, view: View) -> Column[Parameter]:
    told = judgement(report)

    def cell(row: Parameter) -> str:
        return view.text(told(row))

    return Column("verdict", cell, rank=1, style=lambda row: BROKEN if told(row).endswith("off") else "")
