"""The table a person reads: one file a command, on one layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from paraminspect.render.table.compare import compare
from paraminspect.render.table.edit import edit
from paraminspect.render.table.grad import grad
from paraminspect.render.table.init import init
from paraminspect.render.table.share import share
from paraminspect.render.table.show import show
from paraminspect.report import Report
from paraminspect.text.view import View

_COMMANDS: dict[str, Callable[[Report, View], Iterator[str]]] = {
    "show": show,
    "grad": grad,
    "init": init,
    "share": share,
    "compare": compare,
    "edit": edit,
}


def render(report: Report, view: View) -> Iterator[str]:
    """Yield the picture of the command that made the report."""
    yield from _COMMANDS[report.command](report, view)
