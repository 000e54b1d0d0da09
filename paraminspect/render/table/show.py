"""`show`: parameters, values, gradients and sharing of one model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paraminspect.render.coverage import coverage
from paraminspect.render.ledger import not_attributed
from paraminspect.render.remarks import remarks
from paraminspect.render.rows import Rows, folded
from paraminspect.render.sharing import summary_lines
from paraminspect.render.table import columns
from paraminspect.render.table.folding import aside, entry
from paraminspect.render.table.header import network, title
from paraminspect.render.table.layout import Column, lay_out
from paraminspect.render.table.values import values_blocks
from paraminspect.render.table.verdicts import figures_off, judged, nonfinite
from paraminspect.render.uses import UsesByParameter
from paraminspect.report import Parameter, Report
from paraminspect.text.view import View


def show(report: Report, view: View) -> Iterator[str]:
    """Yield the whole picture: header, network, tables, gradients, sharing, and the numbers if wanted."""
    yield from title(report, view)
    yield from network(report, view)
    yield from _tables(report, view)
    yield "\n"
    for head, text in _summary(report, view):
        yield from entry(head, text, view)
    if view.values:
        yield from values_blocks(report, view)


def _tables(report: Report, view: View) -> Iterator[str]:
    """Yield a table for the parameters, one for the buffers, one for what no module registers."""
    yield "\n"
    arranged = Rows(report, view)
    rows = arranged.of_kind("parameter")
    if rows:
        yield from lay_out(_columns(report, rows, view), rows, view)
        yield from aside(folded(rows), "all with --no-fold", view)
    else:
        yield "no parameters\n"
    for kind, head in (("buffer", "buffer"), ("unregistered", "forgotten tensor")):
        others = arranged.of_kind(kind)
        if others:
            yield "\n"
            yield from lay_out(_columns_without_gradient(head, others, view), others, view)
            yield from aside(folded(others), "all with --no-fold", view)


def _columns(report: Report, rows: Sequence[Parameter], view: View) -> list[Column[Parameter]]:
    off = figures_off(report)
    return [
        columns.name("parameter", view, foot="total"),
        columns.shape(view, 3),
        columns.count(rows, view, 1),
        columns.percent(report, rows, 11),
        columns.dtype(view, 9),
        columns.nbytes(rows, view, 12),
        columns.scheme("init", view, 8),
        columns.measured("mean", columns.now, view, 6, off=off),
        columns.measured("std", columns.now, view, 4, off=off),
        columns.expected("std", view, 5),
        columns.measured("min", columns.now, view, 10),
        columns.histogram(view, 7),
        columns.measured("max", columns.now, view, 10),
        columns.gradient(report, view, 2),
    ]


def _columns_without_gradient(head: str, rows: Sequence[Parameter], view: View) -> list[Column[Parameter]]:
    return [
        columns.name(head, view, foot="total"),
        columns.shape(view, 2),
        columns.count(rows, view, 1),
        columns.dtype(view, 5),
        columns.nbytes(rows, view, 8),
        columns.measured("mean", columns.now, view, 4),
        columns.measured("std", columns.now, view, 3),
        columns.measured("min", columns.now, view, 7),
        columns.histogram(view, 6),
        columns.measured("max", columns.now, view, 7),
    ]


def _summary(report: Report, view: View) -> Iterator[tuple[str, str]]:
    """Yield the lines under the tables: buffers, forgotten tensors, gradients, sharing, values that are off."""
    yield from remarks(report, view.text)
    yield from nonfinite(report.parameters, view)
    if any(row.gradient for row in report.parameters):
        yield "gradient", coverage(report, view.text)
        yield from summary_lines(report, view, UsesByParameter(report))
    yield from not_attributed(report, view.text)
    yield from judged(report, view)
