"""`show`: parameters, values, gradients and sharing of one model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paraminspect.page.folding import Arrangement, folded
from paraminspect.page.gradient_uses import UsesByParameter, coverage, not_attributed
from paraminspect.page.heading import network, page_of
from paraminspect.page.parameters import (
    bytes_column,
    count_column,
    dtype_column,
    expected_column,
    gradient_column,
    histogram_column,
    measured_column,
    name_column,
    now,
    percent_column,
    scheme_column,
    shape_column,
)
from paraminspect.page.parts import Column, Entries, Line, Page, Paragraph, Part, Table
from paraminspect.page.remarks import nonfinite_values, remarks
from paraminspect.page.sharing import summary_lines
from paraminspect.page.values import listings
from paraminspect.page.verdicts import conformity, figures_off
from paraminspect.report import Parameter, Report
from paraminspect.text.view import View


def show(report: Report, view: View) -> Page:
    """Return the whole picture: network, tables, gradients, sharing, and the numbers if wanted."""
    summary = Entries(list(_summary(report, view)))
    return page_of(report, view, [*network(report, view), *tables(report, view), summary, *listings(report, view)])


def tables(report: Report, view: View) -> Iterator[Part]:
    """Yield a table for the parameters, one for the buffers, one for what no module registers."""
    arranged = Arrangement(report, view)
    rows = arranged.of_kind("parameter")
    if rows:
        yield Table(_columns(report, rows, view), rows, folded(rows))
    else:
        yield Paragraph("no parameters")
    yield from other_tables(arranged, view)


def other_tables(arranged: Arrangement, view: View) -> Iterator[Part]:
    """Yield a table for the buffers, and one for what no module registers."""
    for kind, head in (("buffer", "buffer"), ("unregistered", "forgotten tensor")):
        rows = arranged.of_kind(kind)
        if rows:
            yield Table(_columns_without_gradient(head, rows, view), rows, folded(rows))


def _columns(report: Report, rows: Sequence[Parameter], view: View) -> list[Column[Parameter]]:
    off = figures_off(report)
    return [
        name_column("parameter"),
        shape_column(3),
        count_column(rows, 1),
        percent_column(report, rows, 11),
        dtype_column(9),
        bytes_column(rows, 12),
        scheme_column("init", 8),
        measured_column("mean", now, 6, off=off),
        measured_column("std", now, 4, off=off),
        expected_column("std", 5),
        measured_column("min", now, 10),
        histogram_column(view, 7),
        measured_column("max", now, 10),
        gradient_column(report.forward, 2),
    ]


def _columns_without_gradient(head: str, rows: Sequence[Parameter], view: View) -> list[Column[Parameter]]:
    return [
        name_column(head),
        shape_column(2),
        count_column(rows, 1),
        dtype_column(5),
        bytes_column(rows, 8),
        measured_column("mean", now, 4),
        measured_column("std", now, 3),
        measured_column("min", now, 7),
        histogram_column(view, 6),
        measured_column("max", now, 7),
    ]


def _summary(report: Report, view: View) -> Iterator[Line]:
    """Yield the lines under the tables: buffers, forgotten tensors, gradients, sharing, values that are off."""
    yield from remarks(report)
    yield from nonfinite_values(report.parameters)
    yield from coverage(report)
    if any(row.gradient for row in report.parameters):
        yield from summary_lines(report, UsesByParameter(report), view.on_paper)
    yield from not_attributed(report)
    yield from conformity(report)
