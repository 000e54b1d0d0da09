"""Which parameters a gradient reached, in words; what is wrong comes first."""

from __future__ import annotations

from collections.abc import Callable, Collection

from paraminspect.report import Report
from paraminspect.text.numbers import plural, some_of

_WORST_FIRST = ("nonfinite", "unused", "disconnected", "zero", "frozen", "unknown", "not-run", "ok")


def by_severity(statuses: Collection[str]) -> list[str]:
    """Return the statuses, the worst first and those nobody knows before ``ok``."""
    ranks = {status: rank for rank, status in enumerate(_WORST_FIRST)}
    return sorted(statuses, key=lambda status: (ranks.get(status, len(ranks) - 1.5), status))


def worst(statuses: Collection[str]) -> str:
    """Return the worst of some statuses."""
    return by_severity(statuses)[0]


def coverage(report: Report, shown: Callable[[str], str]) -> str:
    """Say how many gradients are fine; name the ones that are not. Nothing where no row could have one."""
    names: dict[str, list[str]] = {}
    for row in report.parameters:
        if row.gradient:
            names.setdefault(row.gradient.status, []).append(row.name)
    total = plural(sum(map(len, names.values())), "tensor")
    if not names:
        return ""
    if set(names) == {"not-run"}:
        return _not_run(report, shown)
    if len(names) == 1:
        return f"{shown(*names)} in {total}"
    fine = names.pop("ok", [])
    parts = [f"{shown(status)}: {some_of(list(map(shown, names[status])))}" for status in by_severity(names)]
    return "; ".join([*parts, f"ok in {len(fine):,} of {total}"])


def _not_run(report: Report, shown: Callable[[str], str]) -> str:
    forward = report.forward
    if forward is None:
        return "not run: no forward"
    if forward.error:
        return f"not run: the {shown(forward.error.phase)} failed"
    return "None for every parameter: the forward ran, the backward has not"
