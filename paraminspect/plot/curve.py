"""The figures of a picture: the rms at every depth, the expected one, and how far chance lets a net of this size go."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from paraminspect.frozen import dataclass
from paraminspect.report import Signal, SignalLayer

LEAST, MOST = 1e-300, 1e300
_Get = Callable[[SignalLayer], float | None]
_nan = math.nan


@dataclass(frozen=True)
class Curve:
    """One line of a picture, in decades (log10 of the rms); NaN where there is nothing to draw.

    `low` and `high` bound the band around `expected`. `zeros` and `broken` are the depths at which the rms is exactly
    0 and at which it is no number.
    """

    depths: tuple[int, ...]
    measured: tuple[float, ...]
    expected: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    zeros: tuple[int, ...] = ()
    broken: tuple[int, ...] = ()

    @property
    def reach(self) -> list[float]:
        """Return all that is to be seen, without the band, which may be wider than the picture."""
        return [value for value in (*self.measured, *self.expected) if not math.isnan(value)]


def has_depths(signal: Signal) -> bool:
    """Tell whether any layer lies on every path from input to output."""
    return any(layer.depth is not None for layer in signal.layers)


def pre_activation(signal: Signal) -> Curve:
    """Follow what the layers return."""
    return _curve(signal, lambda layer: layer.pre.rms, lambda layer: layer.expected.pre.rms, _spread(signal))


def activation(signal: Signal) -> Curve:
    """Follow what the activations make of it, in the layers that have one."""
    acting = [layer.activation is not None for _, layer in _placed(signal)]
    curve = _curve(signal, lambda layer: layer.out.rms, lambda layer: layer.expected.out.rms, _spread(signal))
    return _only(curve, acting)


def gradient(signal: Signal) -> Curve:
    """Follow the gradient that arrives, from the last layer to the first."""
    spread = _spread(signal, backward=True)
    return _curve(signal, lambda layer: layer.grad_norm, lambda layer: layer.expected.grad_norm, spread)


def _placed(signal: Signal) -> list[tuple[int, SignalLayer]]:
    """Return the layers with their depths; where none has any, in order of execution."""
    if has_depths(signal):
        return [(layer.depth, layer) for layer in signal.layers if layer.depth is not None]
    return list(enumerate(signal.layers, 1))


def _spread(signal: Signal, backward: bool = False) -> tuple[float, ...]:
    """Return how many decades the rms may stray at every depth: what each layer passed may add, independently.

    Backward nothing strays at the last depth, where the cotangent arrives: its norm is 1.
    """
    layers = [layer for _, layer in _placed(signal)][:: -1 if backward else 1]
    total, spread = 0.0, []
    for at, layer in enumerate(layers):
        if layer.tolerance is not None and math.isfinite(layer.tolerance) and (at or not backward):
            total += layer.tolerance**2
        spread.append(math.sqrt(total) / 2 / math.log(10))  # of the rms: half of what it is for its square
    return tuple(spread[:: -1 if backward else 1])


def _curve(signal: Signal, measured: _Get, expected: _Get, spread: Sequence[float]) -> Curve:
    placed = _placed(signal)
    found = [(depth, measured(layer)) for depth, layer in placed]
    wanted = [_decades(expected(layer)) for _, layer in placed]
    return Curve(
        tuple(depth for depth, _ in placed),
        tuple(_decades(value) for _, value in found),
        tuple(wanted),
        tuple(middle - by for middle, by in zip(wanted, spread, strict=True)),
        tuple(middle + by for middle, by in zip(wanted, spread, strict=True)),
        tuple(depth for depth, value in found if value == 0),
        tuple(depth for depth, value in found if value is not None and not math.isfinite(value)),
    )


def _decades(value: float | None) -> float:
    if value is None or not math.isfinite(value) or value <= 0:
        return _nan
    return math.log10(min(max(value, LEAST), MOST))


def _only(curve: Curve, kept: Sequence[bool]) -> Curve:
    """Blank out what is not kept."""

    def blank(values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(value if keep else _nan for value, keep in zip(values, kept, strict=True))

    shown = {depth for depth, keep in zip(curve.depths, kept, strict=True) if keep}
    return Curve(
        curve.depths,
        blank(curve.measured),
        blank(curve.expected),
        blank(curve.low),
        blank(curve.high),
        tuple(depth for depth in curve.zeros if depth in shown),
        tuple(depth for depth in curve.broken if depth in shown),
    )
