"""`grad`: the gradient of every parameter and what each use added to it, then the signal's way through the layers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from paraminspect.frozen import dataclass
from paraminspect.page import columns
from paraminspect.page.folding import Arrangement, folded
from paraminspect.page.gradient_uses import UsesByParameter, called, coverage, ledger
from paraminspect.page.heading import page_of
from paraminspect.page.module_sharing import elided, shared_modules, what_is_elided
from paraminspect.page.parameter_tables import other_tables
from paraminspect.page.part_lines import part_lines
from paraminspect.page.parts import QUIET, SUSPICIOUS, Column, Entries, Line, Page, Paragraph, Part, Table
from paraminspect.page.remarks import forgotten, left_alone, nonfinite_gradients, remarks, unknown_gradients
from paraminspect.page.several import members_of
from paraminspect.page.sharing import summary_lines
from paraminspect.page.signal_layers import layers_table, signal_tables
from paraminspect.page.signal_verdicts import conditions, signal_lines
from paraminspect.page.values import listings
from paraminspect.report import NOT_ATTRIBUTED, Gradient, Parameter, Report, Use
from paraminspect.rules.wording import in_a_word
from paraminspect.text.escape import View, code, word
from paraminspect.text.numbers import figure, plural

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
    tone: str = ""

    @property
    def own(self) -> bool:
        return not self.label


def grad(report: Report, view: View) -> Page:
    """Return the table of gradients, that of layers, then what did not get a gradient and whether uses add up."""
    uses, arranged = UsesByParameter(report), Arrangement(report, view)
    rows = arranged.rows("parameter", places=uses.places, beside=uses.kinds)
    parts: list[Part] = []
    if rows:
        names = elided(rows, shared_modules(report, view))
        lines = [line for row in rows for line in _lines(row, uses, view, names)]
        legend = [*filter(None, [what_is_elided(rows, names)])]
        parts.append(Table(_columns(rows, uses, view, names), lines, folded(rows), legend))
    else:
        parts.append(Paragraph("no parameters"))
    if view.on_paper:
        parts += other_tables(arranged, view)
    if report.signal:
        parts.append(Entries([("signal", conditions(report.signal))]))
        parts += signal_tables(report.signal, view) if report.signal.layers else [Paragraph("no layers")]
    elif any(layer.out.rms is not None or layer.out.nan or layer.out.inf for layer in report.layers):
        parts.append(layers_table(report.layers, view))
    return page_of(report, view, [*parts, Entries(list(_summary(report, uses, view))), *listings(report, view)])


def _lines(row: Parameter, uses: UsesByParameter, view: View, names: Collection[str]) -> Iterator[_Line]:
    """Yield the parameter's line, one for each of its parts; where several uses add up, one line each and their sum.

    The uses of what is in `names` are left out.
    """
    yield _Line(row, found=row.gradient)
    yield from (_Line(part, code(part.label), part.gradient, tone=columns.trouble(part)) for part in part_lines(row))
    if names and all(member.name in names for member in members_of(row)):
        return
    found = uses.of_row(row)
    unseen = all(use.op == NOT_ATTRIBUTED for use in found)
    if unseen or (len(found) < 2 and all(use.op != NOT_ATTRIBUTED for use in found)):
        return
    lines = [_use(row, use, "+" if i else "") for i, use in enumerate(found)]
    if len(lines) > _MOST_USES and view.width is not None:
        left_out = plural(len(lines) - _FIRST - _LAST, "more use")
        lines[_FIRST:-_LAST] = [_Line(row, f"… {left_out}", tone=QUIET)]
    yield from lines
    if row.gradient is not None and row.gradient.mean is not None:
        yield _Line(row, "sum", Gradient("ok", row.gradient.mean), "=")


def _use(row: Parameter, use: Use, sign: str) -> _Line:
    return _Line(row, called(use), use.gradient, sign, SUSPICIOUS if use.op == NOT_ATTRIBUTED else "")


def _columns(
    rows: Sequence[Parameter], uses: UsesByParameter, view: View, names: Collection[str]
) -> list[Column[_Line]]:
    if all(row.numel == 1 for row in rows):
        figures: list[Column[_Line]] = [Column("gradient", _signed, "decimal", 1)]
    else:
        figures = [
            Column("mean", _signed, "decimal", 3, "gradient"),
            *(_figure(key, rank) for key, rank in (("rms", 1), ("min", 6), ("max", 6))),
            Column("zeros", lambda line: _zeros(line, exact=view.on_paper), "right", 7, "gradient"),
        ]
    return [
        _name(names),
        Column("shape", _of_row(columns.shape_of), rank=5),
        *([_count(rows)] if view.on_paper else ()),
        Column("status", _status, rank=2, tone=lambda line: columns.trouble(line.row) if line.own else line.tone),
        *figures,
        Column("used by", _of_row(uses.summary), rank=4),
    ]


def _name(names: Collection[str]) -> Column[_Line]:
    """Show the parameter's names, and indented below them what its uses are called."""
    whole = columns.name("parameter", names)
    tone, below = whole.tone, whole.below
    assert tone is not None and below is not None
    return Column(
        whole.head,
        lambda line: whole.cell(line.row) if line.own else f"    {line.label}",
        foot=whole.foot,
        tone=lambda line: tone(line.row) if line.own else line.tone,
        below=lambda line: below(line.row) if line.own else (),
    )


