"""The lines above a table: what was inspected, and what was run."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.render.counted import counted
from paraminspect.render.figures import figure, plural
from paraminspect.render.table.folding import flow, fold
from paraminspect.render.table.style import HEAD, QUIET, paint
from paraminspect.render.view import View
from paraminspect.report import Forward, Report

MOST_REPR_LINES = 40
_INDENT = 2


def title(report: Report, view: View) -> Iterator[str]:
    """Yield what was inspected with its totals, and the line that says what was run."""
    name = view.text(report.source.name)
    first, *rest = fold(f"{name}: {_totals(report, view)}", view, _INDENT)
    yield paint(first[: len(name)], HEAD, view.colour) + first[len(name) :] + "\n"
    for line in [*rest, *flow(_experiment(report, view), f" {view.glyphs.dot} ", view, _INDENT)]:
        yield line + "\n"


def _totals(report: Report, view: View) -> str:
    totals = report.totals
    tensors = plural(sum(row.kind == "parameter" for row in report.parameters), "tensor")
    known = counted(report)
    if totals.shown != totals.parameters:
        shown = f"{totals.shown:,} of {known.parameters} shown, in {tensors}"
    else:
        shown = ", ".join(filter(None, (f"{known.parameters} in {tensors}", known.bytes)))
    kind = view.text(report.model.type) if report.model else ""
    return ", ".join(filter(None, (kind, shown, known.frozen, known.as_named, known.unknown)))


def _experiment(report: Report, view: View) -> list[str]:
    environment = report.environment
    parts = [f"seed {environment.seed}" if environment.seed is not None else ""]
    if report.forward:
        parts += _forward(report.forward, view)
    elif report.command != "init":
        parts.append("no forward")
    parts.append(view.text(environment.device))
    parts.append(f"torch {view.text(environment.torch)}" if environment.torch else "")
    return list(filter(None, parts))


def _forward(forward: Forward, view: View) -> list[str]:
    drawn = [view.text(f"{info.shape} {info.dtype} {info.sample or ''}".strip()) for info in forward.input]
    parts = [f"input {', '.join(drawn)}"]
    error = forward.error
    if forward.loss_name is not None and (error is None or forward.loss is not None):
        parts.append(f"loss {view.text(forward.loss_name)} = {figure(forward.loss, view.glyphs, 6)}")
    if error is not None:
        where = f" in '{view.text(error.module)}'" if error.phase == "forward" and error.module else ""
        parts.append(f"the {view.text(error.phase)} failed{where}")
    return parts


def network(report: Report, view: View) -> Iterator[str]:
    """Yield the module's repr as PyTorch prints it; in a terminal a very long one is cut in the middle."""
    if report.model is None:
        return
    lines = view.lines(report.model.repr)
    if view.width is not None and len(lines) > MOST_REPR_LINES:
        half = MOST_REPR_LINES // 2
        left_out = f"  {view.glyphs.ellipsis} {len(lines) - 2 * half:,} more lines"
        lines = [*lines[:half], paint(left_out, QUIET, view.colour), *lines[-half:]]
    yield "\n"
    for line in lines:
        for part in fold(line, view, len(line) - len(line.lstrip()) + 2 * _INDENT):
            yield part + "\n"
