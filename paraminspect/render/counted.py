"""The totals in words. What is not known before the first forward is never printed as 0."""

from __future__ import annotations

from dataclasses import dataclass

from paraminspect.report import Report
from paraminspect.text.numbers import plural, size


@dataclass(frozen=True)
class Counted:
    """The parts of the line on totals; a part with nothing to say is empty."""

    parameters: str
    bytes: str
    frozen: str
    as_named: str
    unknown: str


def counted(report: Report) -> Counted:
    """Say how many parameters there are, in how many bytes, and of how many tensors that is not known."""
    totals = report.totals
    others = sum(row.numel is None for row in report.parameters if row.kind != "parameter")
    partial = totals.unknown > others
    least = "at least " if partial else ""
    frozen = f"{totals.trainable:,} trainable, {totals.frozen:,} frozen" if totals.frozen else ""
    as_named = f"{least}{totals.as_named:,} counting every name" if totals.as_named != totals.parameters else ""
    unknown = f"{plural(totals.unknown, 'tensor')} of unknown size" if totals.unknown else ""
    if partial and totals.parameters == 0:
        return Counted("an unknown number of parameters", "", "", "", unknown)
    return Counted(
        f"{least}{plural(totals.parameters, 'parameter')}",
        f"{least}{size(totals.bytes)}",
        f"of the known ones {frozen}" if partial and frozen else frozen,
        as_named,
        unknown,
    )
