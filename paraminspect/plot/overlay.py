"""Schemes over each other: a colour for each scheme, a line for each width and depth of the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from paraminspect.page.signal_layers import digits
from paraminspect.plot.curve import Curve, gradient, has_depths, pre_activation
from paraminspect.plot.panel import COLOURS, QUIET, Line, Look, draw_curve, finish, legend
from paraminspect.plot.picture import POINTS, SMALL, cut, points
from paraminspect.report import Comparison, Signal, Trial

if TYPE_CHECKING:
    from matplotlib.figure import FigureBase

_MARKERS = "os^DvPX*"
_LINES: tuple[Line, ...] = (None, (0, (6, 2)), (0, (6, 2, 1, 2)), (0, (3, 1.5)))
_EXPECTED = (0, (1, 1.5))
_TITLE = "scheme: factor of rms² per layer, forward | backward"
_LINE_HEIGHT = 0.19
_HANDLE = 42  # points beside each label
_FEW = 4
_SPARSE = 3


def draw_schemes(area: FigureBase, comparison: Comparison) -> None:
    """Draw both panels, and below them which line is which, with its factors."""
    forward, backward = area.subplots(1, 2)
    looks = _looks(comparison)
    followed = [
        (trial.signal, look)
        for trial, look in zip(comparison.trials, looks, strict=True)
        if trial.signal and trial.signal.layers
    ]
    panels: tuple[tuple[Callable[[Signal], Curve], str, str], ...] = (
        (pre_activation, "forward: pre-activation", "rms"),
        (gradient, "backward: gradient", "rms of the gradient"),
    )
    by_depth = all(has_depths(signal) for signal, _ in followed)
    x_label = "depth (layer)" if by_depth else "layer, in order of execution"
    for axes, (follow, title, y_label) in zip((forward, backward), panels, strict=True):
        curves = [(follow(signal), look) for signal, look in followed]
        for curve, look in curves:
            draw_curve(axes, curve, look)
        finish(axes, [curve for curve, _ in curves], title, y_label, x_label)
    _legend(area, comparison, looks)


def height_of_legend(comparison: Comparison) -> float:
    """Return how many inches the legend of a comparison takes beyond that of a single signal."""
    labels = _labels(comparison)
    return _LINE_HEIGHT * math.ceil(1 + len(labels) / _columns(labels))


def _looks(comparison: Comparison) -> list[Look]:
    """Give each scheme a colour and a marker, each size of the model a line; the steadiest one is bolder.

    Lines of schemes that give the same stay apart: they are dashed differently, and their markers stand apart.
    """
    schemes = list(dict.fromkeys(trial.scheme for trial in comparison.trials))
    sizes = list(dict.fromkeys((trial.width, trial.depth) for trial in comparison.trials))
    band = 0.13 if len(comparison.trials) <= _FEW else 0
    looks = []
    for at, trial in enumerate(comparison.trials):
        scheme, size = schemes.index(trial.scheme), sizes.index((trial.width, trial.depth))
        rounds = scheme // len(COLOURS)
        line = size if len(sizes) > 1 else scheme
        looks.append(
            Look(
                COLOURS[scheme % len(COLOURS)],
                _MARKERS[(scheme + rounds) % len(_MARKERS)],
                _LINES[(line + rounds) % len(_LINES)],
                2.2 if trial.scheme == comparison.steadiest else 1.3,
                band,
                _EXPECTED,
                (at % _SPARSE, _SPARSE) if trial.signal and len(trial.signal.layers) > _FEW * _SPARSE else (0, 1),
            )
        )
    return looks


def _legend(area: FigureBase, comparison: Comparison, looks: Sequence[Look]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            color=look.colour,
            marker=look.marker,
            markersize=4,
            linestyle=look.line or "-",
            linewidth=look.width,
        )
        for look in looks
    ]
    labels = _labels(comparison)
    handles.append(Line2D([], [], color=QUIET, linewidth=1.1, linestyle=_EXPECTED))
    legend(area, handles, labels, _columns(labels), _TITLE + " (* the steadiest)" * (comparison.steadiest is not None))


def _columns(labels: Sequence[str]) -> int:
    return 2 if max(points(label, SMALL) for label in labels) <= POINTS / 2 - _HANDLE else 1


def _labels(comparison: Comparison) -> list[str]:
    """Return what the lines are, each with the factors of rms² per layer, forward and backward."""
    return [*(_label(trial, comparison) for trial in comparison.trials), "expected"]


def _label(trial: Trial, comparison: Comparison) -> str:
    sizes = (("width", trial.width), ("depth", trial.depth))
    name = ", ".join([cut(trial.scheme, 36), *(f"{head} {size:,}" for head, size in sizes if size is not None)])
    if trial.signal is None:
        return f"{name}: failed"
    factors = (trial.signal.forward.factor, trial.signal.backward.factor)
    both = " | ".join(digits(factor) for factor in factors)
    return f"{name}: {both}{' *' if trial.scheme == comparison.steadiest else ''}"
