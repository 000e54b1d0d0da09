"""The tables of `show`, which other pages have too: parameters, buffers, and what no module registers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from paraminspect.page import columns
from paraminspect.page.folding import Arrangement, folded, summed_up
from paraminspect.page.module_sharing import elided, shared_modules, what_is_elided
from paraminspect.page.part_lines import with_parts
from paraminspect.page.parts import QUIET, Column, Paragraph, Part, Table
from paraminspect.page.remarks import constants
from paraminspect.page.verdicts import figures_off
from paraminspect.report import Parameter, Report
from paraminspect.text.escape import View


def tables(report: Report, view: View) -> Iterator[Part]:
    """Yield a table for the parameters, one for the buffers, one for what no module registers."""
    arranged = Arrangement(report, view)
    rows = arranged.rows("parameter")
    if rows:
        lines, names = list(with_parts(rows)), elided(rows, shared_modules(report, view))
        legend = [*filter(None, [what_is_elided(rows, names)]), *columns.why_no_histogram(rows)]
        yield Table(_columns(report, lines, view, names), lines, folded(rows), legend)
    else:
        yield Paragraph("no parameters")
    yield from other_tables(arranged, view)


def other_tables(arranged: Arrangement, view: View) -> Iterator[Part]:
    """Yield a table for the buffers, and one for what no module registers."""
    for kind, head in (
        ("buffer", "buffer"),
        ("unregistered", "forgotten tensor"),
        ("graph-constant", "weight in the graph"),
    ):
        rows = arranged.buffers() if kind == "buffer" else arranged.rows(kind)
        if rows:
            summed = summed_up(rows) if kind == "buffer" and arranged.buffers_by_kind else ""
            yield Table(
                _columns_without_gradient(head, rows, view),
                rows,
                summed or folded(rows),
                columns.why_no_histogram(rows),
                option="--buffers" if summed else "--no-fold",
            )
    if line := constants(arranged.report):
        yield Paragraph(line, QUIET)


def _columns(
    report: Report, rows: Sequence[Parameter], view: View, names: Collection[str] = ()
) -> list[Column[Parameter]]:
    off = figures_off(report)
    return [
        columns.name("parameter", names),
        columns.shape(3),
        columns.count(rows, 1),
        columns.percent(report, rows, 11),
        columns.dtype(9),
        columns.nbytes(rows, 12),
        columns.scheme("init", 8),
        columns.measured("mean", columns.now, 6, off=off),
        columns.measured("std", columns.now, 4, off=off),
        columns.expected("std", 5),
        columns.measured("min", columns.now, 10),
        columns.histogram(view, 7),
        columns.measured("max", columns.now, 10),
        columns.gradient(report.forward, 2),
    ]


def _columns_without_gradient(head: str, rows: Sequence[Parameter], view: View) -> list[Column[Parameter]]:
    return [
        columns.name(head),
        columns.shape(2),
        columns.count(rows, 1),
        columns.dtype(5),
        columns.nbytes(rows, 8),
        columns.measured("mean", columns.now, 4),
        columns.measured("std", columns.now, 3),
        columns.measured("min", columns.now, 7),
        columns.histogram(view, 6),
        columns.measured("max", columns.now, 7),
    ]
