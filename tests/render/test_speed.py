"""Nothing is quadratic: twenty thousand rows, every one shared and judged, take a second or so, not minutes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module

import pytest

from paraminspect.render.view import View
from paraminspect.report import Report, Sharing, Use, Verdict

ROWS = 20_000
SECONDS = 10.0  # of this process; what is quadratic takes ten times as long


@pytest.fixture(scope="module")
def grow() -> Callable[[Report], Report]:
    """Return a Report of as many rows, named apart, as one of a few rows."""

    def grown(report: Report) -> Report:
        first = report.parameters[0]
        names = [(f"layers.{i}.weight", f"tied.{i}.weight") for i in range(ROWS)]
        return replace(
            report,
            parameters=tuple(replace(first, name=name, aliases=(alias,)) for name, alias in names),
            sharing=tuple(Sharing("same-parameter", both, 12, 48) for both in names),
            uses=tuple(Use(name, name, "linear", i, first.gradient) for name, _ in names for i in range(2)),
            verdicts=tuple(Verdict("scheme", "std off", 1.0, 0.5, 0.1, name) for name, _ in names),
        )

    return grown


@pytest.mark.parametrize("form", ["table", "plain", "csv", "json", "markdown"])
@pytest.mark.parametrize("name", ["show", "init", "share"])
def test_many_rows_take_no_time(
    form: str, name: str, grow: Callable[[Report], Report], sample_named: Callable[[str], Report]
) -> None:
    report = grow(sample_named(name))
    render = import_module(f"paraminspect.render.{form}").render
    start = time.process_time()
    pieces = sum(1 for _ in render(report, View(width=100, colour=True)))
    assert time.process_time() - start < SECONDS
    assert pieces > 10, "the text comes in pieces"
