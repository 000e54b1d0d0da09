"""Schemes side by side: every trial on the same model, input and seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from paraminspect.errors import UserError
from paraminspect.experiments.contenders import Contender, Size
from paraminspect.experiments.coordinate_check import slopes_of
from paraminspect.experiments.modes_and_names import looking_at
from paraminspect.experiments.ranking import steadiest, verdicts_of
from paraminspect.experiments.selection import Request
from paraminspect.experiments.show import show
from paraminspect.experiments.trials import Bench
from paraminspect.modules.subject import Subject
from paraminspect.report import Comparison, Report
from paraminspect.rules.headline import with_findings


def compare(
    contenders: Sequence[Contender],
    sizes: Sequence[Size],
    seeds: int,
    advance: Callable[[], None] = lambda: None,
) -> Report:
    """Try every scheme at every size from every seed, and set the trials side by side.

    A run seeds, builds, draws the input and only then initialises, so that all schemes see the same input; then one
    forward, and a backward from a random cotangent. `advance` is called after each. A scheme that cannot fill the
    model, and a forward that raises, are `errors` of the Report, and the other trials stand. Raises UserError where
    there is nothing to compare on.
    """
    report = _described(sizes[0].rebuild(0))
    bench = Bench(seeds, advance)
    tried = [bench.trial(contender, size) for contender in contenders for size in sizes]
    trials = tuple(trial for trial in tried if trial is not None)
    best, reason = steadiest(trials)
    report = replace(
        report,
        forward=bench.forward,
        verdicts=tuple(verdict for trial in trials for verdict in verdicts_of(trial)),
        errors=tuple(bench.failures),
        notes=(*report.notes, *bench.notes.values()),
        comparison=Comparison(seeds, trials, best, reason, slopes_of(trials, seeds)),
    )
    return with_findings(report)


def _described(subject: Subject) -> Report:
    """Return what is compared on as it is built, before any rule: the rows without values."""
    name = subject.source.name
    with looking_at(subject) as seen:
        settled = seen.settled()
    if settled.make_input is None:
        raise UserError(settled.why_no_input, where=name, code="no-input")
    if any(parameter.is_meta for parameter in subject.module.parameters()):
        message = "on the meta device there are no numbers to compare"
        raise UserError(message, where=name, hint="for example: --device cpu", code="no-numbers")
    report = show(subject, Request("compare", forward=False, statistics=False))
    return replace(report, parameters=tuple(replace(row, init=None) for row in report.parameters), verdicts=())
