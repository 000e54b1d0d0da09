"""Which parameters a gradient reached, and whether the uses that were seen add up to it, in words."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.page.parts import Line
from paraminspect.page.several import by_severity
from paraminspect.report import Report
from paraminspect.text.escape import code, word
from paraminspect.text.numbers import plural, some_of


def coverage(report: Report) -> Iterator[Line]:
    """Yield how many gradients are fine, after the ones that are not, by name; nothing where no row could have one."""
    names: dict[str, list[str]] = {}
    for row in report.parameters:
        if row.gradient:
            names.setdefault(row.gradient.status, []).append(code(row.name))
    if not names:
        return
    total = plural(sum(map(len, names.values())), "tensor")
    if set(names) == {"not-run"}:
        yield "gradient", _not_run(report)
    elif len(names) == 1:
        yield "gradient", f"{word(*names)} in {total}"
    else:
        fine = names.pop("ok", [])
        parts = [f"{word(status)}: {some_of(names[status])}" for status in by_severity(names)]
        yield "gradient", "; ".join([*parts, f"ok in {len(fine):,} of {total}"])


def _not_run(report: Report) -> str:
    forward = report.forward
    if forward is None:
        return "not run: no forward"
    if forward.error:
        return f"not run: the {word(forward.error.phase)} failed"
    return "None for every parameter: the forward ran, the backward has not"


def not_attributed(report: Report) -> Iterator[Line]:
    """Yield a line that names the gradients which the uses that were seen do not add up to."""
    found = [verdict for verdict in report.verdicts if verdict.about == "ledger"]
    names = [code(verdict.where or "") for verdict in found if verdict.verdict == "not attributed"]
    if names:
        fine = len(found) - len(names)
        rest = f"; it is in {fine:,} of {plural(len(found), 'tensor')}" if fine else ""
        yield "ledger", f"the gradient is not the sum of the uses that were seen: {some_of(names)}{rest}"


def ledger(report: Report) -> Iterator[Line]:
    """Yield a line on whether every gradient is the sum of its uses, or which are not."""
    yield from not_attributed(report)
    found = [verdict for verdict in report.verdicts if verdict.about == "ledger"]
    if found and all(verdict.verdict == "reconciles" for verdict in found):
        yield "ledger", f"every gradient is the sum of its uses, in {plural(len(found), 'tensor')}"
