"""What a reader of the signal should know beside its figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from paraminspect.analysis.signal.layers import Layer
from paraminspect.analysis.signal.nodes import Row
from paraminspect.analysis.signal.trace import Trace
from paraminspect.modules.tensor_identity import dtype_name
from paraminspect.report import SignalLayer

_MOST: Final = 4


def remarks(
    traces: Sequence[Trace], alike: Sequence[Trace], layers: Sequence[Layer], shown: Sequence[SignalLayer]
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


def _overflow(layers: Sequence[Layer]) -> Iterator[str]:
    """Name the first layer that returned what its dtype does not hold, else the first that such a gradient reached."""
    forward = next((row for layer in layers for row in layer.rows if row.pre.nonfinite), None)
    backward = next((row for layer in reversed(layers) for row in layer.rows if row.grad.nonfinite), None)
    if forward is not None and forward.pre.infinite:
        yield f"overflow: {_name(forward)} returns values beyond what {dtype_name(forward.dtype)} holds"
    elif forward is None and backward is not None and backward.grad.infinite:
        yield f"overflow: the gradient at {_name(backward)} has values beyond what {dtype_name(backward.dtype)} holds"


def _died(layers: Sequence[Layer]) -> Iterator[str]:
    """Count the seeds whose signal is exactly 0 somewhere, where it is not in all."""
    spine = [layer.forward() for layer in layers if layer.depth is not None]
    dead = [any(value == 0 for value in seed) for seed in zip(*spine, strict=True)]
    if any(dead) and not all(dead):
        yield f"in {sum(dead)} of {len(dead)} seeds the signal came to exactly 0: the others were judged"


def _name(row: Row) -> str:
    return f"{row.module or 'the model'} ({row.type})"


def _readout(layers: Sequence[Layer]) -> Iterator[str]:
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
    unknown = [node.unknown for node in asked[0].graph.nodes if node.unknown]
    if unknown:
        yield f"theory does not know {_some(unknown)}: what was measured there stands in"
    if asked[0].guessed:
        yield "no scheme is known for some weights: theory takes the moments that they have"
    if asked[0].reused:
        names = [name or "the model" for name in asked[0].reused]
        yield f"used more than once: {_some(names)}; theory takes every use for an independent layer"


def _some(names: Sequence[str]) -> str:
    different = list(dict.fromkeys(names))
    more = f" and {len(different) - _MOST:,} more" if len(different) > _MOST else ""
    return ", ".join(different[:_MOST]) + more
