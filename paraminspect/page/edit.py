"""`edit`: the values before and after, and the proof that gradients and graph were left alone."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.page import columns
from paraminspect.page.heading import page_of
from paraminspect.page.parts import Column, Entries, Line, Page, Part, Table
from paraminspect.page.values import listings
from paraminspect.report import Edit, Parameter, Report, TensorInfo
from paraminspect.text.escape import View, code, word
from paraminspect.text.numbers import figure, plural

_DONE = {"add": "added", "mul": "multiplied by", "fill": "filled with"}
_SHORT = 120


def edit(report: Report, view: View) -> Page:
    """Return the changed rows, then one line each for gradients, graph, output and loss."""
    found = report.edit
    if found is None:
        return page_of(report, view, [])
    changed = set(found.parameters)
    rows = [row for row in report.parameters if row.name in changed]
    parts: list[Part] = [
        Table(_columns(report, rows, view), rows),
        Entries(list(_proof(found))),
        *listings(report, view),
    ]
    return page_of(report, view, parts)


def _columns(report: Report, rows: list[Parameter], view: View) -> list[Column[Parameter]]:
    more = [columns.dtype(5), columns.count(rows, 5), columns.scheme("init", 5), columns.expected("std", 5)]
    return [
        columns.name("parameter"),
        columns.shape(4),
        *(more if view.on_paper else ()),
        columns.measured("mean", columns.before, 2, "before"),
        columns.measured("std", columns.before, 2, "before"),
        columns.measured("mean", columns.now, 1, "after"),
        columns.measured("std", columns.now, 1, "after"),
        columns.gradient(report.forward, 3),
    ]


def _proof(found: Edit) -> Iterator[Line]:
    """Yield what was done to the values, and what became of gradient, graph, output and loss."""
    done = _DONE.get(found.operation) or word(found.operation)
    yield (
        "values",
        f"{done} {figure(found.value, 6)} in place, under no_grad, in {plural(len(found.parameters), 'tensor')}",
    )
    yield "gradient", _gradients(found)
    yield "graph", "unchanged: the same leaves, no history of the edit" if found.graph_unchanged else "CHANGED"
    if found.output_before and found.output_after:
        yield "output", " → ".join(map(_short, (found.output_before, found.output_after)))
        yield "loss", " → ".join(figure(loss, 6) for loss in (found.loss_before, found.loss_after))


def _gradients(found: Edit) -> str:
    if found.gradients_unchanged is None:
        return "None before and after: no backward was run"
    return "unchanged, bit for bit" if found.gradients_unchanged else "CHANGED"


def _short(info: TensorInfo) -> str:
    """Return a small tensor on one line, of a larger one its dtype and shape."""
    text = " ".join(line.strip() for line in info.text.split("\n")) if info.text else ""
    return code(text) if 0 < len(text) <= _SHORT else f"{word(info.dtype)} {info.shape}"
