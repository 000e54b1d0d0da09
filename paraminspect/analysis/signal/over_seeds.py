"""From the traces of several seeds to one Signal: means over the seeds, factors per layer, verdicts, remarks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from paraminspect import theory
from paraminspect.analysis.signal.effects import ActivationEffect
from paraminspect.analysis.signal.figures import Figures
from paraminspect.analysis.signal.graph import Graph, Node, Row
from paraminspect.analysis.signal.layer_runs import (
    LayerRuns,
    layers_of,
    mean,
    ratio,
    widths_of,
    without_readout,
)
from paraminspect.analysis.signal.regime import Regime, regime_of
from paraminspect.analysis.signal.states import mean_of
from paraminspect.analysis.signal.trace import Trace, expected_dead
from paraminspect.analysis.signal.trend import Series, judge
from paraminspect.modules.nested_tensors import dtype_name
from paraminspect.report import Course, Signal, SignalExpected, SignalLayer, SignalMoments
from paraminspect.text.numbers import some_of

_GROUPED: Final = "its fans are those of one group"
_GONE: Final = 0.999  # of a second moment: what depends on the input is less than noise


def signal_over_seeds(traces: Sequence[Trace]) -> Signal:
    """Return the signal over all seeds, in which a run that failed, or took another way, has no part.

    Second moments are means over the seeds, factors geometric means; what theory expects is the mean of what it
    expects of each seed that was asked for it. Raises ValueError without a trace.
    """
    if not traces:
        raise ValueError("no trace to combine")
    whole = [trace for trace in traces if trace.error is None] or [traces[0]]
    first = next((trace for trace in whole if trace.expected), whole[0])
    alike = [trace for trace in whole if _shape(trace) == _shape(first)]
    layers = layers_of(alike)
    spine = [layer for layer in layers if layer.depth is not None]
    hidden = without_readout(spine)
    regime = regime_of(hidden)
    exact = _theory_has_all(hidden, first.graph)
    tolerance = _tolerance(hidden, len(alike))
    widths = widths_of(hidden)
    shown = tuple(_shown(at, layer, spine, alike) for at, layer in enumerate(layers))
    return Signal(
        seeds=len(alike),
        samples=first.samples,
        input_rms=_root(mean([trace.input_second for trace in alike])),
        layers=shown,
        forward=_believed(_forward(hidden, tolerance, exact, regime), alike),
        backward=_believed(_backward(hidden, spine, tolerance, exact, regime), alike),
        regime=regime.name,
        chi1=regime.chi1,
        xi_q=regime.xi_q,
        xi_c=regime.xi_c,
        fluctuation=theory.fluctuation(widths) if widths else None,
        notes=remarks(traces, alike, layers, shown),
    )


def _shape(trace: Trace) -> tuple[tuple[str, str, str | None], ...]:
    return tuple((n.row.module, n.row.type, n.row.activation) for n in trace.graph.nodes if n.row is not None)


def _tolerance(layers: list[LayerRuns], seeds: int) -> float:
    """Return the widest that ln factor per layer may stray, over the layers that the signal comes from."""
    widths = widths_of(layers)[:-1] or widths_of(layers)
    rectified = any(layer.first.activation for layer in layers)
    return theory.tolerance(widths, seeds=seeds, rectified=rectified) if widths else 0.0


def _theory_has_all(hidden: Sequence[LayerRuns], graph: Graph) -> bool:
    """Tell whether the widths alone say how far a healthy net strays: dense layers and activations, nothing else."""
    return all(layer.is_dense for layer in hidden) and all(
        node.row is None or node.row.kind in ("weighted", "activation") for node in graph.nodes
    )


# --- courses ---------------------------------------------------------------------------------------------------


def _believed(course: Course, traces: Sequence[Trace]) -> Course:
    """Judge nothing by a run that is unlike any step of training; what is 0 or no number is so in any."""
    doubt = next((trace.doubt for trace in traces if trace.doubt), "")
    if not doubt or course.verdict in ("dead", "nonfinite"):
        return course
    return replace(course, verdict="unknown", law=None, exponent=None, leaves=None, extrapolated=False, reason=doubt)


def _forward(hidden: list[LayerRuns], tolerance: float, exact: bool, regime: Regime) -> Course:
    last = hidden[-1].nodes[0].state if hidden else None
    q = 0.0 if last is None else mean_of(last.q)
    own = last.constant / q if last is not None and q else None
    return judge(
        Series(
            depths=[layer.depth or 0 for layer in hidden],
            measured=[*zip(*(layer.forward() for layer in hidden), strict=True)],
            expected=[layer.expected(lambda node: node.expected_q) for layer in hidden],
            tolerance=tolerance,
            exact=exact,
            nonfinite=[sum(row.pre.nonfinite for row in layer.rows) for layer in hidden],
            chi=regime.chi1 if regime.settled else None,
            constant=1.0 if regime.drowned else own,
            gone=own is not None and own > _GONE,
        )
    )


def _backward(hidden: list[LayerRuns], spine: list[LayerRuns], tolerance: float, exact: bool, regime: Regime) -> Course:
    """Judge the gradient, from the last layer to the first; there is none to judge behind a readout of zeros."""
    if spine and spine[-1].silent:
        return Course()
    back = [*reversed(hidden)]
    return judge(
        Series(
            depths=[layer.depth or 0 for layer in back],
            measured=[*zip(*(layer.backward() for layer in back), strict=True)],
            expected=[layer.expected_norm() for layer in back],
            tolerance=tolerance,
            exact=exact,
            nonfinite=[sum(row.grad.nonfinite for row in layer.rows) for layer in back],
            chi=regime.chi1 if regime.settled else None,
        )
    )


# --- the layers ------------------------------------------------------------------------------------------------


def _shown(at: int, layer: LayerRuns, spine: list[LayerRuns], traces: list[Trace]) -> SignalLayer:
    row, rows = layer.first, layer.rows
    before, after = _neighbours(layer, spine)
    last = bool(spine) and layer is spine[-1] and layer.reads_out
    counted = layer.depth is not None and layer.width is not None
    return SignalLayer(
        index=at,
        module=row.module,
        type=row.type,
        depth=layer.depth,
        activation=row.activation,
        parameter=traces[0].names.get(row.parameter) if row.parameter is not None else None,
        fan_in=row.fan_in,
        width=row.width,
        pre=_moments([one.pre for one in rows]),
        out=_moments([one.out for one in rows]),
        grad_rms=_root(mean([one.grad.second for one in rows])),
        grad_norm=_root(mean(layer.backward())),
        forward=None if before is None else ratio(before.forward(), layer.forward()),
        backward=None if after is None else ratio(after.backward(), layer.backward()),
        tolerance=_own_tolerance(layer, len(traces)) if counted else None,
        dead=mean([one.dead for one in rows]),
        saturated=mean([one.saturated for one in rows]),
        symmetric=None if last else row.symmetric,
        cosine=mean([one.cosine for one in rows]),
        rank=mean([one.rank for one in rows]),
        nonfinite=sum(one.pre.nonfinite + one.grad.nonfinite for one in rows),
        expected=_expectation(layer, before, after, traces[0].samples),
        pre_histogram=row.pre_histogram,
        out_histogram=row.out_histogram,
        note=_GROUPED if row.grouped else None,
        output=row.output,
    )


def _own_tolerance(layer: LayerRuns, seeds: int) -> float:
    return theory.tolerance([layer.width or 1], seeds=seeds, rectified=layer.first.activation is not None)


def _neighbours(layer: LayerRuns, spine: list[LayerRuns]) -> tuple[LayerRuns | None, LayerRuns | None]:
    """Return the layers a depth before and a depth after."""
    if layer.depth is None:
        return None, None
    at = layer.depth - 1
    return (spine[at - 1] if at > 0 else None), (spine[at + 1] if at + 1 < len(spine) else None)


def _expectation(
    layer: LayerRuns, before: LayerRuns | None, after: LayerRuns | None, samples: int | None
) -> SignalExpected:
    active = layer.active() or [node for node, asked in zip(layer.nodes, layer.asked, strict=True) if asked]
    q = layer.expected(lambda node: node.expected_q)
    return SignalExpected(
        pre=SignalMoments(layer.expected(lambda node: node.expected_mean), _root(q)),
        out=SignalMoments(mean([node.expected_mean for node in active]), _root(mean([n.expected_q for n in active]))),
        grad_rms=_root(layer.expected(lambda node: node.expected_gradient)),
        grad_norm=_root(layer.expected_norm()),
        forward=None if before is None else _quotient(q, before.expected(lambda node: node.expected_q)),
        backward=None if after is None else _quotient(layer.expected_norm(), after.expected_norm()),
        dead=mean([expected_dead(node, layer.first, samples) for node in active]),
        saturated=mean([_saturated(node) for node in active]),
        cosine=mean([node.expected_cosine for node in active]),
    )


def _quotient(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None


def _saturated(node: Node) -> float | None:
    return node.effect.saturated(node.inputs[0].state) if isinstance(node.effect, ActivationEffect) else None


def _moments(found: list[Figures]) -> SignalMoments:
    return SignalMoments(mean([one.mean for one in found]), _root(mean([one.second for one in found])))


def _root(value: float | None) -> float | None:
    return None if value is None else math.sqrt(max(value, 0.0))


_MOST: Final = 4


def remarks(
    traces: Sequence[Trace], alike: Sequence[Trace], layers: Sequence[LayerRuns], shown: Sequence[SignalLayer]
) -> tuple[str, ...]:
    """Return what the traces have to say, then what is true of the layers together."""
    own = (note for trace in traces for note in trace.notes)
    found = (
        *own,
        *_left_out(traces, alike),
        *_overflow(layers),
        *_died(layers),
        *_readout(layers),
        *_theory(alike, shown),
    )
    return tuple(dict.fromkeys(found))


def _left_out(traces: Sequence[Trace], alike: Sequence[Trace]) -> Iterator[str]:
    errors = [trace.error for trace in traces if trace.error is not None]
    if errors:
        where = f" in {errors[0].module}" if errors[0].module else ""
        yield f"the {errors[0].phase} failed{where} in {len(errors)} of {len(traces)} seeds: {errors[0].message}"
    others = len(traces) - len(errors) - len(alike)
    if others > 0:
        yield f"{others} of {len(traces)} seeds took another way through the model: left out"


def _overflow(layers: Sequence[LayerRuns]) -> Iterator[str]:
    """Name the first layer that returned what its dtype does not hold, else the first that such a gradient reached."""
    forward = next((row for layer in layers for row in layer.rows if row.pre.nonfinite), None)
    backward = next((row for layer in reversed(layers) for row in layer.rows if row.grad.nonfinite), None)
    if forward is not None and forward.pre.infinite:
        yield f"overflow: {_name(forward)} returns values beyond what {dtype_name(forward.dtype)} holds"
    elif forward is None and backward is not None and backward.grad.infinite:
        yield f"overflow: the gradient at {_name(backward)} has values beyond what {dtype_name(backward.dtype)} holds"


def _died(layers: Sequence[LayerRuns]) -> Iterator[str]:
    """Count the seeds whose signal is exactly 0 somewhere, where it is not in all."""
    spine = [layer.forward() for layer in layers if layer.depth is not None]
    dead = [any(value == 0 for value in seed) for seed in zip(*spine, strict=True)]
    if any(dead) and not all(dead):
        yield f"in {sum(dead)} of {len(dead)} seeds the signal came to exactly 0: the others were judged"


def _name(row: Row) -> str:
    return f"{row.module or 'the model'} ({row.type})"


def _readout(layers: Sequence[LayerRuns]) -> Iterator[str]:
    last = next((layer for layer in reversed(layers) if layer.depth is not None), None)
    if last is not None and last.silent:
        name = last.first.module or "the last layer"
        yield f"the weights of {name} are 0: no gradient comes back through it until it has learnt"


def _theory(traces: Sequence[Trace], shown: Sequence[SignalLayer]) -> Iterator[str]:
    asked = [trace for trace in traces if trace.expected]
    if not asked:
        return
    lost = [layer for layer in shown if layer.expected.pre.rms is None]
    if lost:
        names = [f"{one.module or 'the model'} ({one.type})" for one in lost]
        yield f"theory does not reach {_some(names)}: what was measured there stands in"
    found = [node.unknown for node in asked[0].graph.nodes if node.unknown]
    unknown = [f"{operation} in {module or 'the model'}" for operation, module in found]
    if unknown:
        yield f"theory does not know {_some(unknown)}: what was measured there stands in"
    if asked[0].guessed:
        yield "no scheme is known for some weights: theory takes the moments that they have"
    if asked[0].reused:
        names = [name or "the model" for name in asked[0].reused]
        yield f"used more than once: {_some(names)}; theory takes every use for an independent layer"


def _some(names: Sequence[str]) -> str:
    return some_of(list(dict.fromkeys(names)), _MOST)
