"""Markdown that pastes into a pull request: a heading, one table, the totals, what is shared.

Every text from an input stands in a code span, where GitHub reads no markup, no HTML, no @name and no link.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from paraminspect.render import cells
from paraminspect.render.counted import counted
from paraminspect.render.escape import clean
from paraminspect.render.figures import figure, plural, size, whole
from paraminspect.render.proof import proof
from paraminspect.render.sharing import MEANING, nothing_shared
from paraminspect.render.uses import UsesByParameter
from paraminspect.render.view import View
from paraminspect.report import Parameter, Report

_HARMLESS = re.compile("–|-?[0-9][0-9A-Za-z.,+-]*|[A-Za-z][0-9A-Za-z]*(_[0-9A-Za-z]+)*")


@dataclass(frozen=True)
class _Column:
    head: str
    cell: Callable[[Parameter], str]
    number: bool = True


def render(report: Report, view: View) -> Iterator[str]:
    """Yield GitHub-flavoured markdown."""
    yield f"### {code(report.source.name)}: {counted(report).parameters}\n\n"
    if report.parameters:
        yield from _table(report, view)
        yield "\n"
    for line in _lines(report, view):
        yield f"- {line}\n"


def _table(report: Report, view: View) -> Iterator[str]:
    """Yield the table without the columns that would be empty."""
    columns = [column for column in _columns(report, view) if any(map(column.cell, report.parameters))]
    yield _line([column.head for column in columns])
    yield _line(["--:" if column.number else "---" for column in columns])
    for row in report.parameters:
        yield _line([column.cell(row).replace("|", "\\|") for column in columns])


def _line(texts: list[str]) -> str:
    return f"| {' | '.join(texts)} |\n"


def _columns(report: Report, view: View) -> list[_Column]:
    mixed = any(row.kind != "parameter" for row in report.parameters)
    return [
        _Column("parameter", _names, number=False),
        _Column("kind", lambda row: _word(row.kind) if mixed else "", number=False),
        _Column("shape", lambda row: cells.shape(row, view), number=False),
        _Column("dtype", lambda row: _word(row.dtype), number=False),
        _Column("count", lambda row: whole(row.numel, view.glyphs)),
        _Column("init", lambda row: _word(row.init.scheme) if row.init else "", number=False),
        _Column("mean before", lambda row: cells.moment(row.before, "mean", view) if row.before else ""),
        _Column("std before", lambda row: cells.moment(row.before, "std", view) if row.before else ""),
        _Column("mean", lambda row: cells.moment(row.values, "mean", view)),
        _Column("std", lambda row: cells.moment(row.values, "std", view)),
        _Column("expected std", lambda row: cells.expected(row.init, "expected_std", view)),
        _Column("gradient rms", lambda row: _word(cells.gradient(row.gradient, report.forward, view))),
    ]


def _names(row: Parameter) -> str:
    return " = ".join(map(code, (row.name, *row.aliases)))


def _lines(report: Report, view: View) -> Iterator[str]:
    totals, environment, known = report.totals, report.environment, counted(report)
    split = f" ({known.frozen})" if known.frozen else ""
    yield ", ".join(filter(None, (f"{known.parameters}{split}", known.bytes, known.unknown)))
    if totals.buffers:
        least = "at least " if any(row.numel is None for row in report.parameters if row.kind == "buffer") else ""
        yield f"buffers: {least}{plural(totals.buffers, 'element')}, {least}{size(totals.buffer_bytes)}"
    yield from _sharing(report, view)
    forward = report.forward
    if forward and forward.loss_name and not forward.error:
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
        names = " = ".join(map(code, shared.names))
        yield f"shared: {names} ({_word(shared.kind)}){uses.line(shared.names[0], view)}"
    if report.command == "share":
        for kind in sorted({shared.kind for shared in report.sharing} & set(MEANING)):
            yield f"{kind}: {MEANING[kind]}"
        if not report.sharing:
            yield nothing_shared(report)


def _word(text: str) -> str:
    """Return a plain word or number as it is; anything that could be markup as code."""
    return text if _HARMLESS.fullmatch(text) else code(text)


def code(text: str) -> str:
    """Return a text as a code span that shows it exactly; nothing where there is no text."""
    shown = clean(text, limit=None)
    if not shown:
        return ""
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    stripped = shown[0] == shown[-1] == " " and shown.strip(" ")
    pad = " " if stripped or "`" in (shown[0], shown[-1]) else ""
    return f"{fence}{pad}{shown}{pad}{fence}"
