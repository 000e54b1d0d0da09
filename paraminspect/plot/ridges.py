"""How the elements of every layer are distributed: one ridge a layer, the first on top, all on one scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from paraminspect.plot.panel import BLUE, QUIET, VERMILLION, round_places
from paraminspect.plot.picture import cut
from paraminspect.report import Signal, SignalHistogram, SignalLayer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

_MOST = 24
_ROW, _AROUND = 0.24, 1.1
_HIGHEST = 0.86
_FAINT = "#c8c8c8"
_THINNEST = 1 / 150

_Get = Callable[[SignalLayer], SignalHistogram | None]


def has_histograms(signal: Signal) -> bool:
    """Tell whether any layer was counted."""
    return any(layer.pre_histogram or layer.out_histogram for layer in signal.layers)


def height_of(signal: Signal) -> float:
    """Return how many inches the ridges take."""
    return _AROUND + _ROW * max(4, len(_shown(signal)))


def draw_histograms(area: FigureBase, signal: Signal) -> None:
    """Draw the pre-activations to the left and the activations, where there are any, to the right.

    Roots of counts: half of all that a ReLU returns lies in one bin, beside which the others would not be seen.
    """
    layers = _shown(signal)
    panels: list[tuple[str, _Get, str]] = [("pre-activations", lambda layer: layer.pre_histogram, BLUE)]
    if any(map(_acting, layers)):
        panels.append(("activations", _acting, VERMILLION))
    counted = sum(map(_is_counted, signal.layers))
    some = f" ({len(layers)} of {counted:,} layers)" if len(layers) < counted else ""
    found = area.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, get, colour) in zip(found, panels, strict=True):
        _ridges(axes, layers, get, colour)
        axes.set_title(title + some)
        axes.set_xlabel("value (height: √ of the count)")
        axes.set_ylim(len(layers) - 0.5, -1.1)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    found[0].set_ylabel("depth, layer")
    found[0].set_yticks(range(len(layers)), [_name(layer) for layer in layers])


def _acting(layer: SignalLayer) -> SignalHistogram | None:
    """Return how what the activation returned is distributed, where there is one."""
    return None if layer.activation is None else layer.out_histogram


def _is_counted(layer: SignalLayer) -> bool:
    return layer.pre_histogram is not None or layer.out_histogram is not None


def _shown(signal: Signal) -> list[SignalLayer]:
    """Return the layers that were counted; of very many some, evenly spaced, the first and the last among them."""
    layers = [layer for layer in signal.layers if _is_counted(layer)]
    if len(layers) <= _MOST:
        return layers
    return [layers[round(i * (len(layers) - 1) / (_MOST - 1))] for i in range(_MOST)]


def _name(layer: SignalLayer) -> str:
    depth = "" if layer.depth is None else f"{layer.depth}  "
    return f"{depth}{cut(layer.module or 'the model itself', 18)}"


def _ridges(axes: Axes, layers: Sequence[SignalLayer], get: _Get, colour: str) -> None:
    found = [(row, histogram) for row, layer in enumerate(layers) if (histogram := get(layer)) and _is_drawn(histogram)]
    if not found:
        axes.set_xticks([])
        return
    low, high = min(one.low for _, one in found), max(one.high for _, one in found)
    least = (high - low) * _THINNEST or 1.0
    axes.axvline(0, color=QUIET, linewidth=0.8, linestyle=":", zorder=1)
    for row, histogram in found:
        edges = _edges(histogram, least)
        top = max(histogram.counts)
        heights = [row - _HIGHEST * math.sqrt(count / top) for count in histogram.counts]
        axes.plot([low, high], [row, row], color=_FAINT, linewidth=0.6, zorder=1)
        axes.stairs(heights, edges, baseline=row, fill=True, color=colour, linewidth=0, zorder=2)
    axes.set_xlim(low - 2 * least, high + 2 * least)
    axes.set_xticks(round_places(low - least, high + least))


def _is_drawn(histogram: SignalHistogram) -> bool:
    ends = (
        math.isfinite(histogram.low) and math.isfinite(histogram.high) and math.isfinite(histogram.high - histogram.low)
    )
    return ends and any(histogram.counts)


def _edges(histogram: SignalHistogram, least: float) -> list[float]:
    """Return the edges of the bins; what is too narrow to be seen is made as wide as can be."""
    low, high = histogram.low, histogram.high
    if high - low < least:
        middle = low / 2 + high / 2
        low, high = middle - least / 2, middle + least / 2
    bins = len(histogram.counts)
    return [low + (high - low) * i / bins for i in range(bins + 1)]
