"""`paraminspect check`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paraminspect import output
from paraminspect.cli import completion, session
from paraminspect.cli.check_options import Chosen, Severity, Written, selection_typed, settings_of
from paraminspect.cli.options import Call, NoForward, Notes, Passes, Rules, Setting
from paraminspect.errors import UserError

if TYPE_CHECKING:
    from paraminspect.experiments.check import CheckRequest
    from paraminspect.experiments.check_jobs import Checked
    from paraminspect.report import Report

FOUND = 1


def check(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE...",
            help="Models in Python, specs, checkpoints: one or several. Default: mlp.",
            autocompletion=completion.sources,
            rich_help_panel="Model",
        ),
    ] = None,
    *,
    call: Call,
    setting: Setting,
    passes: Passes,
    rules: Rules,
    chosen: Chosen,
    written: Written,
    notes: Notes,
    no_forward: NoForward = False,
) -> int:
    """Look for what is wrong. Exit code 0: nothing was found; 1: something was; 2: it could not be looked for."""
    from paraminspect.sources.locate import DEFAULT

    settings = settings_of(chosen)
    selection = selection_typed(chosen, settings)
    jobs = written.count_of_jobs()
    _check_sources(sources or [DEFAULT], (call, setting, passes, rules))
    if not sources and not notes.quiet:
        output.note(f"no SOURCE given: using the built-in spec {DEFAULT!r}")
    from paraminspect.experiments.check import CheckRequest

    names = sources or [DEFAULT]
    request = CheckRequest(
        selection=selection,
        forward=not no_forward,
        options={**vars(call), **vars(rules), **vars(setting), **vars(passes)},
        several=len(names) > 1,
        debug=notes.debug,
    )
    reports = _answered(names, request, jobs, written, notes)
    if any(report.errors for report in reports):
        return session.FAILED
    return session.DONE if chosen.exit_zero else _found(reports, chosen.fail_on or settings.fail_on or Severity.warning)


def _check_sources(sources: Sequence[str], groups: Iterable[Any]) -> None:
    """Refuse standard input twice, and what is for models where there are files alone."""
    from paraminspect.cli.checkpoint_source import refuse_for_checkpoints
    from paraminspect.sources.checkpoint_name import is_checkpoint

    if sources.count("-") > 1:
        raise UserError("standard input can be read once", where="-", hint="name it once", code="bad-option")
    if all(map(is_checkpoint, sources)):
        refuse_for_checkpoints(groups)


def _found(reports: Iterable[Report], least: str) -> int:
    from paraminspect.rules.rule import at_least

    severities = {finding.severity for report in reports for finding in report.findings}
    return FOUND if any(at_least(one, least) for one in severities) else session.DONE


# --- the answer --------------------------------------------------------------------------------------------------


def _answered(sources: Sequence[str], request: CheckRequest, jobs: int, written: Written, notes: Notes) -> list[Report]:
    """Print what is found, page by page where a format has pages, else as one document; return it without its rows."""
    from paraminspect.experiments.check import unread
    from paraminspect.experiments.check_jobs import check_all
    from paraminspect.render import has_pages, is_streamed, render_reports

    wanted = not notes.quiet
    view = output.view(not written.no_color)
    streamed = is_streamed(written.form) and (view.width is not None or not wanted)
    reading = (lambda total: output.throughput(total, wanted)) if wanted and len(sources) == 1 else unread
    checked = check_all(sources, request, jobs, reading)
    if not streamed:
        checked = _with_progress(checked, len(sources), wanted and len(sources) > 1)
    kept: list[Report] = []
    if is_streamed(written.form):
        for one in checked:
            between = ["\n"] if kept and has_pages(written.form) else []
            output.emit([*between, *render_reports([one.report], written.form, view)])
            _say_beside(one, written, notes, request.several)
            kept.append(replace(one.report, parameters=()))
        if request.several:
            output.emit(["\n", *_summing_up(kept, view, written.form)] if has_pages(written.form) else [])
        return kept
    every = list(checked)
    output.emit(render_reports([one.report for one in every], written.form, view))
    for one in every:
        _say_beside(one, written, notes, request.several)
    return [one.report for one in every]


def _with_progress(checked: Iterator[Checked], total: int, wanted: bool) -> Iterator[Checked]:
    """Wait for all of them, and say on a terminal how many are done."""
    with output.progress(total, "sources", wanted) if wanted else nullcontext(lambda: None) as advance:
        done = []
        for one in checked:
            done.append(one)
            advance()
    return iter(done)


def _summing_up(reports: Sequence[Report], view: Any, form: str) -> Iterator[str]:
    from paraminspect.page.check import summing_up
    from paraminspect.render import draw_page

    return draw_page(summing_up(reports), form, view)


def _say_beside(one: Checked, written: Written, notes: Notes, several: bool) -> None:
    """Say on stderr what was warned of, and why a source could not be checked; of several sources, of which."""
    report = one.report
    if several:
        report = replace(
            report, errors=tuple(replace(each, where=_placed(each.where, report)) for each in report.errors)
        )
    for text in () if notes.quiet else one.warnings:
        output.note(text)
    session.say_beside(report, notes.quiet)


def _placed(where: str, report: Report) -> str:
    name = report.source.path or report.source.name
    return where if where.startswith((name, report.source.name)) else ": ".join(filter(None, (name, where)))
