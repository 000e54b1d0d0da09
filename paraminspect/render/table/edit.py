"""`edit`: the values before and after, and the proof that gradients and graph were left alone."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.render.proof import proof
from paraminspect.render.table import columns
from paraminspect.render.table.folding import entry
from paraminspect.render.table.header import title
from paraminspect.render.table.layout import Column, lay_out
from paraminspect.render.table.values import values_blocks
from paraminspect.report import Parameter, Report
from paraminspect.text.view import View


def edit(report: Report, view: View) -> Iterator[str]:
    """Yield the changed rows, then one line each for gradients, graph, output and loss."""
    yield from title(report, view)
    found = report.edit
    if found is None:
        return
    changed = set(found.parameters)
    yield "\n"
    yield from lay_out(_columns(report, view), [row for row in report.parameters if row.name in changed], view)
    yield "\n"
    for head, text in proof(found, view.text, view.glyphs):
        yield from entry(head, text, view)
    if view.values:
        yield from values_blocks(report, view)


def _columns(report: Report, view: View) -> list[Column[Parameter]]:
    return [
        columns.name("parameter", view),
        columns.shape(view, 4),
        columns.measured("mean", columns.before, view, 2, "before"),
        columns.measured("std", columns.before, view, 2, "before"),
        columns.measured("mean", columns.now, view, 1, "after"),
        columns.measured("std", columns.now, view, 1, "after"),
        columns.gradient(report, view, 3),
    ]
