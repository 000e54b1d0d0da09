"""Ordered, critical or chaotic: the fixed point of layers that are all alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from paraminspect import theory
from paraminspect.analysis.signal.effects import ActivationEffect, ProductEffect
from paraminspect.analysis.signal.layer_runs import LayerRuns
from paraminspect.analysis.signal.states import Law, mean_of
from paraminspect.frozen import dataclass

_SAME: Final = 1e-6  # relative
_SPREAD: Final = 8.0  # standard errors, between the largest and the smallest of some dozens that are the same
_CRITICAL: Final = 0.2  # that ln of the gradient's second moment may change by, over the whole depth: a tenth in rms
_DEVIATIONS: Final = 4.0
_NOTHING: Final = 0.01  # of a second moment


@dataclass(frozen=True)
class Regime:
    """Hold χ₁, the depth scales and the regime; `settled` says that χ₁ is that of a fixed point of all layers.

    `drowned` says that inputs grow alike there, and the second moment is the biases' own: without them it would be next
    to nothing.
    """

    chi1: float | None = None
    xi_q: float | None = None
    xi_c: float | None = None
    name: str | None = None
    settled: bool = False
    drowned: bool = False


def regime_of(hidden: Sequence[LayerRuns]) -> Regime:
    """Return the regime of the fixed point where all hidden layers but the first are alike; else the mean χ alone.

    Critical is a network no deeper than a fifth of its depth scale. Weights whose moments were measured leave χ₁ as
    uncertain as these are.
    """
    laws = [layer.nodes[0].effect for layer in hidden[1:]]
    active = [layer.first.activated for layer in hidden[1:]]
    effects = [node.effect for node in active if node is not None and isinstance(node.effect, ActivationEffect)]
    weighted = [law for law in laws if isinstance(law, ProductEffect) and law.weight.mean == 0 and law.bias.mean == 0]
    if hidden and any(hidden[0].asked) and effects and len(effects) == len(weighted) == len(laws):
        found = _fixed_point(hidden, effects, weighted)
        if found is not None:
            return found
    factors = [_factor(one, other) for one, other in pairwise(hidden)]
    known = [math.log(factor) for factor in factors if factor]
    return Regime(math.exp(sum(known) / len(known))) if known and len(known) == len(factors) else Regime()


def _factor(before: LayerRuns, after: LayerRuns) -> float | None:
    one, other = before.expected_norm(), after.expected_norm()
    return one / other if one is not None and other else None


def _fixed_point(
    hidden: Sequence[LayerRuns], effects: list[ActivationEffect], weighted: list[ProductEffect]
) -> Regime | None:
    known, start = effects[0].known, hidden[0].nodes[0].state
    fans = [layer.first.fan_in or 0 for layer in hidden[1:]]
    weights = [Law(0.0, law.weight.second * fan, law.weight.error) for law, fan in zip(weighted, fans, strict=True)]
    biases = [law.bias for law in weighted]
    differ = any((one.name, one.params) != (effects[0].name, effects[0].params) for one in effects)
    if known is None or start is None or differ or not (_alike(weights) and _alike(biases)):
        return None
    weight, bias = _mean(weights), _mean(biases)
    q0 = max(mean_of(start.q) - bias, 0.0) / weight if weight else 1.0
    point = _fixed_point_of(known, weight, bias, q0)
    if point is None or not math.isfinite(point.chi1):
        return None
    around = [_fixed_point_of(known, w, b, q0) for w in _reach(weight, weights) for b in _reach(bias, biases)]
    chis = [point.chi1, *(one.chi1 for one in around if one is not None)]
    straddles = min(chis) <= 1.0 <= max(chis)
    name = "critical" if straddles else theory.regime(point.chi1, _CRITICAL / len(weighted))
    alone = _fixed_point_of(known, weight, 0.0, q0) if bias else point
    drowned = name == "ordered" and alone is not None and alone.q < _NOTHING * point.q
    return Regime(point.chi1, _finite(point.xi_q), _finite(point.xi_c), name, settled=True, drowned=drowned)


def _fixed_point_of(known: theory.Activation, weight: float, bias: float, q0: float) -> theory.FixedPoint | None:
    try:
        return theory.fixed_point(known, sigma_w2=weight, sigma_b2=bias, q0=q0)
    except theory.TheoryError:  # numbers too large for it
        return None


def _mean(laws: Sequence[Law]) -> float:
    return math.fsum(law.second for law in laws) / len(laws)


def _reach(value: float, laws: Sequence[Law]) -> tuple[float, ...]:
    """Return how far a mean variance may be off either way, nothing where it is known."""
    error = _DEVIATIONS * max(law.error for law in laws) / math.sqrt(len(laws))
    return (value * max(1.0 - error, 0.0), value * (1.0 + error)) if error else (value,)


def _alike(laws: Sequence[Law]) -> bool:
    """Tell whether all have one second moment, as far as can be told where it was measured."""
    seconds = [law.second for law in laws]
    return max(seconds) - min(seconds) <= (_SAME + _SPREAD * max(law.error for law in laws)) * max(seconds)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
