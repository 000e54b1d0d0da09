"""Markdown that pastes into a pull request: a heading, one table, the totals, what is shared.

Every text from an input stands in a code span, where GitHub reads no markup, no HTML, no @name and no link.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from paraminspect.render import cells, comparison
from paraminspect.render.counted import counted
from paraminspect.render.coverage import coverage
from paraminspect.render.depth import at_depth
from paraminspect.render.initialisation import initialisation, provenance
from paraminspect.render.judgement import judgement
from paraminspect.render.layers import FIGURES, Figure, type_of, wrong_with
from paraminspect.render.ledger import ledger, not_attributed
from paraminspect.render.proof import proof
from paraminspect.render.remarks import remarks
from paraminspect.render.sharing import (
    MEANING,
    ONE_OBJECT,
    constants,
    head_of,
    is_constant,
    nothing_shared,
    shares_nothing,
)
from paraminspect.render.signal import conditions, signal_lines
from paraminspect.render.uses import UsesByParameter, called
from paraminspect.report import Comparison, Layer, Parameter, Report, Sharing, SignalLayer, Slope, Trial, Use
from paraminspect.text.escape import clean
from paraminspect.text.numbers import figure
from paraminspect.text.view import View

_HARMLESS = re.compile("–|-?[0-9][0-9A-Za-z.,+-]*|[A-Za-z][0-9A-Za-z]*(_[0-9A-Za-z]+)*")


_Row = TypeVar("_Row")


@dataclass(frozen=True)
class _Column(Generic[_Row]):
    head: str
    cell: Callable[[_Row], str]
    number: bool = True


def render(report: Report, view: View) -> Iterator[str]:
    """Yield GitHub-flavoured markdown."""
    yield f"### {code(report.source.name)}: {counted(report).parameters}\n\n"
    rows = report.parameters if view.depth is None else at_depth(report.parameters, view.depth)
    if report.comparison:
        yield from _compared(report.comparison, view)
        rows = ()
    gradients = report.command == "grad"
    if rows:
        yield from _table(_gradients(report, view) if gradients else _columns(report, view), rows)
        yield "\n"
    if gradients and report.signal:
        yield from _table(_signal(view), report.signal.layers)
        yield "\n"
    elif gradients and report.layers:
        yield from _table(_layers(view), report.layers)
        yield "\n"
    for line in _lines(report, view):
        yield f"- {line}\n"


def _compared(found: Comparison, view: View) -> Iterator[str]:
    """Yield the trials, and the slopes where there are any."""
    yield from _table(_trials(view), found.trials)
    yield "\n"
    if found.slopes:
        yield from _table(_slopes(view), found.slopes)
        yield "\n"


def _trials(view: View) -> list[_Column[Trial]]:
    return [
        _Column("scheme", lambda trial: code(trial.scheme), number=False),
        _Column("width", lambda trial: "" if trial.width is None else f"{trial.width:,}"),
        _Column("depth", lambda trial: "" if trial.depth is None else f"{trial.depth:,}"),
        *(column for about in ("forward", "backward") for column in _course(about, view)),
        *(_of_trial(head, key, view) for head, key in comparison.FIGURES.items()),
        *(_share(head, key) for head, key in comparison.SHARES.items()),
    ]


def _course(about: str, view: View) -> list[_Column[Trial]]:
    def cell(key: str) -> Callable[[Trial], str]:
        return lambda trial: comparison.known(getattr(comparison.course(trial, about), key), view)

    return [
        _Column(f"{about} factor", cell("factor")),
        _Column("in theory", cell("expected")),
        _Column(about, lambda trial: _word(comparison.verdict(trial, about)), number=False),
    ]


def _of_trial(head: str, key: str, view: View) -> _Column[Trial]:
    return _Column(head, lambda trial: comparison.known(getattr(trial, key), view))


def _share(head: str, key: str) -> _Column[Trial]:
    return _Column(head, lambda trial: comparison.share(getattr(trial, key)))


def _slopes(view: View) -> list[_Column[Slope]]:
    return [
        _Column("scheme", lambda slope: code(slope.scheme), number=False),
        _Column("layer", lambda slope: code(slope.layer), number=False),
        _Column("of ln rms", lambda slope: _word(slope.figure), number=False),
        _Column("slope", lambda slope: comparison.number(slope.slope, view)),
        _Column("tolerance", lambda slope: comparison.known(slope.tolerance, view)),
        _Column("in theory", lambda slope: comparison.known(slope.expected, view)),
    ]


def _table(columns: Sequence[_Column[_Row]], rows: Sequence[_Row]) -> Iterator[str]:
    """Yield the table without the columns that would be empty."""
    shown = [column for column in columns if any(map(column.cell, rows))]
    yield _line([column.head for column in shown])
    yield _line(["--:" if column.number else "---" for column in shown])
    for row in rows:
        yield _line([column.cell(row).replace("|", "\\|") for column in shown])


def _line(texts: list[str]) -> str:
    return f"| {' | '.join(texts)} |\n"


def _columns(report: Report, view: View) -> list[_Column[Parameter]]:
    mixed = any(row.kind != "parameter" for row in report.parameters)
    initialised, told = report.command == "init", judgement(report)
    return [
        _Column("parameter", _names, number=False),
        _Column("kind", lambda row: _word(row.kind) if mixed else "", number=False),
        _Column("shape", lambda row: cells.shape(row, view), number=False),
        _Column("dtype", lambda row: _word(row.dtype), number=False),
        _Column("count", lambda row: cells.count(row, view)),
        _Column("init", lambda row: _word(row.init.scheme) if row.init else "", number=False),
        _Column("mean before", lambda row: cells.moment(row.before, "mean", view) if row.before else ""),
        _Column("std before", lambda row: cells.moment(row.before, "std", view) if row.before else ""),
        _Column("mean", lambda row: cells.moment(row.values, "mean", view)),
        _Column("std", lambda row: cells.moment(row.values, "std", view)),
        *(_expected(key, view) for key in (("mean", "std", "low", "high") if initialised else ("std",))),
        *(_Column(f"fan {end}", _fan(f"fan_{end}") if initialised else _nothing) for end in ("in", "out")),
        *(_Column(end, _of_values(end, view) if initialised else _nothing) for end in ("min", "max")),
        _Column("verdict", lambda row: _words(told(row)) if initialised else "", number=False),
        _Column("gradient rms", lambda row: _word(cells.gradient(row, report.forward, view))),
    ]


def _nothing(_row: Parameter) -> str:
    return ""


def _of_values(key: str, view: View) -> Callable[[Parameter], str]:
    return lambda row: cells.moment(row.values, key, view)


def _expected(key: str, view: View) -> _Column[Parameter]:
    return _Column(f"expected {key}", lambda row: cells.expected(row.init, f"expected_{key}", view))


def _fan(key: str) -> Callable[[Parameter], str]:
    def cell(row: Parameter) -> str:
        fan = None if row.init is None else getattr(row.init, key)
        return "" if fan is None else f"{fan:,}"

    return cell


def _gradients(report: Report, view: View) -> list[_Column[Parameter]]:
    """Return the columns of `grad`: the figures of each gradient, and every use with what it contributed."""
    uses = UsesByParameter(report)
    return [
        _Column("parameter", _names, number=False),
        _Column("shape", lambda row: cells.shape(row, view), number=False),
        _Column("count", lambda row: cells.count(row, view)),
        _Column("gradient", lambda row: _word(cells.status(row, view)), number=False),
        *(_Column(key, _of_gradient(key, view)) for key in ("mean", "rms", "min", "max", "zeros")),
        _Column("uses", lambda row: "; ".join(_use(use, row, view) for use in uses.of_row(row)), number=False),
    ]


def _of_gradient(key: str, view: View) -> Callable[[Parameter], str]:
    def cell(row: Parameter) -> str:
        value = getattr(row.gradient, key, None)
        return "" if value is None else figure(value, view.glyphs)

    return cell


def _use(use: Use, row: Parameter, view: View) -> str:
    """Return ``linear in 0: 3``, where a tensor has several elements ``linear in 0: rms 3``."""
    key, head = ("mean", "") if row.numel == 1 else ("rms", "rms ")
    value = getattr(use.gradient, key)
    told = _word(use.gradient.status) if value is None else head + figure(value, view.glyphs)
    return f"{called(use, _word)}: {told}"


def _layers(view: View) -> list[_Column[Layer]]:
    return [
        _Column("#", lambda layer: f"{layer.index}"),
        _Column("layer", lambda layer: code(layer.module), number=False),
        _Column("type", lambda layer: _word(layer.type), number=False),
        *(_Column(f"output {key}", _of_output(key, view)) for key in ("mean", "rms", "min", "max")),
        _Column("gradient rms", lambda layer: figure(layer.grad.rms, view.glyphs)),
        _Column("nan", lambda layer: f"{layer.out.nan:,}" if layer.out.nan else ""),
        _Column("inf", lambda layer: f"{layer.out.inf:,}" if layer.out.inf else ""),
    ]


def _signal(view: View) -> list[_Column[SignalLayer]]:
    """Return what is known of a layer that the signal went through, measured beside expected."""

    def cell(one: Figure) -> Callable[[SignalLayer], str]:
        return lambda layer: one.cell(layer, view.glyphs)

    return [
        _Column("depth", lambda layer: "" if layer.depth is None else f"{layer.depth}"),
        _Column("layer", lambda layer: code(layer.module), number=False),
        _Column("type", lambda layer: type_of(layer, _word, view.glyphs), number=False),
        *(_Column(one.title, cell(one)) for one in FIGURES),
        _Column("remark", wrong_with, number=False),
    ]


def _of_output(key: str, view: View) -> Callable[[Layer], str]:
    return lambda layer: figure(getattr(layer.out, key), view.glyphs)


def _names(row: Parameter) -> str:
    return " = ".join(map(code, (row.name, *row.aliases)))


def _lines(report: Report, view: View) -> Iterator[str]:
    environment, known = report.environment, counted(report)
    split = f" ({known.frozen})" if known.frozen else ""
    yield ", ".join(filter(None, (f"{known.parameters}{split}", known.bytes, known.unknown)))
    for head, text in remarks(report, code):
        yield f"{head}: {text}"
    for head, text in comparison.summary(report.comparison, code, view) if report.comparison else ():
        yield f"{head}: {text}"
    if report.command == "init":
        for head, text in (*initialisation(report, code), *provenance(report, code)):
            yield f"{head}: {text}"
    if report.command == "grad":
        yield f"gradient: {coverage(report, _word)}"
    for head, text in ledger(report, code) if report.command == "grad" else not_attributed(report, code):
        yield f"{head}: {text}"
    if report.signal and report.command == "grad":
        yield f"signal: {conditions(report.signal, view.glyphs)}"
        for head, text in signal_lines(report.signal, _word, view.glyphs):
            yield f"{head}: {text}"
    yield from _sharing(report, view)
    forward = report.forward
    if forward and forward.loss_name and not forward.error and not report.comparison:
        yield f"loss {_word(forward.loss_name)} = {figure(forward.loss, view.glyphs, 6)}"
    if report.edit:
        for head, text in proof(report.edit, _word, view.glyphs):
            yield f"{head}: {text}"
    for failure in report.errors:
        yield f"**error**: {code(failure.where)} {code(failure.message)}"
    seed = f"seed {environment.seed}, " if environment.seed is not None else ""
    torch = f"torch {_word(environment.torch)}, " if environment.torch else ""
    yield f"{seed}{torch}paraminspect {_word(environment.paraminspect)}"


def _sharing(report: Report, view: View) -> Iterator[str]:
    """Yield a line a group of names; where sharing was asked for also what it means, or that there is none."""
    uses = UsesByParameter(report)
    for shared in report.sharing:
        if not is_constant(shared):
            yield _shared(shared, uses, view)
    if report.command == "share":
        told = {shared.kind for shared in report.sharing if not is_constant(shared)}
        for kind in sorted(told & set(MEANING)):
            yield f"{kind}: {'; '.join(MEANING[kind].lines())}"
        if shares_nothing(report):
            yield nothing_shared(report)
        if line := constants(report):
            yield f"equal: {line}"


def _shared(shared: Sharing, uses: UsesByParameter, view: View) -> str:
    one = shared.kind in ONE_OBJECT
    names = (" = " if one else ", ").join(map(code, shared.names))
    uses_line = uses.line(shared.names[0], view) if one else ""
    repair = f", repair: {code(shared.repair)}" if shared.repair else ""
    return f"{head_of(shared)}: {names} ({_word(shared.kind)}){uses_line}{repair}"


def _word(text: str) -> str:
    """Return a plain word or number as it is; anything that could be markup as code."""
    return text if _HARMLESS.fullmatch(text) else code(text)


def _words(text: str) -> str:
    """Return several words as they are, each that could be markup as code."""
    return " ".join(map(_word, text.split(" ")))


def code(text: str) -> str:
    """Return a text as a code span that shows it exactly; nothing where there is no text."""
    shown = clean(text, limit=None)
    if not shown:
        return ""
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    stripped = shown[0] == shown[-1] == " " and shown.strip(" ")
    pad = " " if stripped or "`" in (shown[0], shown[-1]) else ""
    return f"{fence}{pad}{shown}{pad}{fence}"
