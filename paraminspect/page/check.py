"""`check`: what the rules found in one source, each finding with what to try."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from paraminspect.page.checkpoint_table import page_of_files
from paraminspect.page.heading import page_of
from paraminspect.page.parts import Entries, Line, Page, Part
from paraminspect.report import Finding, Headline, Report, TensorRows
from paraminspect.rules.file_headline import place_and_message
from paraminspect.rules.rule import SEVERITIES
from paraminspect.text.escape import View, code, word
from paraminspect.text.numbers import plural

_WIDTH = 7


def check(report: Report, view: View) -> Page:
    """Return how much was found, then the findings, the worst first, under what was typed: names may be the same."""
    report = replace(report, source=replace(report.source, name=report.source.label))
    if report.errors and report.model is None and report.checkpoint is None:
        return _not_checked(report, view)
    ranked = sorted(report.findings, key=lambda one: SEVERITIES.index(one.severity))
    parts: list[Part] = [_first(report)]
    if ranked:
        parts.append(Entries([line for one in ranked for line in _lines(one, report)], _WIDTH))
    if report.checkpoint is not None and isinstance(report.parameters, TensorRows):
        return page_of_files(report, report.checkpoint, report.parameters, parts)
    return page_of(report, view, parts)


def _not_checked(report: Report, view: View) -> Page:
    """Return the page of a source of which nothing is known but why; beside a terminal stderr says it."""
    why = [("error", ": ".join(map(code, filter(None, (one.where, one.message))))) for one in report.errors]
    first = Headline("error", "failed", "it could not be checked")
    return Page(code(report.source.name), "not checked", (), [first, *([Entries(why)] if view.on_paper else [])])


def summing_up(reports: Sequence[Report]) -> Page:
    """Return one line on several sources: how many there are, what was found, how many could not be checked."""
    counts = Counter(finding.severity for report in reports for finding in report.findings)
    failed = sum(bool(report.errors) for report in reports)
    affected = sum(bool(report.findings) for report in reports)
    of_all = plural(len(reports), "source")
    found = ", ".join(plural(counts[one], one) for one in SEVERITIES if counts[one])
    text = f"{found} in {affected:,} of {of_all}" if counts else f"no problem found in {of_all}"
    if failed:
        text = f"{text if counts else of_all}; {failed:,} could not be checked"
    tone = "error" if failed else next((one for one in SEVERITIES if counts[one]), "fine")
    return Page("", "", (), [Headline(tone, "several", text)])


def _first(report: Report) -> Headline:
    """Return how many findings there are, by how bad they are; that there are none is the report's own first line."""
    counts = Counter(finding.severity for finding in report.findings)
    if not counts:
        fine = report.headline if report.headline and report.headline.tone == "fine" else None
        return fine or Headline("note", "unknown", "not everything could be checked")
    worst = next(severity for severity in SEVERITIES if counts[severity])
    return Headline(worst, "findings", ", ".join(plural(counts[one], one) for one in SEVERITIES if counts[one]))


def _lines(found: Finding, report: Report) -> Iterator[Line]:
    of_file = report.checkpoint is not None and not found.rule.startswith("PI0")
    text = place_and_message(found, report) if of_file else code(found.message)
    yield word(found.rule), f"{word(found.severity)}: {text}"
    if found.hint:
        yield "", f"try: {code(found.hint)}"
