"""The lines above a table: what was inspected, and what was run."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.render.escape import clean, clean_lines
from paraminspect.render.figures import figure, plural, size, whole
from paraminspect.render.table.style import paint
from paraminspect.render.view import View
from paraminspect.report import Forward, Report

MOST_REPR_LINES = 40


def title(report: Report, view: View) -> Iterator[str]:
    """Yield what was inspected with its totals, and the line that says what was run."""
    yield paint(clean(report.source.name), "bold", view.colour) + ": " + _totals(report) + "\n"
    yield paint(_experiment(report, view), "dim", view.colour) + "\n"


def _totals(report: Report) -> str:
    totals = report.totals
    tensors = plural(sum(row.kind == "parameter" for row in report.parameters), "tensor")
    if totals.shown != totals.parameters:
        counted = f"{totals.shown:,} of {plural(totals.parameters, 'parameter')} shown, in {tensors}"
    else:
        counted = f"{plural(totals.parameters, 'parameter')} in {tensors}, {size(totals.bytes)}"
    parts = [report.model.type if report.model else "", counted]
    if totals.frozen:
        parts.append(f"{totals.trainable:,} trainable, {totals.frozen:,} frozen")
    if totals.as_named != totals.parameters:
        parts.append(f"{totals.as_named:,} counting every name")
    if totals.unknown:
        parts.append(f"{plural(totals.unknown, 'tensor')} of unknown size")
    return ", ".join(filter(None, parts))


def _experiment(report: Report, view: View) -> str:
    environment = report.environment
    parts = [f"seed {environment.seed}" if environment.seed is not None else ""]
    parts += _forward(report.forward, view) if report.forward else ["no forward"]
    parts += [environment.device, f"torch {environment.torch}"]
    return f" {view.glyphs.dot} ".join(filter(None, parts))


def _forward(forward: Forward, view: View) -> list[str]:
    drawn = ", ".join(f"{info.shape} {info.dtype} {info.sample or ''}".strip() for info in forward.input)
    if forward.error is not None:
        return [f"input {drawn}", "the forward failed"]
    return [f"input {drawn}", f"loss {forward.loss_name} = {figure(forward.loss, view.glyphs, 6)}"]


def network(report: Report, view: View) -> Iterator[str]:
    """Yield the module's repr as PyTorch prints it; in a terminal a very long one is cut in the middle."""
    if report.model is None:
        return
    lines = clean_lines(report.model.repr)
    if view.width is not None and len(lines) > MOST_REPR_LINES:
        half = MOST_REPR_LINES // 2
        left_out = f"  {view.glyphs.ellipsis} {whole(len(lines) - 2 * half, view.glyphs)} more lines"
        lines = [*lines[:half], left_out, *lines[-half:]]
    yield "\n"
    for line in lines:
        yield line + "\n"
