"""`paraminspect grad`."""

from __future__ import annotations

from paraminspect.cli import session
from paraminspect.cli.options import Call, Notes, Output, Passes, Rows, Rules, Setting, Source, Values


def grad(
    source: Source,
    call: Call,
    rows: Rows,
    setting: Setting,
    passes: Passes,
    rules: Rules,
    printing: Output,
    notes: Notes,
    values: Values = False,
) -> int:
    """Show what gradient reaches every parameter, use by use, and the signal that arrives at every layer."""
    prepared = session.prepare(source, call, rules, setting, notes, passes)
    from paraminspect.experiment.inspect import inspect

    request = session.request("grad", rows, values=values, all_uses=True)
    return session.finish(inspect(prepared.subject(), request, prepared.rules), rows, printing, notes, values)
