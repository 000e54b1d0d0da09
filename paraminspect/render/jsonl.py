"""JSON Lines: a finding a line, with the source it is from; what could not be checked is a line with a code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from paraminspect.report import Report


def render_findings(reports: Sequence[Report]) -> Iterator[str]:
    """Yield an object a line, in ASCII. `rule` is null for what went wrong, `code` for what a rule found."""
    for report in reports:
        source = report.source.label
        for one in report.findings:
            found = {"rule": one.rule, "severity": one.severity, "where": one.where, "names": one.names}
            yield _line({"source": source, **found, "message": one.message, "hint": one.hint, "code": None})
        for error in report.errors:
            failed = {"rule": None, "severity": "error", "where": error.where, "names": ()}
            yield _line({"source": source, **failed, "message": error.message, "hint": "", "code": error.code})


def _line(value: dict[str, object]) -> str:
    return json.dumps(value, allow_nan=False) + "\n"
