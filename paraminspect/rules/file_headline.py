"""The first line of a page about a checkpoint: whether its files are sound, and if not what is worst about them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from paraminspect.report import Finding, Headline, Report, TensorRows
from paraminspect.rules.rule import SEVERITIES
from paraminspect.text.escape import code, spell
from paraminspect.text.numbers import plural

_VERBS: Final = ("is", "has", "holds", "says", "names", "was", "drags", "stands", "lies", "needs", "cannot", "takes")
"""How a message begins that goes on from the name of what it is about."""


def with_headline(report: Report) -> Report:
    """Return the report of a checkpoint with its first line, as plain text."""
    found = headline_of_files(report)
    return replace(report, headline=replace(found, text=spell(found.text, lambda _, marked: marked)))


def headline_of_files(report: Report) -> Headline:
    """Return the first line: of several findings the worst, and of those as bad the first."""
    ranked = sorted(report.findings, key=lambda one: SEVERITIES.index(one.severity))
    if not ranked:
        return Headline("fine", "none", f"no problem found in {_looked_at(report)}")
    worst = ranked[0]
    alike = sum(one.rule == worst.rule and one.severity == worst.severity for one in ranked)
    others = len(ranked) - alike
    more = f"; {alike - 1:,} more like it" if alike > 1 else ""
    return Headline(worst.severity, worst.rule, f"{place_and_message(worst, report)}{more}", worst.hint, others)


def place_and_message(found: Finding, report: Report) -> str:
    """Return a finding as a sentence: what it is about, and what is wrong with it."""
    path = report.source.path or ""
    where = report.source.name if found.where == path else found.where
    goes_on = found.message.partition(" ")[0] in _VERBS
    return f"{code(where)}{'' if goes_on else ':'} {code(found.message)}"


def _looked_at(report: Report) -> str:
    """Say what was looked at: the headers alone, or the values too."""
    rows = report.parameters
    if report.command == "share":
        return "what is shared"
    if not isinstance(rows, TensorRows) or not rows.values:
        return "what the headers say; no values were read"
    return f"headers and values of {plural(len(rows), 'tensor')}"
