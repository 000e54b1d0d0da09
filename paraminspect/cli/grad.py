"""`paraminspect grad`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from paraminspect import output
from paraminspect.cli import picture, session
from paraminspect.cli.options import (
    Call,
    Format,
    Notes,
    Output,
    Passes,
    Rows,
    Rules,
    Setting,
    Source,
    Values,
    check_seeds,
)
from paraminspect.cli.picture import Plot


@dataclass(frozen=True)
class Depth:
    """How the signal through depth is followed, and drawn."""

    seeds: Annotated[
        int, typer.Option("--seeds", metavar="K", help="Follow the signal from K seeds on end, and take the mean.")
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
) -> int:
    """Show what gradient reaches every parameter, use by use, and the signal through every layer."""
    path = picture.chosen(depth.plot)
    prepared = session.prepare(source, call, rules, setting, notes, passes)
    from paraminspect.experiments.inspect import inspect
    from paraminspect.experiments.run import State
    from paraminspect.experiments.signal import with_signal
    from paraminspect.report import Report

    quiet = notes.quiet or printing.json or printing.format is Format.json
    with output.progress(depth.seeds, "seeds", wanted=not quiet) as advance:

        def follow(report: Report, state: State) -> Report:
            histograms = depth.histograms
            return with_signal(report, state, prepared.rules, depth.seeds, histograms, prepared.subject, advance)

        request = session.request("grad", rows, values=values, all_uses=True)
        report = inspect(prepared.subject(), request, prepared.rules, follow)
    report = picture.drawn(report, path, depth.histograms)
    return session.finish(report, rows, printing, notes, values, depth.histograms)
