"""`paraminspect share`."""

from __future__ import annotations

from paraminspect.cli import session
from paraminspect.cli.checkpoint_source import is_checkpoint, share_checkpoint
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
    if is_checkpoint(source):
        return share_checkpoint(source, (call, setting, passes, rules), rows, printing, notes)
    setup = session.prepare(source, call, rules, setting, notes, passes, not no_forward)
    subject = setup.subject()
    from paraminspect.experiments.show import show as experiment

    request = session.request("share", rows, forward=not no_forward)
    return session.finish(experiment(subject, request, setup.rules), rows, printing, notes)
