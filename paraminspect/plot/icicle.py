"""Where parameters, multiply-adds and saved bytes are: for each a band as wide as the whole, divided level by level.

Below a module stand those that it holds, each as wide as its share. The width that no box below takes is what the
module has itself. One colour is one module right below the model, the same in all the bands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from paraminspect.frozen import dataclass
from paraminspect.plot.module_boxes import Box, ModuleBoxes
from paraminspect.plot.panel import QUIET
from paraminspect.plot.picture import POINTS, SMALL, cut, fitted, points
from paraminspect.text.numbers import size, with_prefix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

MOST_LEVELS = 6
_LEVEL, _HEAD, _AROUND = 0.24, 0.32, 0.85
_COLOURS = ("#8fc1e3", "#f4b183", "#8fd3b6", "#f0d58a", "#dfb0cf", "#b3b6e8", "#cfdc8c")
"""The palette of Okabe and Ito, so pale that black text can be read on it; for the largest modules."""
_OTHER = "#d0d0d0"
_EMPTY = "#f2f2f2"
_PALER, _PALEST = 0.22, 0.6
_MARGIN = 4.0
_HINTED = 0.97
"""A screen draws letters on whole dots, a little wider than they are."""
_NARROW, _LEAST = 2.0, 5.0
_FEWEST = 3
_EXPLAINED = "below a module those it holds, as wide as their share · one colour: one module · ×2: two that are alike"


@dataclass(frozen=True)
class _Quantity:
    """One of the bands: what it is called, and how its total is written."""

    title: str
    total: Callable[[int], str]


_QUANTITIES = (
    _Quantity("parameters", with_prefix),
    _Quantity("MACs of the forward", with_prefix),
    _Quantity("saved for the backward", size),
)


def height_of_icicle(found: ModuleBoxes) -> float:
    """Return how many inches the bands take."""
    return _AROUND + sum(_heights(found))


def _heights(found: ModuleBoxes) -> list[float]:
    """Return the height of each band: one without any amount is its title alone."""
    return [_HEAD + _LEVEL * found.levels(at) for at in range(len(found.totals))]


def draw_icicle(area: FigureBase, found: ModuleBoxes, least: Sequence[bool]) -> None:
    """Draw the bands; `least` says of which quantities the total is one of at least."""
    heights, colours = _heights(found), _colours(found)
    bands = area.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for at, axes in enumerate(bands):
        axes.set_axis_off()
        total, levels = found.totals[at], found.levels(at)
        axes.set_title(_title(_QUANTITIES[at], total, least[at]))
        axes.set_xlim(0, 1)
        axes.set_ylim(levels or 1, 0)
        if total:
            _band(axes, found, at, total, colours)
    area.supxlabel(_EXPLAINED, x=0.01, horizontalalignment="left", fontsize=SMALL, color=QUIET)


def _colours(found: ModuleBoxes) -> dict[int, str]:
    """Give a colour to each of the largest modules right below the model, in the order of the model."""
    shares = found.shares()
    largest = sorted(shares, key=lambda top: (-shares[top], top))[: len(_COLOURS)]
    return dict(zip(sorted(largest), _COLOURS, strict=False))


def _title(quantity: _Quantity, total: int | None, least: bool) -> str:
    known = "not known" if total is None else f"{'at least ' if least else ''}{quantity.total(total)}"
    return f"{quantity.title}: {known}"


def _band(axes: Axes, found: ModuleBoxes, at: int, total: int, tops: Mapping[int, str]) -> None:
    """Draw one band: behind all the first level in grey, which is what the model holds itself."""
    from matplotlib.collections import PolyCollection

    shapes, colours = [_rectangle(0, 1, 0)], [_EMPTY]
    for level in range(1, found.levels(at) + 1):
        placed = [(box.starts[at] / total, box.sizes[at] / total, box) for box in found.boxes if box.level == level]
        for start, width, colour in _runs([one for one in placed if one[1]], tops):
            shapes.append(_rectangle(start, width, level - 1))
            colours.append(_paler(colour, min(_PALER * (level - 1), _PALEST)))
        for start, width, box in placed:
            _write(axes, box, start, width)
    axes.add_collection(PolyCollection(shapes, facecolors=colours, edgecolors="none"), autolim=False)


def _paler(colour: str, by: float) -> str:
    """Return a colour so much nearer to white."""
    parts = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(part + (255 - part) * by):02x}" for part in parts)


def _runs(placed: Sequence[tuple[float, float, Box]], tops: Mapping[int, str]) -> Iterator[tuple[float, float, str]]:
    """Yield where a colour begins and how wide it is: boxes too narrow to be seen apart are one up to the next."""
    edge = 1 / POINTS
    start, end, colour = 0.0, 0.0, ""
    for begin, width, box in placed:
        own = tops.get(box.top, _OTHER)
        narrow = width < _NARROW * edge
        if colour and (own != colour or not narrow or begin - end > edge / 4):
            yield start, end - start, colour
            colour = ""
        if not narrow:
            yield begin, width - edge / 1.5, own
        elif not colour:
            start, end, colour = begin, begin + width, own
        else:
            end = begin + width
    if colour:
        yield start, end - start, colour


def _rectangle(start: float, width: float, level: int) -> list[tuple[float, float]]:
    top, bottom = level + 0.03, level + 0.97
    return [(start, top), (start + width, top), (start + width, bottom), (start, bottom)]


def _write(axes: Axes, box: Box, start: float, width: float) -> None:
    """Write into a box as much as it has room for: name, class, how many and share, or the beginning of the name."""
    room = (width * POINTS - _MARGIN) * _HINTED
    if room < _LEAST:
        return
    text = next((text for text in _texts(box, width) if points(text, SMALL) <= room), "")
    text = text or fitted(cut(box.name or box.type, 40), SMALL, room)
    if len(text) <= _FEWEST and text.endswith("…"):
        return
    place = start + _MARGIN / 2 / POINTS, box.level - 0.5
    axes.text(*place, text, fontsize=SMALL, verticalalignment="center_baseline", clip_on=True)


def _texts(box: Box, width: float) -> Iterator[str]:
    """Yield what a box could say, the most first."""
    name, kind = cut(box.name, 60), cut(box.type, 40)
    times = f"×{box.times:,}" if box.times > 1 else ""
    share = f" {width:.0%}" if width >= 0.01 else f" {width:.1%}"
    for parts in ((name, kind, times, share), (name or kind, times, share), (name or kind, times), (name or kind,)):
        yield " ".join(filter(None, parts))
