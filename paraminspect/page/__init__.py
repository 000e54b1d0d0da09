"""A Report as a Page: one file a command, shared by every format that people read."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from paraminspect.page.parts import Page
from paraminspect.report import Report
from paraminspect.text.escape import View


def page(report: Report, view: View) -> Page:
    """Return the page of the command that made the report: show, init, grad, share, compare or edit."""
    if report.checkpoint is not None and report.command != "check":
        from paraminspect.page.checkpoint_table import checkpoint_page

        return checkpoint_page(report, view)
    command = report.command
    make: Callable[[Report, View], Page] = getattr(import_module(f"paraminspect.page.{command}"), command)
    return make(report, view)
