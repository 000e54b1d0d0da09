"""The coordinate check: how the size of each layer's coordinates goes with the width of the network.

Yang & Hu 2021, Tensor Programs IV; Yang et al. 2022, Tensor Programs V, on coordinate checking: in a network that keeps
its behaviour as it gets wider, ln rms of what a layer returns has slope 0 against ln width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from paraminspect.report import Signal, SignalLayer, Slope, Trial

_KURTOSIS = 5.0  # of q_{l+1}/q_l in a net of rectifiers the variance is 5/n, the largest of the usual ones: Hanin 2018
_DEVIATIONS = 4.0

FIGURES: dict[str, tuple[Callable[[SignalLayer], float | None], Callable[[SignalLayer], float | None]]] = {
    "pre": (lambda layer: layer.pre.rms, lambda layer: layer.expected.pre.rms),
    "out": (lambda layer: layer.out.rms, lambda layer: layer.expected.out.rms),
    "gradient": (lambda layer: layer.grad_rms, lambda layer: layer.expected.grad_rms),
}
"""What is checked of a layer, measured and as theory gives it."""


def slopes_of(trials: Sequence[Trial], seeds: int) -> tuple[Slope, ...]:
    """Return the slopes of every scheme that carries a signal through the same layers at two widths or more."""
    found: list[Slope] = []
    for scheme, group in groupby(trials, key=lambda trial: trial.scheme):
        of_one = [(float(trial.width), trial.signal) for trial in group if trial.width and trial.signal]
        if len({width for width, _ in of_one}) > 1 and _alike([signal for _, signal in of_one]):
            found += _of_scheme(scheme, of_one, seeds)
    return tuple(found)


def _alike(signals: Sequence[Signal]) -> bool:
    return len({tuple((layer.module, layer.type) for layer in _deep(signal)) for signal in signals}) == 1


def _deep(signal: Signal) -> list[SignalLayer]:
    return [layer for layer in signal.layers if layer.depth is not None]


def _of_scheme(scheme: str, found: Sequence[tuple[float, Signal]], seeds: int) -> Iterator[Slope]:
    columns = [_deep(signal) for _, signal in found]
    names = _names(columns[0])
    weights = _least_squares([math.log(width) for width, _ in found])
    for at, name in enumerate(names):
        for figure, (measured, expected) in FIGURES.items():
            slope = _slope(weights, [measured(layers[at]) for layers in columns])
            if slope is None:
                continue
            variances = [
                _variance(layers, at, figure, signal) / seeds
                for layers, (_, signal) in zip(columns, found, strict=True)
            ]
            spread = math.sqrt(sum(weight**2 * one for weight, one in zip(weights, variances, strict=True)))
            theory = _slope(weights, [expected(layers[at]) for layers in columns])
            yield Slope(scheme, name, figure, slope, _DEVIATIONS * spread, theory)


def _names(layers: Sequence[SignalLayer]) -> list[str]:
    """Return a name for each layer, a call after the first one with its number."""
    calls: dict[str, int] = {}
    names = []
    for layer in layers:
        name = layer.module if layer.type != "sum" else f"{layer.module} sum".strip()
        calls[name] = calls.get(name, 0) + 1
        names.append(name if calls[name] == 1 else f"{name} #{calls[name]}")
    return names


def _least_squares(x: Sequence[float]) -> list[float]:
    """Return the weights w for which Σ w·y is the slope of y against `x`."""
    mean = sum(x) / len(x)
    spread = sum((one - mean) ** 2 for one in x)
    return [(one - mean) / spread for one in x]


def _slope(weights: Sequence[float], rms: Sequence[float | None]) -> float | None:
    known = [math.log(one) for one in rms if one is not None and 0 < one < math.inf]
    return sum(w * y for w, y in zip(weights, known, strict=True)) if len(known) == len(weights) else None


def _variance(layers: Sequence[SignalLayer], at: int, figure: str, signal: Signal) -> float:
    """Return the variance of ln rms at a layer for one seed: a quarter of that of ln q, which adds up over layers.

    Forward from the input, whose own second moment is known to 2 over its elements; backward from the output.
    """
    passed = layers[at:] if figure == "gradient" else layers[: at + 1]
    drawn = (signal.samples or 1) * (layers[0].fan_in or 1)
    return (_KURTOSIS * sum(1.0 / (layer.width or 1) for layer in passed) + 2.0 / drawn) / 4.0
