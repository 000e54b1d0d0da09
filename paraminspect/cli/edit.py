"""`paraminspect edit`."""

from __future__ import annotations

from typing import Annotated

import typer

from paraminspect.cli import session
from paraminspect.cli.options import Call, Notes, Output, Passes, Rows, Rules, Setting, Source, Values
from paraminspect.errors import UserError


def edit(
    source: Source,
    call: Call,
    rows: Rows,
    setting: Setting,
    passes: Passes,
    rules: Rules,
    printing: Output,
    notes: Notes,
    values: Values = False,
    add: Annotated[
        float | None, typer.Option("--add", metavar="V", help="Add V to every element.", rich_help_panel="Change")
    ] = None,
    mul: Annotated[
        float | None, typer.Option("--mul", metavar="V", help="Multiply every element by V.", rich_help_panel="Change")
    ] = None,
    fill: Annotated[
        float | None, typer.Option("--fill", metavar="V", help="Set every element to V.", rich_help_panel="Change")
    ] = None,
) -> int:
    """Change values in place, after the backward, and prove that gradients and graph are untouched."""
    given = {name: value for name, value in (("add", add), ("mul", mul), ("fill", fill)) if value is not None}
    if len(given) != 1:
        message = f"one of --add, --mul and --fill is needed, got {len(given)}"
        hint = "for example: edit --params '*.bias' --add 1"
        raise UserError(message, where="edit", hint=hint, code="bad-option")
    setup = session.prepare(source, call, rules, setting, notes, passes)
    subject = setup.subject()
    from paraminspect.experiments.edit import edit as experiment

    request = session.request("edit", rows, values=values)
    ((operation, value),) = given.items()
    report = experiment(subject, request, setup.rules, operation, value)
    return session.finish(report, rows, printing, notes, values)
