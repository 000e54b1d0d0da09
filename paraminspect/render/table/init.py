"""`init`: what every scheme did, before beside after beside expected."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.render.escape import clean
from paraminspect.render.figures import plural
from paraminspect.render.table import columns
from paraminspect.render.table.header import title
from paraminspect.render.table.layout import Column, lay_out
from paraminspect.render.table.style import paint
from paraminspect.render.table.values import values_blocks
from paraminspect.render.view import View
from paraminspect.report import Init, Parameter, Report, Values


def init(report: Report, view: View) -> Iterator[str]:
    """Yield the table of moments, then what was left alone, overridden or off."""
    yield from title(report, view)
    yield "\n"
    yield from lay_out(_columns(report, view), [row for row in report.parameters if row.kind == "parameter"], view)
    yield "\n"
    for head, text in _summary(report):
        yield paint(f"{head:<10}", "bold", view.colour) + f" {text}\n"
    if view.values:
        yield from values_blocks(report, view)


def _columns(report: Report, view: View) -> list[Column[Parameter]]:
    verdicts = _verdicts(report)
    return [
        columns.name(report.parameters),
        Column("shape", columns.shape_of, rank=4),
        Column("scheme", lambda row: _scheme(row.init), rank=1),
        Column("fan in, out", lambda row: _fans(row.init), rank=7),
        columns.measured("mean", _before, "mean", view, 5, "before"),
        columns.measured("std", _before, "std", view, 3, "before"),
        columns.measured("mean", _after, "mean", view, 2, "after"),
        columns.measured("std", _after, "std", view, 1, "after"),
        columns.expected("mean", "expected_mean", view, 2, "expected"),
        columns.expected("std", "expected_std", view, 1, "expected"),
        columns.measured("min", _after, "min", view, 8, "after: range"),
        columns.measured("max", _after, "max", view, 8, "after: range"),
        columns.distribution(view, 6),
        Column("verdict", lambda row: verdicts.get(row.name, ""), rank=1, style=_verdict_style),
    ]


def _before(row: Parameter) -> Values | None:
    return row.before


def _after(row: Parameter) -> Values | None:
    return row.values


def _scheme(init: Init | None) -> str:
    return clean(init.scheme) if init else ""


def _fans(init: Init | None) -> str:
    return f"{init.fan_in:,}, {init.fan_out:,}" if init and init.fan_in is not None else ""


def _verdicts(report: Report) -> dict[str, str]:
    """Join the verdicts on mean and std of each parameter into one word, the bad one winning."""
    found: dict[str, str] = {}
    for verdict in report.verdicts:
        where = verdict.where or ""
        if verdict.verdict.endswith("off"):
            found[where] = verdict.verdict
        else:
            found.setdefault(where, "as expected")
    return found


def _verdict_style(text: str) -> str:
    return "bold red" if text.endswith("off") else ""


def _summary(report: Report) -> Iterator[tuple[str, str]]:
    rows = [row for row in report.parameters if row.kind == "parameter"]
    touched = [row for row in rows if row.init and row.init.scheme != "default"]
    for rule in dict.fromkeys(row.init.rule for row in touched if row.init and row.init.rule):
        names = [row.name for row in touched if row.init and row.init.rule == rule]
        yield "applied", f"{clean(rule)} to {plural(len(names), 'tensor')}"
    left = [clean(row.name) for row in rows if row not in touched]
    if left:
        some = ", ".join(left[:4]) + (f" and {len(left) - 4:,} more" if len(left) > 4 else "")
        yield "untouched", f"{some}: as the layer's constructor left {'it' if len(left) == 1 else 'them'}"
    for row in touched:
        if row.init and row.init.overridden:
            yield (
                "overridden",
                f"{clean(row.name)}: {clean(row.init.rule or '')} replaced {', '.join(map(clean, row.init.overridden))}",
            )
