"""JSON Schemas (2020-12) of what commands print beside the report: rules, schemes, theory, findings, a baseline.

All keys are always there unless it is said otherwise; within a version new ones may be added.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

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
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **_object({**envelope, **fields}),
    }


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


def rules_schema() -> dict[str, Any]:
    """Return the schema of ``rules --json``."""
    return _document("rules", {"rules": _list(_RULE)})


def schemes_schema() -> dict[str, Any]:
    """Return the schema of ``schemes --json``; of one scheme there is more."""
    return _document("schemes", {"schemes": _list(_SCHEME)})


def theory_schema() -> dict[str, Any]:
    """Return the schema of ``theory ACTIVATION --json``; what does not exist, or was not asked for, is null."""
    keys = ("sigma_w2", "sigma_b2", "q", "chi1", "c", "xi_q", "xi_c", "q0")
    return _document(
        "theory",
        {
            "activation": _TEXT,
            "params": {"type": "object", "additionalProperties": {"type": ["number", "string"]}},
            "moments": _FIGURES,
            "gains": _FIGURES,
            "critical": _or_null(_FIGURES),
            **dict.fromkeys(keys, _MAYBE),
            "regime": _or_null(_TEXT),
            **dict.fromkeys(("propagate", "cosines", "gradients"), _COURSE),
            "notes": _TEXTS,
        },
    )


def finding_schema() -> dict[str, Any]:
    """Return the schema of a line of ``check -f jsonl``: a finding has a rule, a source that failed has a code."""
    fields = {
        "source": _TEXT,
        "rule": _or_null(_TEXT),
        "severity": _SEVERITY,
        "where": _TEXT,
        "names": _TEXTS,
        "message": _TEXT,
        "hint": _TEXT,
        "code": _or_null(_TEXT),
    }
    title = "a line of paraminspect check -f jsonl"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **_object(fields)}


def baseline_schema() -> dict[str, Any]:
    """Return the schema of the file that ``check --write-baseline`` writes: names by rules by sources."""
    names = {"type": "object", "additionalProperties": _TEXTS}
    return _document("baseline", {"sources": {"type": "object", "additionalProperties": names}})
