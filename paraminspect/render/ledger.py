"""Do the uses of a parameter add up to its gradient? In words."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from paraminspect.report import Report
from paraminspect.text.numbers import plural, some_of


def not_attributed(report: Report, shown: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Yield a line that names the gradients which the uses that were seen do not add up to."""
    found = [verdict for verdict in report.verdicts if verdict.about == "ledger"]
    names = [shown(verdict.where or "") for verdict in found if verdict.verdict == "not attributed"]
    if names:
        fine = len(found) - len(names)
        rest = f"; it is in {fine:,} of {plural(len(found), 'tensor')}" if fine else ""
        yield "ledger", f"the gradient is not the sum of the uses that were seen: {some_of(names)}{rest}"


def ledger(report: Report, shown: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Yield a line on whether every gradient is the sum of its uses, or which are not."""
    yield from not_attributed(report, shown)
    found = [verdict for verdict in report.verdicts if verdict.about == "ledger"]
    if found and all(verdict.verdict == "reconciles" for verdict in found):
        yield "ledger", f"every gradient is the sum of its uses, in {plural(len(found), 'tensor')}"
