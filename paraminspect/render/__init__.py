"""Text in every format: a format is a file of its own, imported only when it is chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module

from paraminspect.report import Report
from paraminspect.text.view import View


def render(report: Report, form: str, view: View) -> Iterator[str]:
    """Yield the report in a format: ``table``, ``plain``, ``markdown``, ``html``, ``csv`` or ``json``."""
    renderer: Callable[[Report, View], Iterator[str]] = import_module(f"paraminspect.render.{form}").render
    return renderer(report, view)
