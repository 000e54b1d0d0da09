"""`paraminspect share`."""

from __future__ import annotations

from paraminspect.cli import session
from paraminspect.cli.options import Notes, Output, Passes, Rows, Rules, Setting, Source


def share(
    source: Source, rows: Rows, setting: Setting, passes: Passes, rules: Rules, printing: Output, notes: Notes
) -> int:
    """Show who shares what with whom: which names are one object, and how the gradients of the uses add up."""
    prepared = session.prepare(source, rules, setting, notes, passes)
    from paraminspect.experiment.inspect import inspect
    from paraminspect.experiment.run import Request

    request = Request("share", tuple(rows.params or ()), rows.layer)
    return session.finish(inspect(prepared.subject(), request, prepared.rules), printing, notes)
