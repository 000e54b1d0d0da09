"""`grad`: the gradient of every parameter and what each use added to it, then the signal's way through the layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from paraminspect.render import cells
from paraminspect.render.coverage import coverage
from paraminspect.render.ledger import ledger
from paraminspect.render.remarks import forgotten
from paraminspect.render.rows import Rows, folded
from paraminspect.render.sharing import summary_lines
from paraminspect.render.signal import signal_lines
from paraminspect.render.table import columns
from paraminspect.render.table.folding import aside, entry
from paraminspect.render.table.header import title
from paraminspect.render.table.layers import layers
from paraminspect.render.table.layout import Column, lay_out
from paraminspect.render.table.signal import signal
from paraminspect.render.table.style import QUIET, SUSPICIOUS
from paraminspect.render.table.values import values_blocks
from paraminspect.render.table.verdicts import nonfinite_gradients
from paraminspect.render.uses import NOT_ATTRIBUTED, UsesByParameter, called
from paraminspect.report import Gradient, Parameter, Report, Use
from paraminspect.text.numbers import figure, plural
from paraminspect.text.view import View

_MOST_USES = 12
_FIRST, _LAST = 6, 3


@dataclass(frozen=True)
class _Line:
    """One line of the table: a parameter's own, or below it one use, their sum, or how many uses are left out.

    `sign` stands before the part of the gradient that adds up, the mean.
    """

    row: Parameter
    label: str = ""
    found: Gradient | None = None
    sign: str = ""
    style: str = ""

    @property
    def own(self) -> bool:
        return not self.label


def grad(report: Report, view: View) -> Iterator[str]:
    """Yield the table of gradients, the table of layers, then what did not get a gradient and whether uses add up."""
    yield from title(report, view)
    yield "\n"
    uses = UsesByParameter(report)
    rows = Rows(report, view).of_kind("parameter", places=uses.places, told=uses.kinds)
    if rows:
        lines = [line for row in rows for line in _lines(row, uses, view)]
        yield from lay_out(_columns(rows, uses, view), lines, view)
        yield from aside(folded(rows), "all with --no-fold", view)
    else:
        yield "no parameters\n"
    if report.signal:
        yield "\n"
        yield from signal(report.signal, view)
    elif report.layers:
        yield "\n"
        yield from layers(report, view)
    yield "\n"
    for head, text in _summary(report, uses, view):
        yield from entry(head, text, view)
    if view.values:
        yield from values_blocks(report, view)


def _lines(row: Parameter, uses: UsesByParameter, view: View) -> Iterator[_Line]:
    """Yield the parameter's line; where several uses add up, one line each and their sum."""
    yield _Line(row, found=row.gradient)
    found = uses.of_row(row)
    if len(found) < 2 and not any(use.op == NOT_ATTRIBUTED for use in found):
        return
    lines = [_use(row, use, "+" if i else "", view) for i, use in enumerate(found)]
    if len(lines) > _MOST_USES and view.width is not None:
        left_out = plural(len(lines) - _FIRST - _LAST, "more use")
        lines[_FIRST:-_LAST] = [_Line(row, f"{view.glyphs.ellipsis} {left_out}", style=QUIET)]
    yield from lines
    if row.gradient is not None and row.gradient.mean is not None:
        yield _Line(row, "sum", Gradient("ok", row.gradient.mean), "=")


def _use(row: Parameter, use: Use, sign: str, view: View) -> _Line:
    style = SUSPICIOUS if use.op == NOT_ATTRIBUTED else ""
    return _Line(row, called(use, view.text), use.gradient, sign, style)


def _columns(rows: Sequence[Parameter], uses: UsesByParameter, view: View) -> list[Column[_Line]]:
    if all(row.numel == 1 for row in rows):
        figures: list[Column[_Line]] = [Column("gradient", lambda line: _signed(line, view), "decimal", 1)]
    else:
        figures = [
            Column("mean", lambda line: _signed(line, view), "decimal", 3, "gradient"),
            *(_figure(key, rank, view) for key, rank in (("rms", 1), ("min", 6), ("max", 6))),
            Column("zeros", _zeros, "right", 7, "gradient"),
        ]
    return [
        _name(view),
        Column("shape", _of_row(lambda row: cells.shape(row, view)), rank=5),
        Column("status", lambda line: _status(line, view), rank=2, style=_trouble),
        *figures,
        Column("used by", _of_row(lambda row: uses.summary(row, view)), rank=4),
    ]


def _name(view: View) -> Column[_Line]:
    """Show the parameter's names, and indented below them what its uses are called."""
    whole = columns.name("parameter", view)
    style, below = whole.style, whole.below
    assert style is not None and below is not None
    return Column(
        whole.head,
        lambda line: whole.cell(line.row) if line.own else f"    {line.label}",
        style=lambda line: style(line.row) if line.own else line.style,
        below=lambda line: below(line.row) if line.own else (),
    )


def _of_row(cell: Callable[[Parameter], str]) -> Callable[[_Line], str]:
    """Show something on a parameter's own line only."""
    return lambda line: cell(line.row) if line.own else ""


def _status(line: _Line, view: View) -> str:
    if line.own:
        return cells.status(line.row, view)
    return view.text(line.found.status) if line.found and line.found.status != "ok" else ""


def _trouble(line: _Line) -> str:
    return columns.trouble(line.row) if line.own else line.style


def _signed(line: _Line, view: View) -> str:
    """Return the figure that adds up: the mean, which is the gradient itself where there is one element."""
    text = _shown("mean", line, view)
    return f"{line.sign} {text}" if line.sign and text else text


def _figure(key: str, rank: int, view: View) -> Column[_Line]:
    """Show a figure of the gradient; the sum of the uses has it on the parameter's own line."""
    return Column(key, lambda line: "" if line.sign == "=" else _shown(key, line, view), "decimal", rank, "gradient")


def _shown(key: str, line: _Line, view: View) -> str:
    """Return a figure; nothing where the status says why there is none."""
    value = getattr(line.found, key, None)
    unknown = line.found is not None and line.found.status == "unknown"
    return figure(value, view.glyphs) if value is not None or unknown else ""


def _zeros(line: _Line) -> str:
    """Return how many of the elements are exactly 0, in percent: 0 % and 100 % are exact."""
    zeros, numel = line.found.zeros if line.found else None, line.row.numel
    if zeros is None or not numel or line.sign == "=":
        return ""
    share = round(100 * zeros / numel)
    return "<1%" if zeros and share < 1 else ">99%" if zeros < numel and share > 99 else f"{share}%"


def _summary(report: Report, uses: UsesByParameter, view: View) -> Iterator[tuple[str, str]]:
    told = coverage(report, view.text)
    if told:
        yield "gradient", told
    yield from nonfinite_gradients(report.parameters, view)
    yield from ledger(report, view.text)
    yield from summary_lines(report, view, uses)
    yield from forgotten(report, view.text)
    if report.signal:
        yield from signal_lines(report.signal, view.text, view.glyphs)
