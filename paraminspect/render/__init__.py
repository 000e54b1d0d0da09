"""Text in every format: a format is a file of its own, imported only when it is chosen.

Those that people read draw the page of a command, each in a view of its own; those that programs read take the Report.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from paraminspect.report import Report
from paraminspect.text.escape import ASCII, View

if TYPE_CHECKING:
    from paraminspect.page.parts import Page

_PAPER = {"width": None, "colour": False, "on_paper": True}
_HUMAN: dict[str, dict[str, Any]] = {
    "table": {},
    "plain": {
        "width": None,
        "colour": False,
        "glyphs": ASCII,
        "decoration": False,
        "fold": False,
        "whole_repr": True,
    },
    "markdown": {**_PAPER, "decoration": False, "fold": False},
    "html": _PAPER,
}
"""What each format makes of a view. Plain text is a table without rules, pictures, folding, colour, and in ASCII."""


_LINES = ("jsonl", "github")
"""The formats that programs read line by line."""


def view_of(form: str, view: View) -> View:
    """Return the view in which a format that people read shows a page."""
    return replace(view, **_HUMAN[form])


def render(report: Report, form: str, view: View) -> Iterator[str]:
    """Yield the report in a format: ``table``, ``plain``, ``markdown``, ``html``, ``csv`` or ``json``."""
    if form in _HUMAN:
        from paraminspect.page import page

        own = view_of(form, view)
        found = page(report, own)
        yield from _format("table" if form == "plain" else form).draw(found, own)
    else:
        yield from _format(form).render(report)


def is_streamed(form: str) -> bool:
    """Tell whether several reports in a format follow each other; else they are one document."""
    return form in _HUMAN or form in _LINES


def has_pages(form: str) -> bool:
    """Tell whether a format is for people."""
    return form in _HUMAN


def render_reports(reports: Sequence[Report], form: str, view: View) -> Iterator[str]:
    """Yield what `check` found in several sources: in a format of `render`, or one that is for findings alone."""
    if form in _HUMAN:
        for report in reports:
            yield from render(report, form, view)
    else:
        yield from _format(form).render_findings(reports)


def draw_page(found: Page, form: str, view: View) -> Iterator[str]:
    """Yield a page that stands below reports, in a format for people."""
    yield from _format("table" if form == "plain" else form).draw(found, view_of(form, view))


def _format(name: str) -> Any:
    return import_module(f"paraminspect.render.{name}")
