"""Text in every format: a format is a file of its own, imported only when it is chosen.

Those that people read draw the page of a command, each in a view of its own; those that programs read take the Report.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from typing import Any

from paraminspect.report import Report
from paraminspect.text.escape import ASCII, View

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


def _format(name: str) -> Any:
    return import_module(f"paraminspect.render.{name}")
