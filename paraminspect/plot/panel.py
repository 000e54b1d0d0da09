"""One pair of axes on which rms is drawn against depth: the scale, the curves, what no logarithm can show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from paraminspect.frozen import dataclass
from paraminspect.plot.curve import Curve
from paraminspect.plot.picture import power

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK, GREY = "#E69F00", "#56B4E9", "#000000", "#8c8c8c"
COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK, GREY)
"""The palette of Okabe and Ito (2008), told apart by all kinds of colour vision; grey for its yellow, pale on white."""
QUIET = "#595959"
Line = tuple[int, tuple[float, ...]] | None
"""Where the first dash of a line begins, and how long dashes and gaps are; None for a solid line."""
_FEWEST_DECADES, _MARGIN, _BAND_BEYOND = 2.0, 0.25, 0.5
_MOST_MARKERS = 40
_MOST_TICKS = 7


@dataclass(frozen=True)
class Look:
    """How a curve is drawn: `expected` is the line of what is, `band` how dark its band, `every` where markers are."""

    colour: str
    marker: str = "o"
    line: Line = None
    width: float = 1.4
    band: float = 0.16
    expected: Line = (0, (4, 2))
    every: tuple[int, int] = (0, 1)


def draw_curve(axes: Axes, curve: Curve, look: Look) -> None:
    """Draw the band, the expected line and the measured points of one curve; a sign for each 0 and each NaN."""
    if look.band:
        axes.fill_between(curve.depths, curve.low, curve.high, color=look.colour, alpha=look.band, linewidth=0)
    axes.plot(curve.depths, curve.expected, color=look.colour, linewidth=1.1, linestyle=look.expected)
    marked = len(curve.depths) <= _MOST_MARKERS * look.every[1]
    axes.plot(
        curve.depths,
        curve.measured,
        color=look.colour,
        linewidth=look.width,
        linestyle=look.line or "-",
        marker=look.marker if marked else "",
        markersize=4,
        markevery=look.every,
    )
    for depths, height, marker in ((curve.zeros, 0.03, "v"), (curve.broken, 0.97, "x")):
        axes.plot(
            depths,
            [height] * len(depths),
            transform=axes.get_xaxis_transform(),
            color=look.colour,
            linestyle="",
            marker=marker,
            markersize=5,
        )


def finish(axes: Axes, curves: Sequence[Curve], title: str, y_label: str, x_label: str) -> None:
    """Set the scales so that everything measured and expected is seen, and label them."""
    depths = [depth for curve in curves for depth in curve.depths]
    first, last = min(depths), max(depths)
    room = max(0.5, (last - first) * 0.04)
    axes.set_xlim(first - room, last + room)
    axes.set_xticks(round_places(first, last, integer=True))
    low, high = _limits(curves)
    axes.set_ylim(low, high)
    ticks = _ticks(low, high)
    axes.set_yticks(ticks, [power(tick) for tick in ticks])
    if high - low <= 4:
        axes.set_yticks(_between(low, high), minor=True)
    axes.set_title(title)
    axes.set_ylabel(y_label)
    axes.set_xlabel(x_label)


def round_places(low: float, high: float, integer: bool = False) -> list[float]:
    """Return some round numbers from `low` to `high`, to stand at an axis."""
    from matplotlib.ticker import MaxNLocator

    places = MaxNLocator(nbins=6, integer=integer).tick_values(low, high)
    return [float(place) for place in places if low <= place <= high]


def _limits(curves: Sequence[Curve]) -> tuple[float, float]:
    """Return the ends of the scale in decades: some at least, so that what is steady looks steady."""
    reach = [value for curve in curves for value in curve.reach] or [0.0]
    low, high = min(reach), max(reach)
    band = [value for curve in curves for value in (*curve.low, *curve.high) if not math.isnan(value)]
    low = max(low - _BAND_BEYOND, min([low, *band]))
    high = min(high + _BAND_BEYOND, max([high, *band]))
    missing = max(0.0, _FEWEST_DECADES - (high - low)) / 2
    margin = _MARGIN + 0.03 * (high - low)
    return low - missing - margin, high + missing + margin


def _ticks(low: float, high: float) -> list[int]:
    """Return whole decades, a few at most."""
    step = max(1, math.ceil((high - low) / _MOST_TICKS))
    first = math.ceil(low / step) * step
    return list(range(first, math.floor(high) + 1, step))


def _between(low: float, high: float) -> list[float]:
    """Return where 2 to 9 times each power of ten lies."""
    decades = range(math.floor(low), math.ceil(high))
    places = [decade + math.log10(digit) for decade in decades for digit in range(2, 10)]
    return [place for place in places if low <= place <= high]


def legend(
    area: FigureBase, handles: Sequence[Artist], labels: Sequence[str], columns: int, title: str | None = None
) -> None:
    """Put a legend below the axes, where it covers nothing; a label may begin with ``_``."""
    placeholders = [str(i) for i in range(len(labels))]
    drawn = area.legend(handles, placeholders, loc="outside lower left", ncols=columns, title=title, alignment="left")
    for text, label in zip(drawn.get_texts(), labels, strict=True):
        text.set_text(label)
