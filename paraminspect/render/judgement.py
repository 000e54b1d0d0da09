"""What the verdicts on a parameter's values come to, in a word or two, in every format that people read."""

from __future__ import annotations

from collections.abc import Callable

from paraminspect.render.several import Several, members_of
from paraminspect.report import Parameter, Report, Verdict

BOUNDS = "bounds"


def is_off(verdict: Verdict) -> bool:
    """Tell whether a verdict found something wrong."""
    return verdict.verdict == f"{verdict.figure} off"


def judgement(report: Report) -> Callable[[Parameter], str]:
    """Return what joins the verdicts on a row's mean, std and bounds into one, a bad one winning.

    A figure that is fine alone is named: a few elements say nothing about the std.
    """
    fine: dict[str | None, list[str]] = {}
    off: dict[str | None, list[str]] = {}
    for verdict in report.verdicts:
        if verdict.about == "scheme":
            (off if is_off(verdict) else fine).setdefault(verdict.where, []).append(verdict.figure or "")

    def told(row: Parameter) -> str:
        strays = [member.name for member in members_of(row) if member.name in off]
        if strays and isinstance(row, Several) and row.tensors:
            return f"{len(strays):,} off"
        if strays:
            return f"{' and '.join(off[strays[0]])} off"
        fit = {figure for member in members_of(row) for figure in fine.get(member.name, [])}
        named = fit - {BOUNDS}
        return f"{named.pop()} ok" if len(named) == 1 else "ok" if fit else ""

    return told
