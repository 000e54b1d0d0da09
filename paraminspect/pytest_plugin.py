"""A fixture for pytest, which finds it by itself where the package is installed: a model that is wrong fails its test.

pytest imports this file at every start: torch is imported when the fixture is called, not before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from paraminspect.report import Finding, Report

Check = Callable[..., "Report"]


@pytest.fixture
def paraminspect_check() -> Check:
    """Return the function that checks a model in hand: ``paraminspect_check(model, inputs)``."""
    return fail_where_found


def fail_where_found(
    model: Any, inputs: Any = None, *, fail_on: Literal["error", "warning", "note"] = "warning", **options: Any
) -> Report:
    """Fail the test where the rules find something that is at least as bad as `fail_on`, or nothing could be run.

    The other arguments are those of `paraminspect.check`: `select`, `ignore`, `loss`, …. Returns its Report.
    """
    __tracebackhide__ = True
    from paraminspect.api import check
    from paraminspect.rules.rule import is_as_bad

    report = check(model, inputs, **options)
    found = [finding for finding in report.findings if is_as_bad(finding.severity, fail_on)]
    lines = [line for finding in found for line in _lines(finding)]
    lines += [f"error: {error.message}" for error in report.errors]
    if report.forward is None and options.get("forward", True):
        lines.append("error: nothing was run: no input is known that the forward takes; give it one as `inputs`")
    if lines:
        name = report.model.type if report.model else report.source.name
        pytest.fail("\n".join([f"paraminspect check of {name}", *lines]), pytrace=False)
    return report


def _lines(finding: Finding) -> list[str]:
    hint = [f"      try: {finding.hint}"] if finding.hint else []
    return [f"{finding.rule} {finding.severity}: {finding.message}", *hint]
