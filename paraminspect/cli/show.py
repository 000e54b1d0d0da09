"""`paraminspect show`."""

from __future__ import annotations

from typing import Annotated

import typer

from paraminspect import output
from paraminspect.cli import session
from paraminspect.cli.checkpoint_source import is_checkpoint, show_checkpoint
from paraminspect.cli.options import (
    Call,
    Gates,
    NoForward,
    Notes,
    Output,
    Passes,
    Rows,
    Rules,
    Setting,
    Source,
    Stats,
    Values,
    check_seeds,
)
from paraminspect.errors import UserError


def show(
    source: Source,
    call: Call,
    rows: Rows,
    setting: Setting,
    passes: Passes,
    rules: Rules,
    printing: Output,
    notes: Notes,
    values: Values = False,
    gates: Gates = False,
    no_forward: NoForward = False,
    before_backward: Annotated[
        bool,
        typer.Option(
            "--before-backward", help="Stop after the forward: every grad is still None.", rich_help_panel="Input"
        ),
    ] = False,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds",
            metavar="K",
            help="Run from K seeds on end: which gradient is unused in how many of them.",
            rich_help_panel="Input",
        ),
    ] = 1,
    buffers: Annotated[
        bool,
        typer.Option("--buffers", help="Print every buffer, not one line a kind of them.", rich_help_panel="Rows"),
    ] = False,
    whole_repr: Annotated[
        bool,
        typer.Option(
            "--repr", help="Print the module's repr also where it is longer than the table.", rich_help_panel="Output"
        ),
    ] = False,
    stats: Stats = False,
) -> int:
    """Show parameters, values, one forward and backward, gradients and sharing: the whole picture."""
    if is_checkpoint(source):
        return show_checkpoint(source, (call, setting, passes, rules), rows, printing, notes, stats)
    check_seeds(seeds)
    backward = not (no_forward or before_backward)
    if seeds > 1 and not backward:
        option = "--no-forward" if no_forward else "--before-backward"
        message = f"not together with {option}: the statuses of gradients are what differs from seed to seed"
        raise UserError(message, where="--seeds", hint="keep one of them", code="bad-option")
    setup = session.prepare(source, call, rules, setting, notes, passes, backward)
    subject = setup.subject()
    from paraminspect.experiments.show import show as experiment

    asked = {"forward": not no_forward, "backward": not before_backward, "recognise": True}
    request = session.request("show", rows, values=values, gates=gates, **asked)
    with output.progress(seeds, "seeds", wanted=seeds > 1 and session.shows_progress(printing, notes)) as advance:
        report = experiment(subject, request, setup.rules, setup.subject, seeds, advance)
    return session.finish(report, rows, printing, notes, values, buffers=buffers, whole_repr=whole_repr)
