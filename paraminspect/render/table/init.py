"""`init`: what every scheme did, before beside after beside expected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from paraminspect.render.figures import plural, some_of
from paraminspect.render.table import columns
from paraminspect.render.table.folding import entry
from paraminspect.render.table.header import title
from paraminspect.render.table.layout import Column, lay_out
from paraminspect.render.table.style import BROKEN
from paraminspect.render.table.values import values_blocks
from paraminspect.render.table.verdicts import figures_off, is_off, judged, nonfinite
from paraminspect.render.view import View
from paraminspect.report import Parameter, Report


def init(report: Report, view: View) -> Iterator[str]:
    """Yield the table of moments, then what was applied, overridden or left alone."""
    rows = [row for row in report.parameters if row.kind == "parameter"]
    yield from title(report, view)
    yield "\n"
    yield from lay_out(_columns(report, view), rows, view)
    yield "\n"
    for head, text in (*_summary(rows, view), *nonfinite(rows, view), *judged(report, view)):
        yield from entry(head, text, view, 10)
    if view.values:
        yield from values_blocks(report, view)


def _columns(report: Report, view: View) -> list[Column[Parameter]]:
    off = figures_off(report)
    return [
        columns.name("parameter", view),
        columns.shape(view, 6),
        columns.scheme("scheme", view, 5),
        Column("in", lambda row: _fan(row.init.fan_in if row.init else None), "right", 8, "fan"),
        Column("out", lambda row: _fan(row.init.fan_out if row.init else None), "right", 8, "fan"),
        columns.measured("mean", columns.before, view, 4, "before"),
        columns.measured("std", columns.before, view, 4, "before"),
        columns.measured("mean", columns.now, view, 2, "after", off),
        columns.measured("std", columns.now, view, 2, "after", off),
        columns.expected("mean", view, 3),
        columns.expected("std", view, 3),
        columns.measured("min", columns.now, view, 9),
        columns.histogram(view, 7),
        columns.measured("max", columns.now, view, 9),
        _verdict(report, view),
    ]


def _fan(fan: int | None) -> str:
    return "" if fan is None else f"{fan:,}"


def _verdict(report: Report, view: View) -> Column[Parameter]:
    """Join the verdicts on mean and std of each parameter into one, a bad one winning."""
    fine: dict[str | None, list[str]] = {}
    off: dict[str | None, list[str]] = {}
    for verdict in report.verdicts:
        (off if is_off(verdict) else fine).setdefault(verdict.where, []).append(view.text(verdict.figure or ""))

    def cell(row: Parameter) -> str:
        if row.name in off:
            return f"{' and '.join(off[row.name])} off"
        judged = fine.get(row.name, [])
        return f"{judged[0]} ok" if len(judged) == 1 else "ok" if judged else ""

    return Column("verdict", cell, rank=1, style=lambda row: BROKEN if row.name in off else "")


def _summary(rows: list[Parameter], view: View) -> Iterator[tuple[str, str]]:
    inits = [row.init for row in rows if row.init and row.init.scheme != "default"]
    for rule, times in Counter(init.rule or init.scheme for init in inits).items():
        yield "applied", f"{view.text(rule)} to {plural(times, 'tensor')}"
    replaced = Counter((init.overridden, init.rule or init.scheme) for init in inits if init.overridden)
    for (earlier, rule), times in replaced.items():
        yield "overridden", f"{', '.join(map(view.text, earlier))} by {view.text(rule)} in {plural(times, 'tensor')}"
    left = [view.text(row.name) for row in rows if not row.init or row.init.scheme == "default"]
    if left:
        yield "untouched", f"{some_of(left, 4)}: as the layer's constructor left {'it' if len(left) == 1 else 'them'}"
