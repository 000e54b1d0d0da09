"""Follow the signal through the model of a run, and through the same model from later seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from paraminspect.analysis.signal import CallFigures, Trace, calls_of, combined, follow
from paraminspect.experiments.inspect import undisturbed
from paraminspect.experiments.moments import moments_of
from paraminspect.experiments.run import State, initialise
from paraminspect.init.applied import Applied
from paraminspect.init.rules import BoundRule
from paraminspect.isolation.torch_state import around, draw_batch
from paraminspect.modules.subject import Batch, Subject
from paraminspect.report import Layer, LayerExpected, Report, Signal, Verdict

_BUILT = "the model is built already: only the input, and what a rule draws, differ from seed to seed"


def with_signal(
    report: Report,
    state: State,
    rules: tuple[BoundRule, ...],
    seeds: int,
    histograms: bool,
    rebuild: Callable[[int], Subject],
    advance: Callable[[], None],
) -> Report:
    """Add the signal to the report of a run whose forward did not fail, and what is expected to its layers.

    The first seed is the run's own: its module, its input, its random numbers; `rebuild` makes the subject of one that
    is so much later. `advance` is called after each.
    """
    if state.batch is None or report.forward is None or (report.forward.error and report.forward.output == ()):
        return report
    if any(one.device == "meta" for one in report.forward.input):
        return replace(report, notes=(*report.notes, "no signal: tensors on the meta device hold no numbers"))
    first = _followed(state.subject, state.batch, state.applied, histograms, state.rewind)
    advance()
    traces = [first]
    notes: tuple[str, ...] = ()
    for later in range(1, seeds):
        subject = rebuild(later)
        if subject.module is state.subject.module:
            notes = (_BUILT,)
        traces.append(_anew(subject, rules))
        advance()
    signal = combined(traces)
    signal = replace(signal, notes=(*notes, *signal.notes))
    layers = _expected(report.layers, first)
    return replace(report, signal=signal, layers=layers, verdicts=(*report.verdicts, *_verdicts(signal)))


def _anew(subject: Subject, rules: tuple[BoundRule, ...]) -> Trace:
    applied, batch = initialise(subject, rules, lambda: around(subject.foreign))
    assert subject.make_input is not None
    return _followed(subject, batch or draw_batch(subject.make_input), applied)


def _followed(
    subject: Subject,
    batch: Batch,
    applied: dict[int, Applied],
    histograms: bool = False,
    rewind: Callable[[], None] | None = None,
) -> Trace:
    moments = moments_of(subject.module, applied, subject.source.kind)
    with undisturbed(subject.module) as (_, mode):
        if rewind is not None:
            rewind()
        return follow(
            subject.module,
            batch,
            None,
            moments,
            histograms=histograms,
            contain=lambda: around(subject.foreign, mode),
        )


def _expected(layers: tuple[Layer, ...], trace: Trace) -> tuple[Layer, ...]:
    """Set what theory expects beside every call of a module; the gradient's on the scale of the run's own loss.

    The calls are the same ones in the same order, or nothing is said of them. Theory is about random gradients: that of
    a loss is one behind random weights.
    """
    calls = calls_of(trace)
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
