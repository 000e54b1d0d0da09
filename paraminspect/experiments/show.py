"""What is in a model, who shares it, and what one forward and one backward leave: the commands show and share."""

from __future__ import annotations

from collections.abc import Callable

from paraminspect.analysis.inventory import take_inventory
from paraminspect.experiments.assembly import report_of
from paraminspect.experiments.measured import apply_and_measure, with_new_tensors
from paraminspect.experiments.measured_run import measured_and_run
from paraminspect.experiments.modes_and_names import looking_at
from paraminspect.experiments.selection import Request, scope_of
from paraminspect.experiments.status_over_seeds import with_later_seeds
from paraminspect.init.rules import BoundRule
from paraminspect.modules.subject import Subject
from paraminspect.report import Report
from paraminspect.rules.headline import OF_PAGES, with_findings
from paraminspect.rules.rule_selection import Selection


def show(
    subject: Subject,
    request: Request,
    rules: tuple[BoundRule, ...] = (),
    rebuild: Callable[[int], Subject] | None = None,
    seeds: int = 1,
    advance: Callable[[], None] = lambda: None,
    selection: Selection = OF_PAGES,
) -> Report:
    """Apply the rules, measure, run the passes; afterwards the module is as it was, save for the rules.

    With several `seeds` the statuses of gradients are of all of them, see `status_over_seeds`; `rebuild` makes the
    subject of a seed that is so much later. The rules of `selection` are asked. Raises UserError for whatever the user
    can put right; a forward that fails is part of the Report.
    """
    with looking_at(subject) as seen:
        report = _shown(seen, request, rules)
    if rebuild is not None and seeds > 1:
        advance()
        report = with_later_seeds(report, subject, rules, request.layer, rebuild, seeds, advance)
    return with_findings(report, selection)


def _shown(subject: Subject, request: Request, rules: tuple[BoundRule, ...]) -> Report:
    inventory = take_inventory(subject.module)
    scope = scope_of(subject.module, inventory, request.layer)
    if not request.forward:  # none of the module's code runs but its repr
        return report_of(apply_and_measure(subject, scope, rules, request), request)
    with measured_and_run(subject, scope, rules, request) as run:
        return report_of(with_new_tensors(run.measured, run.passes, request), request, run.start, run.passes)
