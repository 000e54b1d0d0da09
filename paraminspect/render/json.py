"""The JSON report: one object, strict, keys in a fixed order, a final newline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from paraminspect.render.view import View
from paraminspect.report import Report


def render(report: Report, view: View) -> Iterator[str]:
    """Yield the report as JSON, a line for every key and for every item of a list."""
    yield from pieces(report.to_dict())


def pieces(value: dict[str, Any]) -> Iterator[str]:
    """Yield a JSON object in pieces: keys on lines of their own, the items of a list on one line each.

    Strict and in ASCII: a non-finite number is an error, never ``NaN``. Long lists stay fast, and grep finds rows.
    """
    before = "{\n"
    for key, item in value.items():
        yield f"{before}  {_compact(key)}: "
        before = ",\n"
        if isinstance(item, list) and item:
            yield "[\n    " + ",\n    ".join(map(_compact, item)) + "\n  ]"
        else:
            yield _compact(item)
    yield "\n}\n"


_compact = json.JSONEncoder(allow_nan=False).encode


def dumps(value: Any) -> str:
    """Return strict JSON in ASCII, indented all the way, with a final newline."""
    return json.dumps(value, allow_nan=False, indent=2) + "\n"
