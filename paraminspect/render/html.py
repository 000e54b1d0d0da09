"""HTML for a notebook: one fragment with its own style, legible on a light and on a dark page.

It sets no background and no text colour but for what is wrong; every text from an input is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Generic, TypeVar

from paraminspect.render import cells
from paraminspect.render.bars import Decades, decades
from paraminspect.render.coverage import coverage
from paraminspect.render.heading import experiment, totals
from paraminspect.render.layers import BARS, FIGURES, Figure, Get, type_of, wrong_with
from paraminspect.render.ledger import not_attributed
from paraminspect.render.remarks import remarks
from paraminspect.render.rows import Rows, folded
from paraminspect.render.several import members_of
from paraminspect.render.sharing import summary_lines
from paraminspect.render.signal import conditions, signal_lines
from paraminspect.render.uses import UsesByParameter
from paraminspect.report import Parameter, Report, SignalLayer
from paraminspect.text.numbers import total
from paraminspect.text.view import View

MOST_ROWS = 200
_KINDS = (("parameter", "parameter"), ("buffer", "buffer"), ("unregistered", "forgotten tensor"))
_CLASSES = {
    "nonfinite": "broken",
    "unused": "wrong",
    "disconnected": "wrong",
    "zero": "wrong",
    "frozen": "quiet",
}
_STYLE = """<style>
.paraminspect {line-height: 1.5; overflow-x: auto}
.paraminspect p {margin: 0.2em 0}
.paraminspect table.rows {border-collapse: collapse; margin: 0.8em 0; font-size: 90%; border: 0}
.paraminspect table.rows tr {background: none}
.paraminspect table.rows th, .paraminspect table.rows td
  {border: 0; padding: 0.15em 0.7em; text-align: left; white-space: nowrap; vertical-align: top}
.paraminspect table.rows td.name {white-space: normal; overflow-wrap: anywhere; min-width: 16em}
.paraminspect table.rows th.number, .paraminspect table.rows td.number
  {text-align: right; font-variant-numeric: tabular-nums}
