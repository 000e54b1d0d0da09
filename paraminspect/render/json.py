"""The JSON report: one object, strict, keys in a fixed order, a final newline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from paraminspect.render.view import View
from paraminspect.report import Report


def render(report: Report, view: View) -> Iterator[str]:
    """Yield the report as JSON."""
    yield dumps(report.to_dict())


def dumps(value: Any) -> str:
    """Return strict JSON in ASCII with a final newline; a non-finite number is an error, never ``NaN``."""
    return json.dumps(value, allow_nan=False, indent=2) + "\n"
