"""`paraminspect code`."""

from __future__ import annotations

from paraminspect import output
from paraminspect.cli import session
from paraminspect.cli.options import Call, Notes, Passes, Rules, Setting, SpecSource
from paraminspect.errors import UserError


def code(source: SpecSource, setting: Setting, passes: Passes, rules: Rules, notes: Notes) -> int:
    """Print the same experiment as a stand-alone PyTorch script: same seed, same bits."""
    setup = session.prepare(source, Call(), rules, setting, notes, passes)
    import torch

    from paraminspect.script.write import script
    from paraminspect.sources.locate import Reference

    if isinstance(setup.source, Reference):
        message = "the script of a module is the module's own code; `code` takes a spec"
        raise UserError(message, where=setup.source.text, hint="give a spec (.yaml, .json)", code="unsupported-source")
    loading = setup.subject().loading if setup.weights else None
    output.emit([script(setup.source, setup.rules, f"torch {torch.__version__}", loading, setup.training)])
    return session.DONE
