"""The JSON Schema of the report, generated from its dataclasses."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from paraminspect.report import SCHEMA, SCHEMA_OF_SEVERAL, VERSION, Report


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) that every ``--json`` report satisfies.

    Every field is always there, so all are required; new ones may be added within a version.
    """
    schema = TypeAdapter(Report).json_schema()
    for part in (schema, *schema.get("$defs", {}).values()):
        part["required"] = list(part["properties"])
        for field in part["properties"].values():
            field.pop("default", None)
    envelope = {"schema": {"const": SCHEMA}, "version": {"const": VERSION}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "paraminspect report, version 1",
        "properties": {**envelope, **schema["properties"]},
        "required": [*envelope, *schema["required"]],
    }


def reports_schema() -> dict[str, Any]:
    """Return the JSON Schema of the document that ``check --json`` prints of several sources."""
    report = report_schema()
    parts = report.pop("$defs")
    dialect = report.pop("$schema")
    return {
        "$schema": dialect,
        "title": "paraminspect reports, version 1",
        "type": "object",
        "properties": {
            "schema": {"const": SCHEMA_OF_SEVERAL},
            "version": {"const": VERSION},
            "reports": {"type": "array", "items": {"$ref": "#/$defs/Report"}},
        },
        "required": ["schema", "version", "reports"],
        "$defs": {**parts, "Report": report},
    }