.paraminspect table.rows thead tr {border-bottom: 1px solid currentColor}
.paraminspect table.rows tfoot tr {border-top: 1px solid currentColor}
.paraminspect code {background: none; color: inherit; padding: 0}
.paraminspect .quiet {opacity: 0.65}
.paraminspect .alias {opacity: 0.65; padding-left: 1em}
.paraminspect .wrong {color: #d9480f}
.paraminspect .broken {color: #d9480f; font-weight: bold}
.paraminspect dl {display: grid; grid-template-columns: max-content 1fr; gap: 0 1em; margin: 0.8em 0}
.paraminspect dl dt {font-weight: bold}
.paraminspect dl dd {margin: 0; overflow-wrap: anywhere}
</style>
"""


_Row = TypeVar("_Row")


@dataclass(frozen=True)
class _Column(Generic[_Row]):
    """One column: what it shows of a row, as text to escape, and the class of that cell."""

    head: str
    cell: Callable[[_Row], str]
    foot: str = ""
    number: bool = True
    style: Callable[[_Row], str] = lambda _: ""


def render(report: Report, view: View) -> Iterator[str]:
    """Yield the heading, a table for each kind of tensor and one of layers, then what is forgotten or shared."""
    yield f'<div class="paraminspect">\n{_STYLE}'
    yield f"<p><b>{escape(view.text(report.source.name))}</b>: {escape(totals(report, view))}</p>\n"
    yield f'<p class="quiet">{escape(f" {view.glyphs.dot} ".join(experiment(report, view)))}</p>\n'
    arranged = Rows(report, view)
    for kind, head in _KINDS:
        rows = arranged.of_kind(kind)
        if rows:
            yield from _table(head, _columns(report, head, rows, view), rows, lambda row: _names(row, view))
            yield from _left_out(rows, folded(rows), ".parameters")
    if report.signal and report.signal.layers:
        layers = report.signal.layers
        yield from _table("layer", _layers(layers, view), layers, lambda layer: _layer(layer, view))
        yield from _left_out(layers, "", ".signal.layers")
    yield from _summary(report, view)
    yield "</div>\n"


def _columns(report: Report, head: str, rows: Sequence[Parameter], view: View) -> list[_Column[Parameter]]:
    """Return the columns of one kind of tensor: only parameters have a share of the total, a scheme and a gradient."""
    members = [member for row in rows for member in members_of(row)]
    return [
        _Column("shape", lambda row: cells.shape(row, view), number=False),
        _Column("count", lambda row: cells.count(row, view), total([member.numel for member in members], view.glyphs)),
        *([_percent(report, members)] if head == "parameter" else ()),
        _Column("dtype", lambda row: view.text(row.dtype), number=False),
        _Column("init", lambda row: cells.scheme(row.init, view), number=False),
        _Column("mean", lambda row: cells.moment(row.values, "mean", view)),
        _Column("std", lambda row: cells.moment(row.values, "std", view)),
        _Column("expected std", lambda row: cells.expected(row.init, "expected_std", view)),
        _Column("gradient rms", lambda row: cells.gradient(row, report.forward, view), style=_trouble),
    ]


def _percent(report: Report, members: Sequence[Parameter]) -> _Column[Parameter]:
    whole = cells.whole_of(report)
    foot = cells.percent(sum(member.numel or 0 for member in members), whole)
    return _Column("%", lambda row: cells.percent(row.numel, whole), foot)


def _trouble(row: Parameter) -> str:
    return _CLASSES.get(row.gradient.status, "") if row.gradient else ""


def _layers(layers: Sequence[SignalLayer], view: View) -> Iterator[_Column[SignalLayer]]:
    """Yield the columns of the signal's way through the layers, measured beside expected, and drawn."""
    yield _Column("depth", lambda layer: "" if layer.depth is None else f"{layer.depth}")
    yield _Column("type", lambda layer: type_of(layer, view.text, view.glyphs), number=False)
    for group, members in groupby(FIGURES, key=lambda one: one.group):
        yield from (_figure(one, view) for one in members)
        scale = decades(map(BARS[group], layers)) if group in BARS else None
        if scale:
            yield _bars(scale, BARS[group], group, view)
    yield _Column("remark", wrong_with, number=False, style=lambda _: "wrong")


def _figure(one: Figure, view: View) -> _Column[SignalLayer]:
    def style(layer: SignalLayer) -> str:
        return "wrong" if one.off(layer) else ""

    return _Column(one.title, lambda layer: one.cell(layer, view.glyphs), style=style)


def _bars(scale: Decades, get: Get, group: str, view: View) -> _Column[SignalLayer]:
    head = f"{group} {' to '.join(scale.ends().split())}"
    return _Column(head, lambda layer: scale.bar(get(layer), view.glyphs), number=False)


def _layer(layer: SignalLayer, view: View) -> str:
    return _code(view.text(layer.module) or "the model itself")


def _table(
    head: str, columns: Iterable[_Column[_Row]], rows: Sequence[_Row], named: Callable[[_Row], str]
) -> Iterator[str]:
    """Yield a table without the columns that would be empty, cut after some rows; the totals are of all."""
    shown = rows[:MOST_ROWS]
    columns = [column for column in columns if any(map(column.cell, shown))]
    heads = "".join(f"<th{_class(column)}>{column.head}</th>" for column in columns)
    yield f'<table class="rows">\n<thead><tr><th>{head}</th>{heads}</tr></thead>\n<tbody>\n'
    for row in shown:
        yield f'<tr><td class="name">{named(row)}</td>{"".join(_cell(column, row) for column in columns)}</tr>\n'
    yield "</tbody>\n"
    if any(column.foot for column in columns):
        feet = "".join(f"<td{_class(column)}>{column.foot}</td>" for column in columns)
        yield f"<tfoot><tr><td>total</td>{feet}</tr></tfoot>\n"
    yield "</table>\n"


def _left_out(rows: Sequence[object], told: str, field: str) -> Iterator[str]:
    """Yield how many rows the table does not have, what else is told of them, and which field has every row."""
    left_out = len(rows) - MOST_ROWS
    notes = [f"{left_out:,} more rows" if left_out > 0 else "", told]
    if any(notes):
        yield f'<p class="quiet">{"; ".join(filter(None, notes))} (<code>{field}</code> has every row)</p>\n'


def _names(row: Parameter, view: View) -> str:
    aliases = (f'<br><span class="alias">= {_code(view.text(alias))}</span>' for alias in row.aliases)
    return _code(cells.name(row, view)) + "".join(aliases)


def _code(name: str) -> str:
    """Return a name that may be broken after its dots, but not inside ``{0..31}``."""
    return f"<code>{escape(name)}</code>"


def _cell(column: _Column[_Row], row: _Row) -> str:
    return f"<td{_class(column, column.style(row))}>{escape(column.cell(row))}</td>"


def _class(column: _Column[_Row], style: str = "") -> str:
    names = " ".join(filter(None, ("number" if column.number else "", style)))
    return f' class="{names}"' if names else ""


def _signal(report: Report, view: View) -> Iterator[tuple[str, str]]:
    if report.signal:
        yield "signal", conditions(report.signal, view.glyphs)
        yield from signal_lines(report.signal, view.text, view.glyphs)


def _summary(report: Report, view: View) -> Iterator[str]:
    """Yield what is remarkable as a list of terms: what is forgotten, unreached, shared, and what went wrong."""
    lines = [
        *remarks(report, view.text),
        ("gradient", coverage(report, view.text)),
        *summary_lines(report, view, UsesByParameter(report)),
        *not_attributed(report, view.text),
        *_signal(report, view),
        *(("error", f"{view.text(failure.where)}: {view.text(failure.message)}") for failure in report.errors),
        *(("note", view.text(note)) for note in report.notes),
    ]
    yield "<dl>\n"
    for head, text in lines:
        if text:
            yield f"<dt>{head}</dt><dd>{escape(text)}</dd>\n"
    yield "</dl>\n"
