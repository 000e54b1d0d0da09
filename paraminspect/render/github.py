"""GitHub's workflow commands: a finding is an annotation of the job, ``::error title=PI301::message``.

https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands. What would end a message or a
property is percent-encoded, as ``@actions/core`` does it, so that no name from a file becomes a command of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paraminspect.report import Report
from paraminspect.text.escape import clean

_LEVELS = {"error": "error", "warning": "warning", "note": "notice"}
_MESSAGE = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = {**_MESSAGE, ":": "%3A", ",": "%2C"}


def render_findings(reports: Sequence[Report]) -> Iterator[str]:
    """Yield a command for each finding, and for each source that could not be checked; nothing where all is well."""
    for report in reports:
        file = report.source.path or ""
        label = report.source.label
        for one in report.findings:
            message = f"{label}: {one.message}" + (f"\ntry: {one.hint}" if one.hint else "")
            yield _command(_LEVELS[one.severity], file, f"paraminspect {one.rule}", message)
        for error in report.errors:
            message = ": ".join(filter(None, (label, error.where if error.where != label else "", error.message)))
            yield _command("error", file, "paraminspect", message)


def _command(level: str, file: str, title: str, message: str) -> str:
    named = {"file": file, "title": title} if file and "://" not in file else {"title": title}
    properties = ",".join(f"{key}={_escaped(text, _PROPERTY)}" for key, text in named.items())
    return f"::{level} {properties}::{_escaped(message, _MESSAGE)}\n"


def _escaped(text: str, signs: dict[str, str]) -> str:
    """Encode what has a meaning to GitHub, and spell out what is no text at all."""
    lines = [clean(line, None) for line in text.split("\n")]
    return "".join(signs.get(sign, sign) for sign in "\n".join(lines))
