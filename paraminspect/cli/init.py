"""`paraminspect init`."""

from __future__ import annotations

from typing import Annotated

import typer

from paraminspect.cli import session
from paraminspect.cli.options import Call, Inputs, Notes, Output, Passes, Rows, Rules, Setting, Source, Values
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
    given: Inputs = None,
    save: Annotated[
        str | None,
        typer.Option("--save", metavar="FILE", help="Write the state_dict to FILE.safetensors, whole or not at all."),
    ] = None,
) -> int:
    """Show what an initialiser did: mean and std before and after, with what the scheme should give beside them."""
    path = None if save is None else checked(save, (".safetensors",), "--save")
    prepared = session.prepare(source, call, rules, setting, notes, Passes(input=given), backward=False)
    if not prepared.rules:
        message = "nothing to apply: no scheme on the command line, no init: in the spec"
        raise UserError(message, where="--scheme", hint="for example: --scheme normal:std=0.01", code="no-scheme")
    from paraminspect.experiments.inspect import inspect

    request = session.request("init", rows, values=values, forward=False, before=True, digests=True, save=path)
    return session.finish(inspect(prepared.subject(), request, prepared.rules), rows, printing, notes, values)
