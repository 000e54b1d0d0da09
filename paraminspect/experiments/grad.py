"""What gradient reaches every parameter, and the signal through every layer, from one seed or from several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from paraminspect.analysis.inventory import Inventory, take_inventory
from paraminspect.analysis.signal import (
    CallFigures,
    SignalBeside,
    Trace,
    calls_of,
    follow,
    keep_inside,
    signal_over_seeds,
)
from paraminspect.experiments.assembly import report_of
from paraminspect.experiments.measured import Measured, initialise, moments_of, with_new_tensors
from paraminspect.experiments.measured_run import guarded, measured_and_run
from paraminspect.experiments.modes_and_names import looking_at
from paraminspect.experiments.selection import Request, Scope, scope_of
from paraminspect.experiments.status_over_seeds import BUILT, Gradients, gradients_of, with_statuses
from paraminspect.init.fill_record import FillRecord
from paraminspect.init.rules import BoundRule
from paraminspect.isolation.phases import enter
from paraminspect.isolation.torch_state import around, draw_batch, torch_generators
from paraminspect.modules.subject import Batch, Subject
from paraminspect.report import Failure, Layer, LayerExpected, Report, Signal, Verdict
from paraminspect.rules.headline import OF_PAGES, with_findings
from paraminspect.rules.rule_selection import Selection


def grad(
    subject: Subject,
    request: Request,
    rules: tuple[BoundRule, ...],
    rebuild: Callable[[int], Subject],
    seeds: int = 1,
    histograms: bool = False,
    advance: Callable[[], None] = lambda: None,
    selection: Selection = OF_PAGES,
) -> Report:
    """Run the passes as `show` does, then follow the signal through the module as it was before them.

    The first seed's signal is that of the passes: their module, input and random numbers. `rebuild` makes the subject
    of a seed that is so much later; `advance` is called after each. Without a forward that reached its end there is no
    signal. The rules of `selection` are asked. Raises UserError for whatever the user can put right.
    """
    with looking_at(subject) as seen:
        scope = scope_of(seen.module, take_inventory(seen.module), request.layer)
        report, traces = _first(seen, scope, request, rules, histograms)
    if traces:
        advance()
        report = _over_seeds(report, traces, subject, scope, rules, rebuild, seeds, advance)
    return with_findings(report, selection)


def _first(
    subject: Subject, scope: Scope, request: Request, rules: tuple[BoundRule, ...], histograms: bool
) -> tuple[Report, list[Trace]]:
    """Run the passes of the first seed, and follow the signal; no trace where that cannot be."""
    inventory = scope.whole
    follower: SignalBeside | None = None

    def beside(measured: Measured) -> SignalBeside:
        nonlocal follower
        moments = moments_of(inventory, measured.applied, subject.kind)
        follower = SignalBeside(subject.module, moments, histograms)
        return follower

    with measured_and_run(subject, scope, rules, request, beside) as run:
        report = report_of(with_new_tensors(run.measured, run.passes, request), request, run.start, run.passes)
    subject, start, applied = run.measured.subject, run.start, run.measured.applied
    del run  # with its graph, which is as large as the model
    if start is None or report.forward is None or (report.forward.error and report.forward.output == ()):
        return report, []
    if any(one.device == "meta" for one in report.forward.input):
        return replace(report, notes=(*report.notes, "no signal: tensors on the meta device hold no numbers")), []
    trace = follower.trace() if follower else None
    return report, [trace or _followed(subject, inventory, start.batch, applied, histograms, start.rewind)]


def _over_seeds(
    report: Report,
    traces: list[Trace],
    subject: Subject,
    scope: Scope,
    rules: tuple[BoundRule, ...],
    rebuild: Callable[[int], Subject],
    seeds: int,
    advance: Callable[[], None],
) -> Report:
    """Follow the signal of the later seeds as well; the report has the figures of all of them, inside the scope."""
    notes = []
    later_ones: list[Gradients] = []
    for later in range(1, seeds):
        with looking_at(rebuild(later)) as built:
            other = built.settled()
            assert other.make_input is not None
            if other.module is subject.module:
                notes = [BUILT]
            applied, batch = initialise(other, rules)
            batch = batch or draw_batch(other.make_input)
            rewind = torch_generators()
            gradients = gradients_of(other, batch, scope.layer)
            later_ones += [] if isinstance(gradients, Failure) else [gradients]
            rewind()
            traces.append(_followed(other, take_inventory(other.module), batch, applied))
        advance()
    report = with_statuses(report, later_ones)
    layers = _with_expectations(report.layers, traces[0], scope)
    for trace in traces if scope.layer is not None else ():
        keep_inside(trace, scope.relative)
    signal = signal_over_seeds(traces)
    signal = replace(signal, notes=(*notes, *signal.notes))
    verdicts = (*report.verdicts, *_verdicts(signal))
    return replace(report, signal=signal, layers=layers, verdicts=verdicts)


def _followed(
    subject: Subject,
    inventory: Inventory,
    batch: Batch,
    applied: Mapping[int, FillRecord],
    histograms: bool = False,
    rewind: Callable[[], None] = lambda: None,
) -> Trace:
    enter("following the signal")
    moments = moments_of(inventory, applied, subject.kind)
    with guarded(inventory) as mode:
        rewind()
        return follow(
            subject.module,
            batch,
            None,
            moments,
            histograms=histograms,
            contain=lambda: around(subject.foreign, mode),
        )


def _with_expectations(layers: tuple[Layer, ...], trace: Trace, scope: Scope) -> tuple[Layer, ...]:
    """Set what theory expects beside every call of a module; the gradient's on the scale of the run's own loss.

    The calls are the same ones in the same order, or nothing is said of them. Theory is about random gradients: that of
    a loss is one behind random weights.
    """
    found = ((scope.relative(call.module), call) for call in calls_of(trace))
    calls = [replace(call, module=path) for path, call in found if path is not None]
    if [layer.module for layer in layers] != [call.module for call in calls]:
        return layers
    scale = None
    for layer, call in zip(layers, calls, strict=True):
        if call.grad_rms and layer.grad.rms is not None and trace.graph.ends_in_weights():
            scale = layer.grad.rms / call.grad_rms  # of the last that has both
    return tuple(_beside(layer, call, scale) for layer, call in zip(layers, calls, strict=True))


def _beside(layer: Layer, call: CallFigures, scale: float | None) -> Layer:
    grad = None if call.grad_rms is None or layer.grad.rms is None or scale is None else call.grad_rms * scale
    expected = LayerExpected(call.out_rms, grad, call.expected_dead)
    return replace(layer, expected=expected, dead=call.dead, saturated=call.saturated, cosine=call.cosine)


def _verdicts(signal: Signal) -> tuple[Verdict, ...]:
    """Return one verdict for each direction that has a factor per layer, of second moments."""
    found = []
    for about, course in (("forward", signal.forward), ("backward", signal.backward)):
        if course.factor is not None and course.high is not None:
            found.append(Verdict(about, course.verdict, course.factor, course.expected, course.high - 1.0))
    return tuple(found)
