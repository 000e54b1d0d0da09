"""`paraminspect show`."""

from __future__ import annotations

from typing import Annotated

import typer

from paraminspect.cli import session
from paraminspect.cli.options import Call, NoForward, Notes, Output, Passes, Rows, Rules, Setting, Source, Values


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
    no_forward: NoForward = False,
    before_backward: Annotated[
        bool,
        typer.Option(
            "--before-backward", help="Stop after the forward: every grad is still None.", rich_help_panel="Input"
        ),
    ] = False,
) -> int:
    """Show parameters, values, one forward and backward, gradients and sharing: the whole picture."""
    backward = not (no_forward or before_backward)
    setup = session.prepare(source, call, rules, setting, notes, passes, backward)
    subject = setup.subject()
    from paraminspect.experiments.show import show as experiment

    asked = {"forward": not no_forward, "backward": not before_backward, "recognise": True}
    request = session.request("show", rows, values=values, **asked)
    return session.finish(experiment(subject, request, setup.rules), rows, printing, notes, values)
