"""`paraminspect grad`."""

from __future__ import annotations

from typing import Annotated, ClassVar

import typer

from paraminspect import output
from paraminspect.cli import session
from paraminspect.cli.options import (
    Call,
    Gates,
    Notes,
    Output,
    Passes,
    Plot,
    Rows,
    Rules,
    Setting,
    Source,
    Theory,
    Values,
    check_seeds,
)
from paraminspect.frozen import dataclass


@dataclass(frozen=True)
class Depth:
    """How the signal through depth is followed, and drawn."""

    panel: ClassVar[str] = "Signal"

    seeds: Annotated[
        int, typer.Option("--seeds", metavar="K", help="Run from K seeds on end: the signal's mean, statuses of all.")
    ] = 1
    histograms: Annotated[bool, typer.Option("--histograms", help="Show how each layer's values are spread.")] = False
    plot: Plot = None

    def __post_init__(self) -> None:
        check_seeds(self.seeds)


def grad(
    source: Source,
    call: Call,
    rows: Rows,
    setting: Setting,
    passes: Passes,
    rules: Rules,
    depth: Depth,
    printing: Output,
    notes: Notes,
    values: Values = False,
    gates: Gates = False,
    theory: Theory = False,
) -> int:
    """Show what gradient reaches every parameter, use by use, and the signal through every layer."""
    file = session.picture_file(depth.plot)
    setup = session.prepare(source, call, rules, setting, notes, passes)
    subject = setup.subject()
    from paraminspect.experiments.grad import grad as experiment

    request = session.request("grad", rows, values=values, gates=gates, all_uses=True)
    with output.progress(depth.seeds, "seeds", wanted=session.shows_progress(printing, notes)) as advance:
        report = experiment(subject, request, setup.rules, setup.subject, depth.seeds, depth.histograms, advance)
    report = session.with_picture(report, file, depth.histograms)
    return session.finish(report, rows, printing, notes, values, depth.histograms, theory=theory)
