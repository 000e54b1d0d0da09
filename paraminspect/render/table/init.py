"""`init`: what every scheme did, before beside after beside expected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from paraminspect.render.figures import plural, some_of
from paraminspect.render.rows import Rows, folded
from paraminspect.render.several import Several, members_of
from paraminspect.render.table import columns
from paraminspect.render.table.folding import aside, entry
from paraminspect.render.table.header import title
from paraminspect.render.table.layout import Column, lay_out
from paraminspect.render.table.style import BROKEN
from paraminspect.render.table.values import values_blocks
from paraminspect.render.table.verdicts import figures_off, is_off, judged, nonfinite
from paraminspect.render.view import View
from paraminspect.report import Parameter, Report


def init(report: Report, view: View) -> Iterator[str]:
    """Yield the table of moments, then what was applied, overridden or left alone."""
    yield from title(report, view)
    yield "\n"
    rows = Rows(report, view).of_kind("parameter")
    yield from lay_out(_columns(report, view), rows, view)
    yield from aside(folded(rows), "all with --no-fold", view)
    yield "\n"
    own = [row for row in report.parameters if row.kind == "parameter"]
    for head, text in (*_summary(own, view), *nonfinite(own, view), *judged(report, view)):
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
        if verdict.about != "scheme":
            continue
        (off if is_off(verdict) else fine).setdefault(verdict.where, []).append(view.text(verdict.figure or ""))

    def cell(row: Parameter) -> str:
        strays = [member.name for member in members_of(row) if member.name in off]
        if strays and isinstance(row, Several) and row.tensors:
            return f"{len(strays):,} off"
        if strays:
            return f"{' and '.join(off[strays[0]])} off"
        fit = {figure for member in members_of(row) for figure in fine.get(member.name, [])}
        return f"{fit.pop()} ok" if len(fit) == 1 else "ok" if fit else ""

    def style(row: Parameter) -> str:
        return BROKEN if any(member.name in off for member in members_of(row)) else ""

    return Column("verdict", cell, rank=1, style=style)


def _summary(rows: list[Parameter], view: View) -> Iterator[tuple[str, str]]:
    inits = [row.init for row in rows if row.init and row.init.scheme != "default"]
    for rule, times in Counter(init.rule or init.scheme for init in inits).items():
        yield "applied", f"{view.text(rule)} to {plural(times, 'tensor')}"
    replaced = Counter((init.overridden, init.rule or init.scheme) for init in inits if init.overridden)
    for (earlier, rule), times in replaced.items():
        yield "overridden", f"{', '.join(map(view.text, earlier))} by {view.text(rule)} in {plural(times, 'tensor')}"
    left = [view.text(row.name) for row in rows if not row.init or row.init.scheme == "default"]
    if left:
        yield "untouched", f"{some_of(left, 4)}: as {'it was' if len(left) == 1 else 'they were'}"
