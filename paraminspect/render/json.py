"""JSON: one object, strict, keys in a fixed order, a final newline."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

from paraminspect.report import SCHEMA, SCHEMA_OF_SEVERAL, VERSION, Report, TensorRows

_BATCH = 500


def render(report: Report) -> Iterator[str]:
    """Yield the text of ``report.to_dict()``, encoded from the Report itself, without a copy of it in dicts."""
    yield from pieces({"schema": SCHEMA, "version": VERSION, **vars(report)})


def render_findings(reports: Sequence[Report]) -> Iterator[str]:
    """Yield the report of one source as it is, those of several as one document, each on a line."""
    if len(reports) == 1:
        yield from render(reports[0])
        return
    every = [{"schema": SCHEMA, "version": VERSION, **vars(report)} for report in reports]
    yield from pieces({"schema": SCHEMA_OF_SEVERAL, "version": VERSION, "reports": every})


def pieces(value: Mapping[str, Any]) -> Iterator[str]:
    """Yield a JSON object in pieces: keys on lines of their own, the items of a list on one line each.

    Strict and in ASCII: null for a non-finite number, never ``NaN``. Long lists stay fast, and grep finds rows.
    """
    before = "{\n"
    for key, item in value.items():
        yield f"{before}  {_encode(key)}: "
        before = ",\n"
        if isinstance(item, (list, tuple, TensorRows)) and len(item):
            yield from _lines(item)
        else:
            yield _encode(item)
    yield "\n}\n"


def _lines(items: Sequence[Any]) -> Iterator[str]:
    for start in range(0, len(items), _BATCH):
        yield "[\n    " if start == 0 else ",\n    "
        yield ",\n    ".join(map(_encode, items[start : start + _BATCH]))
    yield "\n  ]"


def _fields(value: Any) -> Any:
    return list(value) if type(value) is TensorRows else vars(value)


# The parts of a Report are encoded from their fields, in the order they are declared.
_compact = json.JSONEncoder(allow_nan=False, check_circular=False, default=_fields).encode


def _encode(value: Any) -> str:
    try:
        return _compact(value)
    except ValueError:
        return _compact(_finite(value))


def _finite(value: Any) -> Any:
    """Put None in the place of every number that JSON has no sign for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return list(map(_finite, value))
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return _finite(_fields(value)) if is_dataclass(value) or isinstance(value, TensorRows) else value


def dumps(value: Any) -> str:
    """Return strict JSON in ASCII, indented all the way, with a final newline."""
    return json.dumps(value, allow_nan=False, indent=2) + "\n"
