"""`paraminspect check`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from paraminspect import output
from paraminspect.cli import completion, session
from paraminspect.cli.check_options import (
    CheckOutput,
    Requirements,
    RuleChoice,
    Severity,
    baseline_typed,
    expectations_typed,
    file_to_write,
    selection_typed,
    settings_of,
)
from paraminspect.cli.options import Call, NoForward, Notes, PartOfModel, Passes, Rules, Setting
from paraminspect.errors import UserError
from paraminspect.text.numbers import plural

if TYPE_CHECKING:
    from paraminspect.experiments.check import Checked, CheckRequest
    from paraminspect.report import Report

FOUND = 1


def check(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE",
            help="Models in Python, specs, checkpoints: one or several. Default: mlp.",
            autocompletion=completion.sources,
            rich_help_panel="Model",
        ),
    ] = None,
    *,
    call: Call,
    part: PartOfModel,
    setting: Setting,
    passes: Passes,
    rules: Rules,
    chosen: RuleChoice,
    expected: Requirements,
    printing: CheckOutput,
    notes: Notes,
    no_forward: NoForward = False,
) -> int:
    """Look for what is wrong. Exit code 0: nothing was found; 1: something was; 2: it could not be looked for."""
    from paraminspect.sources.locate import DEFAULT

    settings = settings_of(chosen)
    selection = selection_typed(chosen, settings)
    expectations, baseline = expectations_typed(expected), baseline_typed(expected, settings)
    jobs = printing.count_of_jobs()
    names = sources or [DEFAULT]
    _check_sources(names, part, (call, setting, passes, rules))
    files = _files(expected, names)
    if not sources and not notes.quiet:
        output.note(f"no SOURCE given: using the built-in spec {DEFAULT!r}")
    from paraminspect.experiments.check import CheckRequest

    request = CheckRequest(
        selection=selection,
        params=tuple(part.params or ()),
        layer=part.layer,
        forward=not no_forward,
        options={**vars(call), **vars(rules), **vars(setting), **vars(passes)},
        several=len(names) > 1,
        debug=notes.debug,
        expected=expectations,
        takes_digests=files.digests is not None,
        baseline=baseline,
    )
    every = _answered(names, request, jobs, printing, notes)
    reports = [one.report for one in every]
    if any(report.errors for report in reports):
        for path in filter(None, files):
            output.note(f"{path} was not written: not everything could be checked")
        return session.FAILED
    _write(files, names, every, notes)
    if files.baseline is not None:
        return session.DONE
    return session.DONE if chosen.exit_zero else _found(reports, chosen.fail_on or settings.fail_on or Severity.warning)


def _check_sources(sources: Sequence[str], part: PartOfModel, groups: Iterable[Any]) -> None:
    """Refuse standard input twice, and what is for models where there are files alone."""
    from paraminspect.cli.checkpoint_source import refuse_for_checkpoints
    from paraminspect.sources.checkpoint_name import is_checkpoint

    if sources.count("-") > 1:
        raise UserError("standard input can be read once", where="-", hint="name it once", code="bad-option")
    if all(map(is_checkpoint, sources)):
        refuse_for_checkpoints(part, groups)


class _Files(NamedTuple):
    """The files to write when everything could be checked."""

    digests: Path | None
    baseline: Path | None


def _files(expected: Requirements, sources: Sequence[str]) -> _Files:
    """Return the files to write. Raises UserError for one that cannot be, and for digests of several sources."""
    from paraminspect.rules.baseline import baseline_in
    from paraminspect.rules.digest_list import digests_in

    for option, given in (("--expect-digest", expected.expect_digest), ("--write-digest", expected.write_digest)):
        if given is not None and len(sources) > 1:
            hint = "check the sources one at a time"
            raise UserError("a list of digests is of one source", where=option, hint=hint, code="bad-option")
    digests = file_to_write(expected.write_digest, "--write-digest", (".txt", ".sha256"), digests_in)
    return _Files(digests, file_to_write(expected.write_baseline, "--write-baseline", (".json",), baseline_in))


def _write(files: _Files, sources: Sequence[str], every: Sequence[Checked], notes: Notes) -> None:
    """Write what is to be kept, and say so. Raises UserError where the system refuses."""
    from paraminspect.files import whole
    from paraminspect.render.json import dumps
    from paraminspect.rules.baseline import baseline_object
    from paraminspect.rules.digest_list import digests_as_text

    texts = []
    if files.digests is not None:
        unknown = sum(one.digest is None for one in every[0].digests.values())
        count = plural(len(every[0].digests), "tensor") + (f", {unknown:,} of them unknown," if unknown else "")
        texts.append((files.digests, "".join(digests_as_text(every[0].digests)), f"the digests of {count}"))
    if files.baseline is not None:
        reports = [one.report for one in every]
        found = plural(sum(len(report.findings) for report in reports), "finding")
        text = dumps(baseline_object(zip(sources, reports, strict=True)))
        texts.append((files.baseline, text, f"a baseline of {found}"))
    for path, text, what in texts:
        with whole(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
        if not notes.quiet:
            output.note(f"wrote {what} to {path}")


def _found(reports: Iterable[Report], least: str) -> int:
    from paraminspect.rules.rule import is_as_bad

    severities = {finding.severity for report in reports for finding in report.findings}
    return FOUND if any(is_as_bad(one, least) for one in severities) else session.DONE


# --- the answer --------------------------------------------------------------------------------------------------


def _answered(
    sources: Sequence[str], request: CheckRequest, jobs: int, printing: CheckOutput, notes: Notes
) -> list[Checked]:
    """Print what is found, page by page where a format has pages, else as one document; return it without its rows."""
    from paraminspect.experiments.check import unread
    from paraminspect.experiments.check_jobs import check_all
    from paraminspect.render import has_pages, is_streamed, render_reports

    wanted = not notes.quiet
    view = output.view(not printing.no_color)
    streamed = is_streamed(printing.form) and (view.width is not None or not wanted)
    reading = (lambda total: output.throughput(total, wanted)) if wanted and len(sources) == 1 else unread
    checked = check_all(sources, request, jobs, reading)
    if not streamed:
        checked = _with_progress(checked, len(sources), wanted and len(sources) > 1)
    kept: list[Checked] = []
    if is_streamed(printing.form):
        for one in checked:
            between = ["\n"] if kept and has_pages(printing.form) else []
            output.emit([*between, *render_reports([one.report], printing.form, view)])
            _say_beside(one, printing, notes, request.several)
            kept.append(one._replace(report=replace(one.report, parameters=())))
        if request.several:
            output.emit(
                ["\n", *_summing_up([one.report for one in kept], view, printing.form)]
                if has_pages(printing.form)
                else []
            )
        return kept
    every = list(checked)
    output.emit(render_reports([one.report for one in every], printing.form, view))
    for one in every:
        _say_beside(one, printing, notes, request.several)
    return every


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


def _say_beside(one: Checked, printing: CheckOutput, notes: Notes, several: bool) -> None:
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
    label = report.source.label
    known = (label, report.source.path or label)
    return where if where.startswith(known) else ": ".join(filter(None, (label, where)))
