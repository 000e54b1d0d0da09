"""`show`: parameters, values, gradients and sharing of one model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paraminspect.render.figures import plural, some_of
from paraminspect.render.table import columns
from paraminspect.render.table.folding import entry
from paraminspect.render.table.header import network, title
from paraminspect.render.table.layout import Column, lay_out
from paraminspect.render.table.values import values_blocks
from paraminspect.render.table.verdicts import figures_off, judged, nonfinite
from paraminspect.render.uses import UsesByParameter
from paraminspect.render.view import View
from paraminspect.report import Parameter, Report, Sharing

_WORST_FIRST = ("nonfinite", "unused", "disconnected", "zero", "frozen", "unknown", "not-run")


def show(report: Report, view: View) -> Iterator[str]:
    """Yield the whole picture: header, network, tables, gradients, sharing, and the numbers if wanted."""
    yield from title(report, view)
    yield from network(report, view)
    yield from _tables(report, view)
    yield "\n"
    for head, text in _summary(report, view):
        yield from entry(head, text, view)
    if view.values:
        yield from values_blocks(report, view)


def _tables(report: Report, view: View) -> Iterator[str]:
    """Yield a table for the parameters, one for the buffers, one for what no module registers."""
    yield "\n"
    rows = _of_kind(report, "parameter")
    if rows:
        yield from lay_out(_columns(report, rows, view), rows, view)
    else:
        yield "no parameters\n"
    for kind, head in (("buffer", "buffer"), ("unregistered", "forgotten tensor")):
        others = _of_kind(report, kind)
        if others:
            yield "\n"
            yield from lay_out(_columns_without_gradient(head, others, view), others, view)


def _of_kind(report: Report, kind: str) -> list[Parameter]:
    return [row for row in report.parameters if row.kind == kind]


def _columns(report: Report, rows: Sequence[Parameter], view: View) -> list[Column[Parameter]]:
    off = figures_off(report)
    return [
        columns.name("parameter", view, foot="total"),
        columns.shape(view, 3),
        columns.count(rows, view, 1),
        columns.dtype(view, 9),
        columns.nbytes(rows, view, 11),
        columns.scheme("init", view, 8),
        columns.measured("mean", columns.now, view, 6, off=off),
        columns.measured("std", columns.now, view, 4, off=off),
        columns.expected("std", view, 5),
        columns.measured("min", columns.now, view, 10),
        columns.histogram(view, 7),
        columns.measured("max", columns.now, view, 10),
        columns.gradient(report, view, 2),
    ]


def _columns_without_gradient(head: str, rows: Sequence[Parameter], view: View) -> list[Column[Parameter]]:
    return [
        columns.name(head, view, foot="total"),
        columns.shape(view, 2),
        columns.count(rows, view, 1),
        columns.dtype(view, 5),
        columns.nbytes(rows, view, 8),
        columns.measured("mean", columns.now, view, 4),
        columns.measured("std", columns.now, view, 3),
        columns.measured("min", columns.now, view, 7),
        columns.histogram(view, 6),
        columns.measured("max", columns.now, view, 7),
    ]


def _summary(report: Report, view: View) -> Iterator[tuple[str, str]]:
    """Yield the lines under the tables: forgotten tensors, gradients, sharing, values that are off."""
    for row in report.parameters:
        if row.kind == "unregistered":
            yield "forgotten", f"{view.text(row.name)}: {view.text(row.note or '')}"
    yield from nonfinite(report.parameters, view)
    if any(row.gradient for row in report.parameters):
        yield "gradient", _coverage(report, view)
        yield from _sharing(report, view)
    yield from judged(report, view)


def _coverage(report: Report, view: View) -> str:
    """Say how many gradients are fine; name the ones that are not, the worst first."""
    names: dict[str, list[str]] = {}
    for row in report.parameters:
        if row.gradient:
            names.setdefault(row.gradient.status, []).append(view.text(row.name))
    total = plural(sum(map(len, names.values())), "tensor")
    if set(names) == {"not-run"}:
        return _not_run(report, view)
    if len(names) == 1:
        return f"{view.text(*names)} in {total}"
    fine = names.pop("ok", [])
    known = [status for status in _WORST_FIRST if status in names]
    others = [status for status in names if status not in known]
    parts = [f"{view.text(status)}: {some_of(names[status])}" for status in (*known, *others)]
    return "; ".join([*parts, f"ok in {len(fine):,} of {total}"])


def _not_run(report: Report, view: View) -> str:
    forward = report.forward
    if forward is None:
        return "not run: no forward"
    if forward.error:
        return f"not run: the {view.text(forward.error.phase)} failed"
    return "None for every parameter: the forward ran, the backward has not"


def _sharing(report: Report, view: View) -> Iterator[tuple[str, str]]:
    if not report.sharing:
        yield "shared", "nothing: every name is a Parameter of its own"
        return
    uses = UsesByParameter(report)
    for shared in report.sharing:
        yield "shared", f"{_names(shared, view)}: {_object(shared, view)}{uses.line(shared.names[0], view)}"


def _names(shared: Sharing, view: View) -> str:
    """Return the names as an equation; of very many the first and their number, the table has them all."""
    more = len(shared.names) - 4
    named = " = ".join(map(view.text, shared.names[: 3 if more > 0 else 4]))
    return f"{named} = {view.glyphs.ellipsis} ({len(shared.names):,} names)" if more > 0 else named


def _object(shared: Sharing, view: View) -> str:
    known = {"same-parameter": "one Parameter", "same-buffer": "one buffer"}
    return known.get(shared.kind) or view.text(shared.kind)
