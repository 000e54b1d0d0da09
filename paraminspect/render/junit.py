"""JUnit XML, as CI servers read it: a source is a suite, a finding a test that failed, one without findings passed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from paraminspect.report import Failure, Finding, Report

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_findings(reports: Sequence[Report]) -> Iterator[str]:
    """Yield one document. A note is no failure but a skipped test, as it is worth knowing and stops nothing."""
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield f"<testsuites {_attributes({'name': 'paraminspect', **_counts(reports)})}>\n"
    for report in reports:
        label = report.source.label
        yield f"  <testsuite {_attributes({'name': label, **_counts([report])})}>\n"
        for finding in report.findings:
            yield from _finding(finding, label)
        for error in report.errors:
            yield from _error(error, label)
        if not (report.findings or report.errors):
            yield f"    <testcase {_attributes({'classname': label, 'name': 'no problem found'})}/>\n"
        yield "  </testsuite>\n"
    yield "</testsuites>\n"


def _counts(reports: Sequence[Report]) -> dict[str, str]:
    severities = [finding.severity for report in reports for finding in report.findings]
    errors = sum(len(report.errors) for report in reports)
    clean = sum(not (report.findings or report.errors) for report in reports)
    skipped = severities.count("note")
    tests, failures = len(severities) + errors + clean, len(severities) - skipped
    return {"tests": str(tests), "failures": str(failures), "errors": str(errors), "skipped": str(skipped)}


def _finding(one: Finding, label: str) -> Iterator[str]:
    yield f"    <testcase {_attributes({'classname': label, 'name': ' '.join(filter(None, (one.rule, one.where)))})}>\n"
    if one.severity == "note":
        yield f"      <skipped {_attributes({'message': one.message})}/>\n"
    else:
        hint = f"try: {one.hint}" if one.hint else ""
        opening = _attributes({"type": f"{one.rule} {one.severity}", "message": one.message})
        yield f"      <failure {opening}>{_text(hint)}</failure>\n"
    yield "    </testcase>\n"


def _error(error: Failure, label: str) -> Iterator[str]:
    yield f"    <testcase {_attributes({'classname': label, 'name': error.where or error.code})}>\n"
    yield f"      <error {_attributes({'type': error.code, 'message': error.message})}/>\n"
    yield "    </testcase>\n"


def _attributes(texts: dict[str, str]) -> str:
    lines = {"\n": "&#10;", "\t": "&#9;", "\r": "&#13;"}
    return " ".join(f"{name}={quoteattr(_legal(text), lines)}" for name, text in texts.items())


def _text(text: str) -> str:
    return escape(_legal(text))


def _legal(text: str) -> str:
    """Spell out the characters that XML has no way to write, such as NUL and half of a surrogate pair."""
    return _NOT_XML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
