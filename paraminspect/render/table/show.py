"""`show`: parameters, values, gradients and sharing of one model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from paraminspect.render.escape import clean
from paraminspect.render.figures import figure, plural, size, whole
from paraminspect.render.table import columns
from paraminspect.render.table.header import network, title
from paraminspect.render.table.layout import Column, lay_out
from paraminspect.render.ledger import uses_line
from paraminspect.render.table.style import paint
from paraminspect.render.table.values import values_blocks
from paraminspect.render.view import View
from paraminspect.report import Parameter, Report

WORST_FIRST = ("nonfinite", "unused", "disconnected", "zero", "frozen", "unknown", "not-run", "ok")


def show(report: Report, view: View) -> Iterator[str]:
    """Yield the whole picture: header, network, table, gradients, sharing, and the numbers if wanted."""
    yield from title(report, view)
    yield from network(report, view)
    yield "\n"
    if report.parameters:
        yield from lay_out(_columns(report, view), report.parameters, view)
    else:
        yield "no parameters, no buffers\n"
    yield "\n"
    for head, text in _summary(report, view):
        yield paint(f"{head:<9}", "bold", view.colour) + f" {text}\n"
    if view.values:
        yield from values_blocks(report, view)


def _columns(report: Report, view: View) -> list[Column[Parameter]]:
    rows = report.parameters
    return [
        columns.name(rows),
        columns.kind(report, 1),
        Column("shape", columns.shape_of, rank=1),
        columns.count(report, view),
        Column("dtype", lambda row: row.dtype, rank=7),
        Column("bytes", lambda row: whole(row.bytes, view.glyphs), "right", 9, foot=_foot_bytes(report)),
        columns.frozen(report, 3),
        columns.scheme(6),
        columns.measured("mean", _values, "mean", view, 4),
        columns.measured("std", _values, "std", view, 2),
        columns.expected("expected std", "expected_std", view, 8),
        columns.measured("min", _values, "min", view, 10),
        columns.measured("max", _values, "max", view, 10),
        columns.distribution(view, 5),
        columns.gradient_rms(view, 3),
        columns.gradient_status(1),
    ]


def _values(row: Parameter):  # type: ignore[no-untyped-def]
    return row.values


def _foot_bytes(report: Report) -> str:
    shown = sum(row.bytes or 0 for row in report.parameters if row.kind == "parameter")
    return f"{shown:,}"


def _summary(report: Report, view: View) -> Iterator[tuple[str, str]]:
    """Yield the lines under the table: other tensors, gradients, sharing."""
    buffers = [row for row in report.parameters if row.kind == "buffer"]
    if buffers:
        numel, held = sum(row.numel or 0 for row in buffers), sum(row.bytes or 0 for row in buffers)
        yield "buffers", f"{plural(numel, 'element')} in {plural(len(buffers), 'buffer')}, {size(held)}"
    for row in report.parameters:
        if row.kind == "unregistered":
            yield "forgotten", f"{clean(row.name)}: {row.note}"
    yield "gradient", _coverage(report, view)
    yield from _sharing(report, view)
    yield from _off(report, view)


def _coverage(report: Report, view: View) -> str:
    """Count the statuses, the suspicious ones first and with names."""
    rows = [row for row in report.parameters if row.gradient is not None]
    statuses = Counter(row.gradient.status for row in rows if row.gradient)
    if not rows:
        return "no parameters"
    if set(statuses) == {"not-run"}:
        return _not_run(report)
    parts = []
    for status in WORST_FIRST:
        if statuses[status]:
            names = [row.name for row in rows if row.gradient and row.gradient.status == status]
            some = "" if status == "ok" else f" ({', '.join(map(clean, names[:3]))}{', …' if len(names) > 3 else ''})"
            parts.append(f"{statuses[status]:,} {status}{some}")
    return f"{', '.join(parts)} of {plural(len(rows), 'tensor')}".replace("…", view.glyphs.ellipsis)


def _not_run(report: Report) -> str:
    forward = report.forward
    if forward is None:
        return "not run: no forward"
    if forward.error:
        return "not run: the forward failed"
    return "None for every parameter: the forward ran, the backward has not"


def _sharing(report: Report, view: View) -> Iterator[tuple[str, str]]:
    for shared in report.sharing:
        names = " = ".join(map(clean, shared.names))
        uses = uses_line(report, shared.names[0], view)
        yield "shared", f"{names}: one {'Parameter' if shared.kind == 'same-parameter' else 'buffer'}{uses}"
    if not report.sharing:
        yield "shared", "nothing: every name is a Parameter of its own"


def _off(report: Report, view: View) -> Iterator[tuple[str, str]]:
    """Yield the values that are not what their scheme should give."""
    for verdict in report.verdicts:
        if verdict.verdict.endswith("off"):
            found, wanted = (figure(value, view.glyphs) for value in (verdict.measured, verdict.expected))
            what = verdict.verdict.removesuffix(" off")
            yield "off", f"{clean(verdict.where or '')}: {what} {found}, its scheme should give {wanted}"
