"""`paraminspect init`."""

from __future__ import annotations

import os
from pathlib import Path
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
    force: Annotated[
        bool, typer.Option("--force", help="Let --save overwrite a file.", rich_help_panel="Output")
    ] = False,
) -> int:
    """Show what an initialiser did: mean and std before and after, with what the scheme should give beside them."""
    file = None if save is None else _place(save, force, setting.weights)
    setup = session.prepare(source, call, rules, setting, notes, Passes(input=given), backward=False)
    if not setup.rules:
        message = "nothing to apply: no scheme on the command line, no init: in the spec"
        raise UserError(message, where="--scheme", hint="for example: --scheme normal:std=0.01", code="no-scheme")
    subject = setup.subject()
    from paraminspect.experiments.init import init as experiment

    request = session.request("init", rows, values=values, gates=gates, forward=False)
    return session.finish(experiment(subject, request, setup.rules, file), rows, printing, notes, values)


def _place(save: str, force: bool, weights: str | None) -> Path:
    """Return where to write; what is read from is not written over, and what is there only if that is wanted."""
    file = checked(save, (".safetensors",), "--save", overwrite=force)
    if weights is not None and os.path.exists(weights) and file.exists() and os.path.samefile(weights, file):  # noqa: PTH110, PTH121  # a URL too
        message = f"{save!r} is the file that --weights reads"
        raise UserError(message, where="--save", hint="write another, and compare: diff", code="bad-option")
    return file
