"""`paraminspect init`."""

from __future__ import annotations

from typing import Annotated

import typer

from paraminspect.cli import session
from paraminspect.cli.options import Call, Gates, Inputs, Notes, Output, Passes, Rows, Rules, Setting, Source, Values
from paraminspect.errors import UserError
from paraminspect.files import checked


def init(
    source: Source,
    call: Call,
    rows: Rows,
    setting: Setting,
    rules: Rules,
    printing: Output,
    notes: Notes,
    values: Values = False,
    gates: Gates = False,
    given: Inputs = None,
    save: Annotated[
        str | None,
        typer.Option(
            "--save",
            metavar="FILE",
            help="Write the state_dict to FILE.safetensors, whole or not at all.",
            rich_help_panel="Output",
        ),
    ] = None,
) -> int:
    """Show what an initialiser did: mean and std before and after, with what the scheme should give beside them."""
    file = None if save is None else checked(save, (".safetensors",), "--save")
    setup = session.prepare(source, call, rules, setting, notes, Passes(input=given), backward=False)
    if not setup.rules:
        message = "nothing to apply: no scheme on the command line, no init: in the spec"
        raise UserError(message, where="--scheme", hint="for example: --scheme normal:std=0.01", code="no-scheme")
    subject = setup.subject()
    from paraminspect.experiments.init import init as experiment

    request = session.request("init", rows, values=values, gates=gates, forward=False)
    return session.finish(experiment(subject, request, setup.rules, file), rows, printing, notes, values)
