"""JSON Schemas (2020-12) of what commands print beside the report: rules, schemes, theory, findings, a baseline.

All keys are always there unless it is said otherwise; within a version new ones may be added.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_TEXT: Final = {"type": "string"}
_TEXTS: Final = {"type": "array", "items": _TEXT}
_TRUTH: Final = {"type": "boolean"}
_NUMBER: Final = {"type": "number"}
_SEVERITY: Final = {"enum": ["error", "warning", "note"]}


def _or_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": [dict(schema), {"type": "null"}]}


_MAYBE: Final = _or_null(_NUMBER)
_FIGURES: Final = {"type": "object", "additionalProperties": _MAYBE}
_COURSE: Final = _or_null({"type": "array", "items": _MAYBE})


def _object(fields: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the schema of an object that has all of `fields`, and perhaps some of `optional`."""
    return {"type": "object", "properties": {**fields, **(optional or {})}, "required": list(fields)}


def _list(item: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": dict(item)}


def _document(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    envelope = {"schema": {"const": f"paraminspect.{name}"}, "version": {"const": 1}}
    title = f"paraminspect {name}, version 1"
    return {"$schema": _DIALECT, "title": title, **_object({**envelope, **fields})}


_RULE: Final = _object(
    {
        **dict.fromkeys(("id", "name", "finds", "why", "example", "remedy", "family"), _TEXT),
        "severity": _SEVERITY,
        "threshold": _or_null(
            _object({"default": _NUMBER, "meaning": _TEXT, "least": _NUMBER, "most": _MAYBE}),
        ),
        "on": _TRUTH,
    }
)
_SCHEME: Final = _object(
    {
        **dict.fromkeys(("name", "family", "summary", "formula", "source"), _TEXT),
        "uses_fans": _TRUTH,
        "min_ndim": {"type": "integer"},
        "max_ndim": _or_null({"type": "integer"}),
        "arguments": _list(
            _object({"name": _TEXT, "type": _TEXT, "required": _TRUTH, "default": {}, "choices": _TEXTS, "doc": _TEXT})
        ),
    },
    {
        "notes": _TEXTS,
        "gains": {"type": "array", "items": {"type": "object"}},
        "given": {"type": "object"},
        "shapes": _list(_object({"shape": _list({"type": "integer"}), "mean": _MAYBE, "std": _MAYBE})),
    },
)


_THEORY: Final = {
    "activation": _TEXT,
    "params": {"type": "object", "additionalProperties": {"type": ["number", "string"]}},
    "moments": _FIGURES,
    "gains": _FIGURES,
    "critical": _or_null(_FIGURES),
    **dict.fromkeys(("sigma_w2", "sigma_b2", "q", "chi1", "c", "xi_q", "xi_c", "q0"), _MAYBE),
    "regime": _or_null(_TEXT),
    **dict.fromkeys(("propagate", "cosines", "gradients"), _COURSE),
    "notes": _TEXTS,
}
"""What does not exist, or was not asked for, is null."""
_FINDING: Final = {
    "source": _TEXT,
    "rule": _or_null(_TEXT),
    "severity": _SEVERITY,
    "where": _TEXT,
    "names": _TEXTS,
    "message": _TEXT,
    "hint": _TEXT,
    "code": _or_null(_TEXT),
}
"""A finding has a rule, a source that failed has a code."""

OBJECT_SCHEMAS: Final[Mapping[str, dict[str, Any]]] = {
    "rules": _document("rules", {"rules": _list(_RULE)}),
    "schemes": _document("schemes", {"schemes": _list(_SCHEME)}),
    "theory": _document("theory", _THEORY),
    "finding": {"$schema": _DIALECT, "title": "a line of paraminspect check -f jsonl", **_object(_FINDING)},
    "baseline": _document(
        "baseline",
        {"sources": {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": _TEXTS}}},
    ),
}
"""By the name that ``paraminspect schema`` takes."""
