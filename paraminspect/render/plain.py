"""Plain text: the table without rules, pictures, folding, colour or anything but ASCII, complete at any width."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from paraminspect.render import table
from paraminspect.report import Report
from paraminspect.text.view import ASCII, View


def render(report: Report, view: View) -> Iterator[str]:
    """Yield what the table says, bare."""
    yield from table.render(report, bare(view))


def bare(view: View) -> View:
    """Return the view in which a table is plain."""
    return replace(view, width=None, colour=False, glyphs=ASCII, decoration=False, fold=False)
