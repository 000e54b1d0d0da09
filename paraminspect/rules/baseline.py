"""Findings that are known: the rules and names that a source had when the baseline was written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from paraminspect.errors import UserError
from paraminspect.report import Finding, Report

SCHEMA: Final = "paraminspect.baseline"
VERSION: Final = 1

Known = Mapping[str, frozenset[str]]
"""The names that each rule has found; the empty name stands for the model as a whole."""


def baseline_object(found: Iterable[tuple[str, Report]]) -> dict[str, Any]:
    """Return what the sources, each as it is typed, have now: rules, and the names they are about."""
    sources: dict[str, dict[str, list[str]]] = {}
    for source, report in found:
        known: dict[str, dict[str, None]] = {}
        for finding in report.findings:
            known.setdefault(finding.rule, {}).update(dict.fromkeys(_names(finding)))
        sources[source] = {rule: list(known[rule]) for rule in sorted(known)}
    return {"schema": SCHEMA, "version": VERSION, "sources": sources}


def _names(finding: Finding) -> tuple[str, ...]:
    return finding.names or (finding.where,)


def baseline_in(text: str, where: str) -> dict[str, Known]:
    """Return what is known of each source. Raises UserError for a text that is no baseline of this version."""
    hint = "check SOURCE --write-baseline FILE writes one"
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        place = f"{where}:{error.lineno}:{error.colno}" if isinstance(error, json.JSONDecodeError) else where
        raise UserError("is no baseline: not valid JSON", where=place, hint=hint, code="bad-baseline") from None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        other = f", but a {found['schema']}" if isinstance(found, dict) and "schema" in found else ""
        raise UserError(f"is no baseline{other}", where=where, hint=hint, code="bad-baseline")
    if found.get("version") != VERSION:
        message = f"is a baseline of version {found.get('version')!r}; this program reads {VERSION}"
        raise UserError(message, where=where, hint=hint, code="bad-baseline")
    try:
        return {
            str(source): {str(rule): frozenset(map(_name, names)) for rule, names in rules.items()}
            for source, rules in found["sources"].items()
        }
    except (KeyError, AttributeError, TypeError) as error:
        message = "is a damaged baseline: sources have rules, and rules lists of names"
        raise UserError(message, where=where, hint=hint, code="bad-baseline") from error


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