def _count(rows: Sequence[Parameter]) -> Column[_Line]:
    whole = columns.count(rows, 5)
    return Column(whole.head, _of_row(whole.cell), whole.align, whole.rank, foot=whole.foot)


def _of_row(cell: Callable[[Parameter], str]) -> Callable[[_Line], str]:
    """Show something on a parameter's own line only."""
    return lambda line: cell(line.row) if line.own else ""


def _status(line: _Line) -> str:
    if line.own:
        return columns.status_of(line.row)
    return word(in_a_word(line.found)) if line.found and line.found.status != "ok" else ""


def _signed(line: _Line) -> str:
    """Return the figure that adds up: the mean, which is the gradient itself where there is one element."""
    text = _shown("mean", line)
    return f"{line.sign} {text}" if line.sign and text else text


def _figure(key: str, rank: int) -> Column[_Line]:
    """Show a figure of the gradient; the sum of the uses has it on the parameter's own line."""
    return Column(key, lambda line: "" if line.sign == "=" else _shown(key, line), "decimal", rank, "gradient")


def _shown(key: str, line: _Line) -> str:
    """Return a figure; nothing where the status says why there is none."""
    value = getattr(line.found, key, None)
    unknown = line.found is not None and line.found.status == "unknown"
    return figure(value) if value is not None or unknown else ""


def _zeros(line: _Line, exact: bool) -> str:
    """Return how many of the elements are exactly 0, their number or in percent: 0 % and 100 % are exact."""
    zeros, numel = line.found.zeros if line.found else None, line.row.numel
    if zeros is None or not numel or line.sign == "=":
        return ""
    if exact:
        return f"{zeros:,}"
    share = round(100 * zeros / numel)
    return "<1%" if zeros and share < 1 else ">99%" if zeros < numel and share > 99 else f"{share}%"


def _summary(report: Report, uses: UsesByParameter, view: View) -> Iterator[Line]:
    if view.on_paper:
        yield from remarks(report)
    yield from coverage(report)
    if not view.on_paper:
        yield from unknown_gradients(report)
    yield from nonfinite_gradients(report.parameters)
    yield from ledger(report)
    yield from summary_lines(report, uses, view.on_paper, shared_modules(report, view))
    if not view.on_paper:
        yield from forgotten(report)
    yield from left_alone(report)
    if report.signal:
        yield from signal_lines(report.signal, view.theory)
