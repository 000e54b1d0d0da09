"""From the traces of several seeds to one Signal: means over the seeds, factors per layer, verdicts, the regime."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from paraminspect import theory
from paraminspect.analysis.signal.calls import expected_dead
from paraminspect.analysis.signal.effects import Activated
from paraminspect.analysis.signal.figures import Figures
from paraminspect.analysis.signal.layers import Layer, layers_of, mean, ratio, widths_of, without_readout
from paraminspect.analysis.signal.nodes import Node
from paraminspect.analysis.signal.regime import Regime, regime_of
from paraminspect.analysis.signal.remarks import remarks
from paraminspect.analysis.signal.states import mean_of
from paraminspect.analysis.signal.trace import Trace
from paraminspect.analysis.signal.trend import Series, judge
from paraminspect.report import Course, Signal, SignalExpected, SignalLayer, SignalMoments

_GROUPED: Final = "its fans are those of one group"
_GONE: Final = 0.999  # of a second moment: what depends on the input is less than noise


def combined(traces: Sequence[Trace]) -> Signal:
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
    tolerance = _tolerance(hidden, len(alike))
    widths = widths_of(hidden)
    shown = tuple(_shown(at, layer, spine, alike) for at, layer in enumerate(layers))
    return Signal(
        seeds=len(alike),
        samples=first.samples,
        input_rms=_root(mean([trace.input_second for trace in alike])),
        layers=shown,
        forward=_forward(hidden, tolerance, regime),
        backward=_backward(hidden, spine, tolerance, regime),
        regime=regime.name,
        chi1=regime.chi1,
        xi_q=regime.xi_q,
        xi_c=regime.xi_c,
        fluctuation=theory.fluctuation(widths) if widths else None,
        notes=remarks(traces, alike, layers, shown),
    )


def _shape(trace: Trace) -> tuple[tuple[str, str, str | None], ...]:
    return tuple((n.row.module, n.row.type, n.row.activation) for n in trace.graph.nodes if n.row is not None)


def _tolerance(layers: list[Layer], seeds: int) -> float:
    """Return the widest that ln factor per layer may stray, over the layers that the signal comes from."""
    widths = widths_of(layers)[:-1] or widths_of(layers)
    rectified = any(layer.first.activation for layer in layers)
    return theory.tolerance(widths, seeds=seeds, rectified=rectified) if widths else 0.0


# --- courses ---------------------------------------------------------------------------------------------------


def _forward(hidden: list[Layer], tolerance: float, regime: Regime) -> Course:
    last = hidden[-1].nodes[0].state if hidden else None
    q = 0.0 if last is None else mean_of(last.q)
    own = last.constant / q if last is not None and q else None
    return judge(
        Series(
            depths=[layer.depth or 0 for layer in hidden],
            measured=[*zip(*(layer.forward() for layer in hidden), strict=True)],
            expected=[layer.expected(lambda node: node.expected_q) for layer in hidden],
            tolerance=tolerance,
            nonfinite=[sum(row.pre.nonfinite for row in layer.rows) for layer in hidden],
            chi=regime.chi1 if regime.settled else None,
            constant=1.0 if regime.drowned else own,
            gone=own is not None and own > _GONE,
        )
    )


def _backward(hidden: list[Layer], spine: list[Layer], tolerance: float, regime: Regime) -> Course:
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
            nonfinite=[sum(row.grad.nonfinite for row in layer.rows) for layer in back],
            chi=regime.chi1 if regime.settled else None,
        )
    )


# --- the layers ------------------------------------------------------------------------------------------------


def _shown(at: int, layer: Layer, spine: list[Layer], traces: list[Trace]) -> SignalLayer:
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
    )


def _own_tolerance(layer: Layer, seeds: int) -> float:
    return theory.tolerance([layer.width or 1], seeds=seeds, rectified=layer.first.activation is not None)


def _neighbours(layer: Layer, spine: list[Layer]) -> tuple[Layer | None, Layer | None]:
    """Return the layers a depth before and a depth after."""
    if layer.depth is None:
        return None, None
    at = layer.depth - 1
    return (spine[at - 1] if at > 0 else None), (spine[at + 1] if at + 1 < len(spine) else None)


def _expectation(layer: Layer, before: Layer | None, after: Layer | None, samples: int | None) -> SignalExpected:
    active = layer.active() or [node for node, asked in zip(layer.nodes, layer.asked, strict=True) if asked]
    q = layer.expected(lambda node: node.expected_q)
    return SignalExpected(
        pre=SignalMoments(layer.expected(lambda node: node.expected_mean), _root(q)),
        out=SignalMoments(mean([node.expected_mean for node in active]), _root(mean([n.expected_q for n in active]))),
        grad_rms=_root(layer.expected(lambda node: node.expected_gradient)),
        forward=None if before is None else _quotient(q, before.expected(lambda node: node.expected_q)),
        backward=None if after is None else _quotient(layer.expected_norm(), after.expected_norm()),
        dead=mean([expected_dead(node, layer.first, samples) for node in active]),
        saturated=mean([_saturated(node) for node in active]),
        cosine=mean([node.expected_cosine for node in active]),
    )


def _quotient(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None


def _saturated(node: Node) -> float | None:
    return node.effect.saturated(node.inputs[0].state) if isinstance(node.effect, Activated) else None


def _moments(found: list[Figures]) -> SignalMoments:
    return SignalMoments(mean([one.mean for one in found]), _root(mean([one.second for one in found])))


def _root(value: float | None) -> float | None:
    return None if value is None else math.sqrt(max(value, 0.0))
