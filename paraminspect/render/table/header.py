"""The lines above a table: what was inspected, and what was run."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.render.heading import experiment, totals
from paraminspect.render.table.folding import flow, fold
from paraminspect.render.table.style import HEAD, QUIET, paint
from paraminspect.report import Report
from paraminspect.text.view import View

MOST_REPR_LINES = 40
_INDENT = 2


def title(report: Report, view: View) -> Iterator[str]:
    """Yield what was inspected with its totals, and the line that says what was run."""
    name = view.text(report.source.name)
    first, *rest = fold(f"{name}: {totals(report, view)}", view, _INDENT)
    yield paint(first[: len(name)], HEAD, view.colour) + first[len(name) :] + "\n"
    for line in [*rest, *flow(experiment(report, view), f" {view.glyphs.dot} ", view, _INDENT)]:
        yield line + "\n"


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
