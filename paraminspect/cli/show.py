"""`paraminspect show`."""

from __future__ import annotations

from typing import Annotated

import typer

from paraminspect.cli import session
from paraminspect.cli.options import Notes, Output, Passes, Rows, Rules, Setting, Source, Values


def show(
    source: Source,
    rows: Rows,
    setting: Setting,
    passes: Passes,
    rules: Rules,
    printing: Output,
    notes: Notes,
    values: Values = False,
    no_forward: Annotated[bool, typer.Option("--no-forward", help="Build and measure, run nothing.")] = False,
    before_backward: Annotated[
        bool, typer.Option("--before-backward", help="Stop after the forward: every grad is still None.")
    ] = False,
) -> int:
    """Show parameters, values, one forward and backward, gradients and sharing: the whole picture."""
    prepared = session.prepare(source, rules, setting, notes, passes, not (no_forward or before_backward))
    from paraminspect.experiment.inspect import inspect
    from paraminspect.experiment.run import Request

    globs = tuple(rows.params or ())
    request = Request("show", globs, rows.layer, values, forward=not no_forward, backward=not before_backward)
    report = inspect(prepared.subject(), request, prepared.rules)
    return session.finish(report, printing, notes, values)
