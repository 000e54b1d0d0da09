"""`paraminspect code`."""

from __future__ import annotations

from paraminspect import output
from paraminspect.cli import session
from paraminspect.cli.options import Notes, Passes, Rules, Setting, Source


def code(source: Source, setting: Setting, passes: Passes, rules: Rules, notes: Notes) -> int:
    """Print the same experiment as a stand-alone PyTorch script: same seed, same bits."""
    prepared = session.prepare(source, rules, setting, notes, passes)
    import torch

    from paraminspect.script.write import script

    output.emit([script(prepared.spec, prepared.rules, f"torch {torch.__version__}")])
    return session.DONE
