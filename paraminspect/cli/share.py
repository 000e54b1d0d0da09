"""`paraminspect share`."""

from __future__ import annotations

from paraminspect.cli import session
from paraminspect.cli.options import Experiment, Output, Rows, Rules, Source


def share(source: Source, rows: Rows, experiment: Experiment, rules: Rules, printing: Output) -> int:
    """Show who shares what with whom: which names are one object, and how the gradients of the uses add up."""
    prepared = session.prepare(source, rules, experiment, printing)
    from paraminspect.experiment.assemble import assemble
    from paraminspect.experiment.run import run

    request = session.request("share", prepared, rows)
    return session.finish(assemble(run(prepared.spec, prepared.rules, request), request), printing)
