"""`paraminspect share`."""

from __future__ import annotations

from paraminspect.cli import session
from paraminspect.cli.options import Call, NoForward, Notes, Output, Passes, Rows, Rules, Setting, Source


def share(
    source: Source,
    call: Call,
    rows: Rows,
    setting: Setting,
    passes: Passes,
    rules: Rules,
    printing: Output,
    notes: Notes,
    no_forward: NoForward = False,
) -> int:
    """Show who shares what with whom: which names are one object, and how the gradients of the uses add up."""
    prepared = session.prepare(source, call, rules, setting, notes, passes, not no_forward)
    from paraminspect.experiments.inspect import inspect

    request = session.request("share", rows, forward=not no_forward)
    return session.finish(inspect(prepared.subject(), request, prepared.rules), rows, printing, notes)
