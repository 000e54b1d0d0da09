"""Nothing is quadratic: twice the rows, every one shared and judged, take twice the calls. Calls are counted, not time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from paraminspect.render import render
from paraminspect.report import Report, Sharing, Use, Verdict
from paraminspect.text.escape import View

ROWS = 400  # more than the tables put on a page of their own, and than any cut of a list of names


@pytest.fixture(scope="module")
def grow() -> Callable[[Report, int], Report]:
    """Return a Report of as many rows, named apart, as one of a few rows."""

    def grown(report: Report, rows: int) -> Report:
        first = report.parameters[0]
        names = [(f"layers.{i}.weight", f"tied.{i}.weight") for i in range(rows)]
        return replace(
            report,
            parameters=tuple(replace(first, name=name, aliases=(alias,)) for name, alias in names),
            sharing=tuple(Sharing("same-parameter", both, 12, 48) for both in names),
            uses=tuple(Use(name, name, "linear", i, first.gradient) for name, _ in names for i in range(2)),
            verdicts=tuple(Verdict("scheme", "std off", 1.0, 0.5, 0.1, name, "std") for name, _ in names),
        )

    return grown


def calls(pieces: Iterator[str]) -> int:
    """Return how many calls, of Python functions and of C functions, it takes to draw all the pieces."""
    count = 0

    def note(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        for _ in pieces:
            pass
    finally:
        sys.setprofile(None)
    return count


DRAWN = [
    *(("table", name) for name in ("show", "init", "grad_shared", "share", "edit")),  # every kind of page
    *((form, name) for form in ("plain", "markdown", "html") for name in ("show", "grad_shared")),  # of the same pages
    *((form, "show") for form in ("csv", "json")),  # which know of no page
]


@pytest.mark.parametrize(("form", "name"), DRAWN)
def test_twice_the_rows_take_twice_the_calls(
    form: str, name: str, grow: Callable[[Report, int], Report], sample_named: Callable[[str], Report]
) -> None:
    view = View(width=100, colour=True)
    once, twice = (calls(render(grow(sample_named(name), rows), form, view)) for rows in (ROWS, 2 * ROWS))
    assert twice < 2.2 * once


@pytest.mark.parametrize("view", [View(fold=False), View(depth=1), View(depth=2)], ids=["unfolded", "1 deep", "2 deep"])
def test_so_it_is_with_every_row_and_with_sums(
    view: View, grow: Callable[[Report, int], Report], sample_named: Callable[[str], Report]
) -> None:
    once, twice = (calls(render(grow(sample_named("show"), rows), "table", view)) for rows in (ROWS, 2 * ROWS))
    assert twice < 2.2 * once
