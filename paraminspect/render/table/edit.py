"""`edit`: the values before and after, and the proof that gradients and graph were left alone."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.render.escape import clean_lines
from paraminspect.render.figures import figure, plural
from paraminspect.render.table import columns
from paraminspect.render.table.header import title
from paraminspect.render.table.layout import Column, lay_out
from paraminspect.render.table.style import paint
from paraminspect.render.table.values import values_blocks
from paraminspect.render.view import View
from paraminspect.report import Edit, Parameter, Report, TensorInfo, Values


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
        yield paint(f"{head:<9}", "bold", view.colour) + f" {text}\n"
    if view.values:
        yield from values_blocks(report, view)


def _columns(report: Report, view: View) -> list[Column[Parameter]]:
    return [
        columns.name(report.parameters),
        Column("shape", columns.shape_of, rank=3),
        columns.measured("mean", _before, "mean", view, 1, "before"),
        columns.measured("std", _before, "std", view, 2, "before"),
        columns.measured("mean", _after, "mean", view, 1, "after"),
        columns.measured("std", _after, "std", view, 2, "after"),
        columns.gradient_rms(view, 2),
        columns.gradient_status(1),
    ]


def _before(row: Parameter) -> Values | None:
    return row.before


def _after(row: Parameter) -> Values | None:
    return row.values


def _proof(found: Edit, view: View) -> Iterator[tuple[str, str]]:
    operation = {"add": "added {}", "mul": "multiplied by {}", "fill": "filled with {}"}[found.operation]
    yield (
        "values",
        f"{operation.format(figure(found.value, view.glyphs, 6))} in place, under no_grad: {plural(len(found.parameters), 'tensor')}",
    )
    if found.gradients_unchanged is None:
        yield "gradient", "None before and after: no backward was run"
    else:
        yield "gradient", "unchanged, bit for bit" if found.gradients_unchanged else "CHANGED"
    yield (
        "graph",
        (
            "unchanged: every parameter is the same leaf, with no history of the edit"
            if found.graph_unchanged
            else "CHANGED"
        ),
    )
    if found.output_after:
        yield "output", f"{_short(found.output_before)} {view.glyphs.arrow} {_short(found.output_after)}"
        losses = (figure(value, view.glyphs, 6) for value in (found.loss_before, found.loss_after))
        yield "loss", f" {view.glyphs.arrow} ".join(losses)


def _short(info: TensorInfo | None) -> str:
    if info is None:
        return ""
    text = " ".join(line.strip() for line in clean_lines(info.text)) if info.text else ""
    return text if text and len(text) <= 120 else f"{info.dtype} {info.shape}"
