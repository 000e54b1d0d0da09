"""The signal's way through the layers: measured beside expected, and as bars on which vanishing is seen.

Layers are not folded: how their figures grow or shrink from one to the next is what the table is for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from paraminspect.render.bars import Decades, decades
from paraminspect.render.layers import BARS, FIGURES, OUT, PRE, Figure, Get, digits, type_of, wrong_with
from paraminspect.render.signal import LEGEND, conditions
from paraminspect.render.table.folding import entry, fold
from paraminspect.render.table.layout import Column, lay_out
from paraminspect.render.table.style import BROKEN, QUIET, SUSPICIOUS, paint
from paraminspect.report import Signal, SignalHistogram, SignalLayer
from paraminspect.text.numbers import plural, sparkline
from paraminspect.text.view import View

MOST = 40
_BARS = 16

_Line = SignalLayer | int  # a number: so many layers are left out here


def signal(found: Signal, view: View) -> Iterator[str]:
    """Yield what went through, the table of layers, what its factors are, and the histograms if wanted."""
    yield from entry("signal", conditions(found, view.glyphs), view)
    yield "\n"
    if not found.layers:
        yield "no layers\n"
        return
    lines = _lines(found.layers, view)
    yield from lay_out(_columns(found.layers, view), lines, view)
    yield from _legend(view)
    if view.histograms and any(layer.pre_histogram or layer.out_histogram for layer in found.layers):
        yield "\n"
        yield from lay_out(_pictures(view), lines, view)


def _lines(layers: Sequence[SignalLayer], view: View) -> Sequence[_Line]:
    """Return the layers; on a terminal the middle of very many is left out."""
    if view.width is None or len(layers) <= MOST:
        return layers
    half = MOST // 2
    return [*layers[:half], len(layers) - 2 * half, *layers[-half:]]


def _legend(view: View) -> Iterator[str]:
    """Yield one line on what a factor is, where it fits on one."""
    text = view.text(LEGEND)
    if len(fold(text, view)) == 1:
        yield paint(text, QUIET, view.colour) + "\n"


def _columns(layers: Sequence[SignalLayer], view: View) -> list[Column[_Line]]:
    """Return the columns: at 80 characters what the rms is, should be and looks like, both ways; the rest by rank."""
    columns = [_name(view), Column("type", _of_layer(lambda layer: type_of(layer, view.text, view.glyphs)), rank=7)]
    for group, members in groupby(FIGURES, key=lambda one: one.group):
        columns += [_figure(one, view) for one in members]
        if group in BARS:
            columns.append(_bars(layers, BARS[group], group, view))
    return [*columns, Column("remark", _of_layer(wrong_with), rank=4, style=_how_bad)]


def _name(view: View) -> Column[_Line]:
    """Show the depth, where a layer has one, and the module."""

    def cell(line: _Line) -> str:
        if isinstance(line, int):
            return f"{view.glyphs.ellipsis} {plural(line, 'more layer')}"
        depth = "" if line.depth is None else f"{line.depth}"
        return f"{depth:>5}  {view.text(line.module) or 'the model itself'}"

    return Column("depth  layer", cell)


def _figure(one: Figure, view: View) -> Column[_Line]:
    def style(line: _Line) -> str:
        return SUSPICIOUS if not isinstance(line, int) and one.off(line) else ""

    return Column(
        one.head, _of_layer(lambda layer: one.cell(layer, view.glyphs)), "decimal", one.rank, one.group, style=style
    )


def _bars(layers: Sequence[SignalLayer], get: Get, group: str, view: View) -> Column[_Line]:
    """Draw a figure as a bar, over the decades that hold it in all layers."""
    scale = decades(map(get, layers)) or Decades(-1, 1)

    def cell(layer: SignalLayer) -> str:
        return scale.bar(get(layer), view.glyphs) if view.decoration else ""

    return Column(scale.ends(), _of_layer(cell), rank=1, group=group)


def _how_bad(line: _Line) -> str:
    return BROKEN if not isinstance(line, int) and line.nonfinite else SUSPICIOUS


def _pictures(view: View) -> list[Column[_Line]]:
    return [
        _name(view),
        *_histogram(PRE, lambda layer: layer.pre_histogram, 1, view),
        *_histogram(OUT, lambda layer: layer.out_histogram, 2, view),
    ]


def _histogram(
    group: str, get: Callable[[SignalLayer], SignalHistogram | None], rank: int, view: View
) -> Iterator[Column[_Line]]:
    """Draw how a layer's elements lie between the lowest and the highest, which stand at the sides."""

    def picture(layer: SignalLayer) -> str:
        found = get(layer)
        return sparkline(found.counts, view.glyphs, _BARS) if found and view.decoration else ""

    def end(key: str) -> Callable[[SignalLayer], str]:
        return lambda layer: digits(getattr(found, key), view.glyphs) if (found := get(layer)) else ""

    yield Column("low", _of_layer(end("low")), "decimal", rank, group)
    yield Column("histogram", _of_layer(picture), rank=rank, group=group)
    yield Column("high", _of_layer(end("high")), "decimal", rank, group)


def _of_layer(cell: Callable[[SignalLayer], str]) -> Callable[[_Line], str]:
    return lambda line: "" if isinstance(line, int) else cell(line)
