"""`edit`: the values before and after, and the proof that gradients and graph were left alone."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.render.figures import figure, plural
from paraminspect.render.table import columns
from paraminspect.render.table.folding import entry
from paraminspect.render.table.header import title
from paraminspect.render.table.layout import Column, lay_out
from paraminspect.render.table.values import values_blocks
from paraminspect.render.view import View
from paraminspect.report import Edit, Parameter, Report, TensorInfo

_DONE = {"add": "added", "mul": "multiplied by", "fill": "filled with"}


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
    for head, text in _proof(found, view):
        yield from entry(head, text, view)
    if view.values:
        yield from values_blocks(report, view)


def _columns(report: Report, view: View) -> list[Column[Parameter]]:
    return [
        columns.name("parameter", view),
        columns.shape(4),
        columns.measured("mean", columns.before, view, 2, "before"),
        columns.measured("std", columns.before, view, 2, "before"),
        columns.measured("mean", columns.now, view, 1, "after"),
        columns.measured("std", columns.now, view, 1, "after"),
        columns.gradient(report, view, 3),
    ]


def _proof(found: Edit, view: View) -> Iterator[tuple[str, str]]:
    done = _DONE.get(found.operation) or view.text(found.operation)
    value = figure(found.value, view.glyphs, 6)
    yield "values", f"{done} {value} in place, under no_grad, in {plural(len(found.parameters), 'tensor')}"
    yield "gradient", _gradients(found)
    yield "graph", "unchanged: the same leaves, no history of the edit" if found.graph_unchanged else "CHANGED"
    if found.output_before and found.output_after:
        yield "output", f"{_short(found.output_before, view)} {view.glyphs.arrow} {_short(found.output_after, view)}"
        losses = (figure(value, view.glyphs, 6) for value in (found.loss_before, found.loss_after))
        yield "loss", f" {view.glyphs.arrow} ".join(losses)


def _gradients(found: Edit) -> str:
    if found.gradients_unchanged is None:
        return "None before and after: no backward was run"
    return "unchanged, bit for bit" if found.gradients_unchanged else "CHANGED"


def _short(info: TensorInfo, view: View) -> str:
    """Return a small tensor on one line, of a larger one its dtype and shape."""
    text = " ".join(line.strip() for line in view.lines(info.text)) if info.text else ""
    return text if text and len(text) <= 120 else f"{view.text(info.dtype)} {info.shape}"
