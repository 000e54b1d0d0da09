"""`--plot FILE`: the picture of a report, beside what is printed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from paraminspect.errors import UserError
from paraminspect.report import Failure, Report

Plot = Annotated[
    str | None, typer.Option("--plot", metavar="FILE", help="Draw the signal through depth: .png or .svg.")
]


def chosen(plot: str | None) -> Path | None:
    """Return the file to draw, if one can be drawn; raises UserError if not, before anything is run."""
    if plot is None:
        return None
    from paraminspect.plot import check

    check(Path(plot))
    return Path(plot)


def drawn(report: Report, picture: Path | None, histograms: bool = False) -> Report:
    """Draw the report; what keeps it from being drawn goes with its errors: the rest is printed all the same."""
    if picture is None:
        return report
    from paraminspect.plot import draw

    try:
        draw(report, picture, histograms)
    except UserError as error:
        message = "; ".join(filter(None, (error.message, error.hint)))
        return replace(report, errors=(*report.errors, Failure(error.code, message, error.where)))
    return report
