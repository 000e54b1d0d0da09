"""SARIF 2.1.0, which code scanning of GitHub, GitLab and editors read: one run, a result for each finding.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/. A parameter has no line in a file: a result names the file, and the
parameters as logical locations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from paraminspect import __version__
from paraminspect.render.json import dumps
from paraminspect.report import Failure, Finding, Report, Source
from paraminspect.rules.catalogue import RULES

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_MOST_NAMES = 100
"""Names of one result that are written: further ones are in its message as a count."""


def render_findings(reports: Sequence[Report]) -> Iterator[str]:
    """Yield the log of one run over all sources; what could not be checked makes it an unsuccessful one."""
    rules = sorted({finding.rule for report in reports for finding in report.findings})
    driver = {"name": "paraminspect", "semanticVersion": _semantic(__version__), "rules": list(map(_rule, rules))}
    failed = [_notification(error, report.source) for report in reports for error in report.errors]
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": not failed, "toolExecutionNotifications": failed}],
        "results": [
            _result(finding, report.source, rules.index(finding.rule))
            for report in reports
            for finding in report.findings
        ],
    }
    yield dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [_legal(run)]})


def _legal(value: Any) -> Any:
    """Spell out halves of surrogate pairs, which strict readers of JSON refuse."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {key: _legal(item) for key, item in value.items()}
    return list(map(_legal, value)) if isinstance(value, (list, tuple)) else value


def _semantic(version: str) -> str:
    """Return the version by the grammar of semver.org, which has three numbers and no ``.dev0``."""
    numbers = [part for part in version.split("+")[0].split(".") if part.isdigit()]
    return ".".join([*numbers, "0", "0"][:3])


def _rule(rule: str) -> dict[str, Any]:
    known = RULES.get(rule)
    if known is None:
        return {"id": rule}
    return {
        "id": rule,
        "name": known.name,
        "shortDescription": {"text": known.finds},
        "fullDescription": {"text": f"{known.finds} {known.why}"},
        "help": {"text": known.remedy},
        "defaultConfiguration": {"level": known.severity},
    }


def _result(one: Finding, source: Source, index: int) -> dict[str, Any]:
    names = one.names or tuple(filter(None, [one.where]))
    message = f"{source.label}: {one.message}" + (f"; try: {one.hint}" if one.hint else "")
    known = hashlib.sha256("\n".join((source.label, one.rule, *names)).encode("utf-8", "surrogatepass")).hexdigest()
    return {
        "ruleId": one.rule,
        "ruleIndex": index,
        "level": one.severity,
        "message": {"text": message},
        "locations": [_location(source, names)],
        "partialFingerprints": {"ruleAndNames/v1": known},
    }


def _notification(error: Failure, source: Source) -> dict[str, Any]:
    message = ": ".join(filter(None, (error.where, error.message)))
    locations = [_location(source, ())]
    return {"descriptor": {"id": error.code}, "level": "error", "message": {"text": message}, "locations": locations}


def _location(source: Source, names: Sequence[str]) -> dict[str, Any]:
    """Return the file, where there is one, and what in the model is meant."""
    found: dict[str, Any] = {}
    if source.path:
        found["physicalLocation"] = {"artifactLocation": {"uri": _uri(source.path)}, "region": {"startLine": 1}}
    shown = names[:_MOST_NAMES] or (source.label,)
    found["logicalLocations"] = [
        {"fullyQualifiedName": name, "kind": "member" if names else "module"} for name in shown
    ]
    return found


def _uri(path: str) -> str:
    if "://" in path:
        return quote(path, safe=":/?#[]@!$&'()*+,;=%~")
    return Path(path).as_uri() if Path(path).is_absolute() else quote(path.replace("\\", "/"))
