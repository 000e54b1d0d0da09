"""What every command does around its own work: have SOURCE prepared, have the Report drawn and written.

Nothing heavy is imported before a command runs: help and usage errors need none of it.
"""

from __future__ import annotations

import math
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paraminspect import output
from paraminspect.cli.options import Call, Format, Notes, Output, PartOfModel, Passes, Rows, Rules, Setting
from paraminspect.errors import UserError
from paraminspect.isolation.issued_warnings import collected_warnings
from paraminspect.isolation.phases import enter

if TYPE_CHECKING:
    from paraminspect.experiments.selection import Request
    from paraminspect.report import Report
    from paraminspect.sources.setup import Setup

DONE, FAILED = 0, 2
_NEXT = {
    "show": {"summary": "shapes and work by layer", "grad": "signal and uses"},
    "grad": {"summary": "shapes and work by layer"},
    "summary": {"show": "values and sharing", "grad": "gradients and signal"},
}
"""Where the next question lies, by command: another one, and what it has."""


def prepare(
    source: str | None,
    call: Call,
    rules: Rules,
    setting: Setting,
    notes: Notes,
    passes: Passes | None = None,
    backward: bool = True,
) -> Setup:
    """Check what was typed, without torch as far as that goes; then import torch.

    `passes` is None for a command that runs no forward. Raises UserError for whatever the user can put right.
    """
    from paraminspect.sources.locate import DEFAULT
    from paraminspect.sources.setup import prepare as checked

    if source is None and not notes.quiet:
        output.note(f"no SOURCE given: using the built-in spec {DEFAULT!r}")
    given = {**vars(call), **vars(rules), **vars(setting), **vars(passes or Passes())}
    return checked(DEFAULT if source is None else source, backward=backward, **given)


def request(command: str, rows: Rows, **options: Any) -> Request:
    """Return what the command is asked to show; call it when torch has been imported."""
    from paraminspect.experiments.selection import Request

    sort = None if rows.sort is None else rows.sort.value
    return Request(command, tuple(rows.params or ()), rows.layer, sort=sort, top=rows.top, **options)


def shows_progress(printing: Output, notes: Notes) -> bool:
    """Tell whether a long run may say on stderr how far it is."""
    return not (notes.quiet or printing.json or printing.format is Format.json)


def picture_file(plot: str | None) -> Path | None:
    """Return the file to draw, if one can be drawn; raises UserError if not, before anything is run."""
    if plot is None:
        return None
    from paraminspect.plot import check

    check(Path(plot))
    return Path(plot)


def with_picture(report: Report, file: Path | None, histograms: bool = False, depth: int | None = None) -> Report:
    """Draw the report; what keeps it from being drawn goes with its errors: the rest is printed all the same."""
    if file is None:
        return report
    from paraminspect.plot import draw
    from paraminspect.report import Failure

    try:
        draw(report, file, histograms, depth)
    except UserError as error:
        message = "; ".join(filter(None, (error.message, error.hint)))
        return replace(report, errors=(*report.errors, Failure(error.code, message, error.where)))
    return report


def finish(
    report: Report,
    rows: Rows,
    printing: Output,
    notes: Notes,
    values: bool = False,
    histograms: bool = False,
    buffers: bool = False,
    whole_repr: bool = False,
    theory: bool = False,
) -> int:
    """Print the report in the form asked for, then what went wrong; return the exit code."""
    from paraminspect.render import render

    enter("writing")
    chosen = Format.json if printing.json else printing.format
    view = replace(
        output.view(not printing.no_color),
        values=values,
        histograms=histograms,
        depth=rows.depth,
        fold=not rows.no_fold,
        buffers=buffers or bool(rows.params or rows.top),
        whole_repr=whole_repr,
        theory=theory,
    )
    output.emit(render(report, chosen.value, view))
    say_beside(report, notes.quiet)
    if not notes.quiet and chosen is Format.table:
        _suggest(report, rows, not printing.no_color, view.width)
    return FAILED if report.errors else DONE


def say_beside(report: Report, quiet: bool) -> None:
    """Say on stderr what goes with an answer: notes and warnings unless `quiet`, and what went wrong."""
    if not quiet:
        for text in report.notes:
            output.note(text)
    tell_warnings(quiet)
    for failure in report.errors:
        output.error(f"{failure.where}: {failure.message}" if failure.where else failure.message)


def _suggest(report: Report, part: PartOfModel, colour: bool, columns: int | None) -> None:
    """Say below a page which commands go on from it, with the same SOURCE, and which stops on what it shows."""
    from paraminspect.rules.wording import typed

    lines: dict[str, str] = {}
    if not report.errors and report.source.kind != "checkpoint":
        lines = {typed(command, report): what for command, what in _NEXT.get(report.command, {}).items()}
    rules = dict.fromkeys(one.rule for one in report.findings if one.severity != "note")
    if rules:
        words = [word for glob in part.params or () for word in ("--params", glob)]
        words += [] if part.layer is None else ["--layer", part.layer]
        more = shlex.join([*words, "--select", ",".join(rules)])
        lines[f"{typed('check', report)} {more}"] = "exit code 1 on this, in a script"
    width = max(map(len, lines), default=0)
    room = math.inf if columns is None else columns
    fit = all(width + 2 + len(what) <= room for what in lines.values())
    for line, what in lines.items():
        beside = f"  {what}" if len(line) + 2 + len(what) <= room else ""
        output.suggest(f"{line:<{width if fit else 0}}{beside}", colour)


def tell_warnings(quiet: bool) -> None:
    """Say what the user's code and torch warned of so far, unless nothing but errors is wanted."""
    for text in collected_warnings():
        if not quiet:
            output.note(text)
