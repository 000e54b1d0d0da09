"""What gradient reaches each parameter in several forwards: LayerDrop and routing leave others out every time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from paraminspect.analysis.inventory import take_inventory
from paraminspect.analysis.passes.forward_backward import gradient_of, run_passes
from paraminspect.experiments.assembly import failure_of
from paraminspect.experiments.measured import initialise
from paraminspect.experiments.measured_run import guarded
from paraminspect.experiments.modes_and_names import looking_at
from paraminspect.experiments.selection import scope_of
from paraminspect.init.rules import BoundRule
from paraminspect.isolation.torch_state import around, draw_batch
from paraminspect.modules.subject import Batch, Subject
from paraminspect.report import Failure, Gradient, Parameter, Report

BUILT = "the model is built already: only the input, and what a rule draws, differ from seed to seed"
_BEST_FIRST = ("nonfinite", "ok", "unknown", "zero", "disconnected", "unused", "frozen", "not-run")
"""Which status stands for all: what is not finite in one run is wrong, what arrives in one run arrives."""

Gradients = Mapping[str, Gradient]


def with_later_seeds(
    report: Report,
    subject: Subject,
    rules: tuple[BoundRule, ...],
    layer: str | None,
    rebuild: Callable[[int], Subject],
    seeds: int,
    advance: Callable[[], None],
) -> Report:
    """Run the forward and the backward from the later seeds as well, and merge the statuses of the gradients.

    Nothing is added where the first run did not end, and no more than the error from the first seed that fails.
    """
    if seeds == 1 or report.forward is None or report.forward.error:
        return report
    found: list[Gradients] = []
    failures: list[Failure] = []
    notes: list[str] = []
    for later in range(1, seeds):
        with looking_at(rebuild(later)) as seen:
            other = seen.settled()
            notes = [BUILT] if other.module is subject.module else []
            assert other.make_input is not None
            _, batch = initialise(other, rules)
            outcome = gradients_of(other, batch or draw_batch(other.make_input), layer)
        if isinstance(outcome, Failure):
            failures = [replace(outcome, message=f"{outcome.message} (from seed {other.seed})")]
            break
        found.append(outcome)
        advance()
    merged = with_statuses(report, found)
    return replace(merged, errors=(*merged.errors, *failures), notes=(*merged.notes, *notes))


def gradients_of(subject: Subject, batch: Batch, layer: str | None) -> Gradients | Failure:
    """Return the gradient of every parameter after one forward and backward, or why there is none."""
    inventory = take_inventory(subject.module)
    parameters = scope_of(subject.module, inventory, layer).inventory.of_kind("parameter")
    with guarded(inventory) as mode:
        passes = run_passes(subject.module, batch, subject.loss, contain=lambda: around(subject.foreign, mode))
        if passes.error is not None:
            return failure_of(passes.error)
        return {entry.name: gradient_of(entry.tensor, passes) for entry in parameters}


def with_statuses(report: Report, later: Sequence[Gradients]) -> Report:
    """Give every gradient the status that stands for all seeds, and how often there was which.

    The figures are those of the first seed that has the status.
    """
    if not later:
        return report
    rows = tuple(_merged(row, [one[row.name] for one in later if row.name in one]) for row in report.parameters)
    return replace(report, parameters=rows, environment=replace(report.environment, seeds=1 + len(later)))


def _merged(row: Parameter, later: Sequence[Gradient]) -> Parameter:
    if row.gradient is None or not later:
        return row
    every = [row.gradient, *later]
    counts = Counter(one.status for one in every)
    status = min(counts, key=lambda one: _BEST_FIRST.index(one) if one in _BEST_FIRST else len(_BEST_FIRST))
    first = next(one for one in every if one.status == status)
    return replace(row, gradient=replace(first, seeds=dict(counts)))
