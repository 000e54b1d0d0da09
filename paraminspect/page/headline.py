"""The first line of a page: no problem found, or the one that matters most, in plain words with what to try.

A wrong alarm is worse than none: what is meant (frozen parameters, eval mode, equal constants) is no problem, and a
model of which nothing was run is not called fine, but fine as far as it was read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from paraminspect.page import problems, signal_problems
from paraminspect.page.problems import Found
from paraminspect.page.trial_problems import among_trials, steadiest
from paraminspect.report import Headline, Report
from paraminspect.text.escape import spell

COMMANDS = ("show", "summary", "init", "grad", "share", "compare")
"""The commands whose pages begin with it."""

_EVERY: tuple[Callable[[Report], Iterable[Found]], ...] = (
    problems.failed,
    problems.nonfinite_values,
    problems.uninitialised,
    problems.nonfinite_passes,
    problems.forgotten,
    problems.unreached,
    problems.backward_failed,
    problems.ties,
    problems.schemes,
    signal_problems.all_zero,
    signal_problems.signal,
    signal_problems.units,
    signal_problems.zeros,
    problems.copies,
    problems.nothing_trains,
    problems.no_input,
)
"""What is looked for, the worst first."""

_OF_COMMAND: dict[str, tuple[Callable[[Report], Iterable[Found]], ...]] = {
    "init": (problems.nonfinite_values, problems.uninitialised, problems.forgotten, problems.schemes),
    "share": (problems.failed, problems.forgotten, problems.ties, problems.copies),
    "summary": (
        problems.failed,
        problems.forgotten,
        problems.backward_failed,
        problems.uncalled,
        problems.no_input,
    ),
    "compare": (among_trials,),
}
"""The commands that do not look at everything."""


def headline(report: Report) -> Headline:
    """Return the first line, with what is from an input marked in it: a problem comes before what is only a note."""
    look = _OF_COMMAND.get(report.command, _EVERY)
    found = sorted((one for finder in look for one in finder(report)), key=lambda one: one.tone == "note")
    if not found:
        return Headline("fine", "none", _fine(report))
    first, *others = found
    return Headline(first.tone, first.about, first.text, first.hint, len(others))


def with_headline(report: Report) -> Report:
    """Return the report with its first line, as plain text."""
    found = headline(report)
    return replace(report, headline=replace(found, text=_bare(found.text), hint=_bare(found.hint)))


def _bare(text: str) -> str:
    return spell(text, lambda _, marked: marked)


# --- nothing found -----------------------------------------------------------------------------------------------


def _fine(report: Report) -> str:
    """Say that nothing was found, and where not everything was looked at what was."""
    if report.command == "compare":
        return f"no problem found{steadiest(report)}"
    limits = "; ".join(_limits(report))
    return f"no problem found{limits and ' in '}{limits}"


def _limits(report: Report) -> Iterator[str]:
    """Yield what was looked at where that is not everything."""
    if report.command == "init":
        yield "the values; nothing was run"
    elif not report.totals.parameters and not report.totals.unknown:
        yield "what was read; there are no parameters"
    elif report.command == "share":
        yield "what is shared"
    elif report.forward is None:
        yield "what was read; nothing was run"
    elif any(row.gradient and row.gradient.status == "unknown" for row in report.parameters):
        yield "names and shapes; tensors on the meta device hold no numbers"
    elif not report.forward.backward:
        yield "the forward; the backward was not run"
    elif report.command == "summary":
        yield "the forward and the backward"
    elif report.totals.shown != report.totals.parameters:
        yield "the rows shown"
    else:
        yield "gradients, sharing and signal" if _judged(report) else "values, gradients and sharing"


def _judged(report: Report) -> bool:
    """Tell whether the signal was followed through the layers, and came to a verdict."""
    courses = (report.signal.forward, report.signal.backward) if report.signal else ()
    return any(course.verdict != "unknown" for course in courses)
