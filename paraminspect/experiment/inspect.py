"""From a Subject to a Report, leaving the module as it was."""

from __future__ import annotations

from paraminspect.analysis.untouched import untouched
from paraminspect.experiment.assemble import assemble
from paraminspect.experiment.run import Request, run
from paraminspect.init.rules import BoundRule
from paraminspect.report import Report
from paraminspect.sources.subject import Subject


def inspect(subject: Subject, request: Request, rules: tuple[BoundRule, ...] = ()) -> Report:
    """Run the experiment and write down what it found; afterwards the module is as it was, save for the rules.

    Raises UserError for whatever the user can put right; a forward that fails is part of the Report.
    """
    with untouched(subject.module):
        return assemble(run(subject, rules, request), request)
