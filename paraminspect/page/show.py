"""`show`: parameters, values, gradients and sharing of one model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paraminspect.page.gradient_uses import UsesByParameter, coverage, not_attributed
from paraminspect.page.heading import page_of
from paraminspect.page.module_sharing import shared_modules
from paraminspect.page.parameter_tables import tables
from paraminspect.page.parts import QUIET, Code, Entries, Line, Page, Paragraph, Part, Table
from paraminspect.page.remarks import (
    left_alone,
    nonfinite_values,
    padding_rows_kept,
    recognised,
    remarks,
    uninitialised,
)
from paraminspect.page.sharing import summary_lines
from paraminspect.page.values import listings
from paraminspect.page.verdicts import conformity
from paraminspect.report import Report
from paraminspect.text.escape import View


def show(report: Report, view: View) -> Page:
    """Return the whole picture: network, tables, gradients, sharing, and the numbers if wanted."""
    found = list(tables(report, view))
    summary = Entries(list(_summary(report, view)))
    return page_of(report, view, [*_network(report, found, view), *found, summary, *listings(report, view)])


_FRAME = 4
"""Lines of a table beside its rows: the heads, two rules, the total."""


def _network(report: Report, found: Sequence[Part], view: View) -> Iterator[Part]:
    """Yield the module's repr; where the tables are shorter only how long it is, unless it is wanted all the same."""
    if report.model is None or view.on_paper:
        return
    lines = report.model.repr.count("\n") + 1
    shown = [len(part.rows) + _FRAME for part in found if isinstance(part, Table)]
    if view.whole_repr or not shown or lines <= sum(shown):
        yield Code(report.model.repr, view.whole_repr)
    else:
        yield Paragraph(f"the module's repr has {lines:,} lines, more than the tables (--repr prints it)", QUIET)


def _summary(report: Report, view: View) -> Iterator[Line]:
    """Yield the lines under the tables: buffers, forgotten tensors, gradients, sharing, values that are off."""
    yield from remarks(report)
    yield from recognised(report)
    yield from padding_rows_kept(report)
    yield from nonfinite_values(report.parameters)
    yield from uninitialised(report)
    yield from coverage(report)
    if any(row.gradient for row in report.parameters):
        yield from summary_lines(report, UsesByParameter(report), view.on_paper, shared_modules(report, view))
    yield from not_attributed(report)
    yield from left_alone(report)
    yield from conformity(report)
