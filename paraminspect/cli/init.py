"""`paraminspect init`."""

from __future__ import annotations

from paraminspect.cli import session
from paraminspect.cli.options import Call, Notes, Output, Rows, Rules, Setting, Source, Values
from paraminspect.errors import UserError


def init(
    source: Source,
    call: Call,
    rows: Rows,
    setting: Setting,
    rules: Rules,
    printing: Output,
    notes: Notes,
    values: Values = False,
) -> int:
    """Show what an initialiser did: mean and std before and after, with what the scheme should give beside them."""
    prepared = session.prepare(source, call, rules, setting, notes, backward=False)
    if not prepared.rules:
        message = "nothing to apply: no scheme on the command line, no init: in the spec"
        raise UserError(message, where="--scheme", hint="for example: --scheme normal:std=0.01", code="no-scheme")
    from paraminspect.experiment.inspect import inspect

    request = session.request("init", rows, values=values, forward=False, before=True)
    return session.finish(inspect(prepared.subject(), request, prepared.rules), rows, printing, notes, values)
