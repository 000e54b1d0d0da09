"""`paraminspect show`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from paraminspect.cli import session
from paraminspect.cli.options import Experiment, Output, Rows, Rules, Source


def show(
    source: Source,
    rows: Rows,
    experiment: Experiment,
    rules: Rules,
    printing: Output,
    no_forward: Annotated[bool, typer.Option("--no-forward", help="Build and measure, run nothing.")] = False,
    before_backward: Annotated[
        bool, typer.Option("--before-backward", help="Stop after the forward: every grad is still None.")
    ] = False,
) -> int:
    """Show parameters, values, one forward and backward, gradients and sharing: the whole picture."""
    prepared = session.prepare(source, rules, experiment, printing, not (no_forward or before_backward))
    from paraminspect.experiment.assemble import assemble
    from paraminspect.experiment.run import run

    request = session.request("show", prepared, rows)
    request = replace(request, forward=not no_forward, backward=not before_backward)
    report = assemble(run(prepared.spec, prepared.rules, request), request)
    return session.finish(report, printing, rows.values)
