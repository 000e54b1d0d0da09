"""The first line of a page: no problem found, or the one that matters most, in plain words with what to try.

A wrong alarm is worse than none: what is meant (frozen parameters, eval mode, equal constants) is no problem, and a
model of which nothing was run is not called fine, but fine as far as it was read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from paraminspect.report import Finding, Headline, Report
from paraminspect.rules import failed_passes, gradient_rules, registration_rules, sharing_rules, value_rules
from paraminspect.rules.catalogue import FINDERS, Finder, problems_of
from paraminspect.rules.rule import Problem
from paraminspect.rules.rule_selection import Selection
from paraminspect.rules.trial_rules import among_trials, steadiest
from paraminspect.text.escape import spell

COMMANDS = ("show", "summary", "init", "grad", "share", "compare")
"""The commands whose pages begin with it."""

_OF_COMMAND: dict[str, tuple[Finder, ...]] = {
    "init": (
        value_rules.nonfinite_values,
        value_rules.uninitialised,
        registration_rules.forgotten,
        value_rules.schemes,
    ),
    "share": (failed_passes.failed, registration_rules.forgotten, sharing_rules.ties, sharing_rules.copies),
    "summary": (
        failed_passes.failed,
        registration_rules.forgotten,
        failed_passes.backward_failed,
        gradient_rules.uncalled,
        failed_passes.no_input,
    ),
    "compare": (among_trials,),
}
"""The commands that do not look at everything."""


OF_PAGES = Selection(also=("PI308",))
"""What a page says of a run, and `check` only where it is asked: it stops on nothing that healthy networks have."""


def headline(report: Report) -> Headline:
    """Return the first line, with what is from an input marked in it: a problem comes before what is only a note."""
    known = report.headline
    if known is not None and known.tone == "fine" and not report.errors:  # it was looked for before
        return _first([], report)
    return _first(_problems(report, OF_PAGES), report)


def with_findings(report: Report, selection: Selection = OF_PAGES) -> Report:
    """Return the report with what the rules find in it, and with its first line; as plain text, both."""
    found = _problems(report, selection)
    first = _first(found, report)
    findings = tuple(finding_of(one) for one in found if one.rule)
    return replace(report, findings=findings, headline=replace(first, text=_bare(first.text), hint=_bare(first.hint)))


def _problems(report: Report, selection: Selection) -> list[Problem]:
    return problems_of(report, _OF_COMMAND.get(report.command, FINDERS), selection)


def _first(found: list[Problem], report: Report) -> Headline:
    if not found:
        return Headline("fine", "none", _fine(report))
    first, *others = found
    return Headline(first.severity, first.about, first.text, first.hint, len(others))


def finding_of(problem: Problem) -> Finding:
    """Return what a report has of a problem, as plain text."""
    where = problem.where or next(iter(problem.names), "")
    return Finding(problem.rule, problem.severity, where, _bare(problem.text), problem.names, _bare(problem.hint))


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
        yield "gradients, sharing and signal" if _has_verdict(report) else "values, gradients and sharing"


def _has_verdict(report: Report) -> bool:
    """Tell whether the signal was followed through the layers, and came to a verdict."""
    courses = (report.signal.forward, report.signal.backward) if report.signal else ()
    return any(course.verdict != "unknown" for course in courses)
