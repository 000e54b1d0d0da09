"""What theory expects beside every call of a module, one for one with the calls that the passes follow."""

from __future__ import annotations

import math
from dataclasses import dataclass

from paraminspect.analysis.signal.effects import Activated
from paraminspect.analysis.signal.nodes import Node, Row
from paraminspect.analysis.signal.trace import Trace


@dataclass(frozen=True)
class CallFigures:
    """Hold what is expected of what one call of `module` returned, None where theory does not reach; and its shares.

    `grad_rms` is the gradient's for a cotangent of norm 1. `dead`, `saturated` and `cosine` were measured.
    """

    module: str
    out_rms: float | None = None
    grad_rms: float | None = None
    expected_dead: float | None = None
    dead: float | None = None
    saturated: float | None = None
    cosine: float | None = None


def calls_of(trace: Trace) -> list[CallFigures]:
    """Return the figures of every call of a childless module, in order of execution."""
    return [CallFigures(name) if node is None else _figures(name, node, trace) for name, node in trace.calls]


def _figures(name: str, node: Node, trace: Trace) -> CallFigures:
    q, gradient, row = node.expected_q, node.expected_gradient, node.ends
    passed_on = row or (node.row if node.row is not None and node.row.activation is None else None)
    return CallFigures(
        name,
        out_rms=None if q is None else math.sqrt(q),
        grad_rms=None if gradient is None else math.sqrt(gradient),
        expected_dead=None if row is None else expected_dead(node, row, trace.samples),
        dead=row.dead if row else None,
        saturated=row.saturated if row else None,
        cosine=passed_on.cosine if passed_on else None,
    )


def expected_dead(node: Node, row: Row, samples: int | None) -> float | None:
    """Return the share of units that theory expects dead on the batch, where a unit has one value for each sample."""
    if not isinstance(node.effect, Activated) or samples is None or row.width is None:
        return None
    return node.effect.dead(node.inputs[0].state, samples) if row.elements == samples * row.width else None
