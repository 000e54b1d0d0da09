"""The signal's way through the layers as tables: measured beside expected, and as bars on which vanishing is seen.

Layers are not folded: how their figures grow or shrink from one to the next is what the table is for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from paraminspect.page.parts import BROKEN, SUSPICIOUS, Column, Table
from paraminspect.page.pictures import Decades, decades, sparkline
from paraminspect.report import Layer, Signal, SignalHistogram, SignalLayer
from paraminspect.text.escape import code, word
from paraminspect.text.numbers import figure, percent
from paraminspect.text.view import View

LEGEND = "factor: the second moment (rms²) over that of the layer before, of a gradient: after; 1 keeps the size"
_BARS = 16

DIGITS = 3
PRE, OUT, GRADIENT, DEAD, SATURATED, SAMPLES = (
    "pre-activation",
    "activation",
    "gradient",
    "dead",
    "saturated",
    "samples",
)

Get = Callable[[SignalLayer], float | None]


@dataclass(frozen=True)
class Figure:
    """One figure of a layer: under which heads it stands, how it is spelled, how soon it goes when there is no room.

    `of` is what an expected figure is the expected value of, where its group has several; `off` says that a layer's
    is wrong.
    """

    group: str
    head: str
    get: Get
    spell: Callable[[float], str]
    rank: int
    off: Callable[[SignalLayer], bool] = lambda _: False
    of: str = ""

    def cell(self, layer: SignalLayer) -> str:
        """Return the figure, nothing where there is none."""
        value = self.get(layer)
        return "" if value is None else self.spell(value)

    def column(self) -> Column[SignalLayer]:
        """Show the figure of each layer."""
        title = f"{self.group} {self.head} {self.of}".strip()
        return Column(self.head, self.cell, "decimal", self.rank, self.group, tone=self._tone, title=title)

    def _tone(self, layer: SignalLayer) -> str:
        return SUSPICIOUS if self.off(layer) else ""


def digits(value: float | None) -> str:
    """Return as many digits as a net of some hundred units in a layer has to tell, or the sign of unknown."""
    return figure(value, DIGITS)


def _noise(value: float) -> str:
    return figure(value, 2)


def _cosine(value: float) -> str:
    return f"{value:.3f}"


def strays(layer: SignalLayer) -> tuple[bool, bool]:
    """Tell of the factor forward and the factor backward whether it is further from the expected one than chance."""
    expected = layer.expected
    return (
        _stray(layer.forward, expected.forward, layer.tolerance),
        _stray(layer.backward, expected.backward, layer.tolerance),
    )


def _stray(measured: float | None, expected: float | None, tolerance: float | None) -> bool:
    if measured is None or expected is None or tolerance is None:
        return False
    if measured <= 0 or expected <= 0:
        return measured != expected
    return not abs(math.log(measured) - math.log(expected)) <= tolerance


FIGURES: Sequence[Figure] = (
    Figure(PRE, "mean", lambda layer: layer.pre.mean, _noise, 11),
    Figure(PRE, "rms", lambda layer: layer.pre.rms, digits, 1, lambda layer: layer.nonfinite > 0),
    Figure(PRE, "expected", lambda layer: layer.expected.pre.rms, digits, 3, of="rms"),
    Figure(PRE, "factor", lambda layer: layer.forward, digits, 5, lambda layer: strays(layer)[0]),
    Figure(PRE, "expected", lambda layer: layer.expected.forward, digits, 6, of="factor"),
    Figure(OUT, "mean", lambda layer: layer.out.mean, _noise, 11),
    Figure(OUT, "rms", lambda layer: layer.out.rms, digits, 9),
    Figure(OUT, "expected", lambda layer: layer.expected.out.rms, digits, 9),
    Figure(GRADIENT, "rms", lambda layer: layer.grad_rms, digits, 1),
    Figure(GRADIENT, "expected", lambda layer: layer.expected.grad_rms, digits, 3, of="rms"),
    Figure(GRADIENT, "factor", lambda layer: layer.backward, digits, 5, lambda layer: strays(layer)[1]),
    Figure(GRADIENT, "expected", lambda layer: layer.expected.backward, digits, 6, of="factor"),
    Figure(DEAD, "share", lambda layer: layer.dead, percent, 8),
    Figure(DEAD, "expected", lambda layer: layer.expected.dead, percent, 8),
    Figure(SATURATED, "share", lambda layer: layer.saturated, percent, 8),
    Figure(SATURATED, "expected", lambda layer: layer.expected.saturated, percent, 8),
    Figure(SAMPLES, "cosine", lambda layer: layer.cosine, _cosine, 10),
    Figure(SAMPLES, "expected", lambda layer: layer.expected.cosine, _cosine, 10),
    Figure(SAMPLES, "rank", lambda layer: layer.rank, digits, 10),
)
BARS: dict[str, Get] = {PRE: lambda layer: layer.pre.rms, GRADIENT: lambda layer: layer.grad_rms}
"""Which figure of a group is also drawn."""


def wrong_with(layer: SignalLayer) -> str:
    """Say in a few words what is wrong with a layer; nothing where nothing is."""
    forward, backward = strays(layer)
    parts = [
        f"{layer.nonfinite:,} NaN or inf" if layer.nonfinite else "",
        "both factors off" if forward and backward else "factor off" if forward or backward else "",
        f"{layer.symmetric:,} symmetric" if layer.symmetric else "",
    ]
    return ", ".join(filter(None, parts))


# --- the tables --------------------------------------------------------------------------------------------------


def signal_tables(found: Signal, view: View) -> Iterator[Table[SignalLayer]]:
    """Yield the table of layers, and the histograms of each if wanted."""
    layers = found.layers
    yield Table(_columns(layers, view), layers, legend=(LEGEND,), noun="layer", field=".signal.layers")
    if view.histograms and any(layer.pre_histogram or layer.out_histogram for layer in layers):
        pictures = [
            *_names(view),
            *_histogram(PRE, lambda layer: layer.pre_histogram, 1, view),
            *_histogram(OUT, lambda layer: layer.out_histogram, 2, view),
        ]
        yield Table(pictures, layers, noun="layer", field=".signal.layers")


def _columns(layers: Sequence[SignalLayer], view: View) -> list[Column[SignalLayer]]:
    """Return the columns: at 80 characters what the rms is, should be and looks like, both ways; the rest by rank."""
    columns = [*_names(view), Column("type", _type, rank=7)]
    for group, members in groupby(FIGURES, key=lambda one: one.group):
        columns += [one.column() for one in members]
        if group in BARS:
            columns.append(_bars(layers, BARS[group], group, view))
    return [*columns, Column("remark", wrong_with, rank=4, tone=_how_bad)]


def _names(view: View) -> Iterator[Column[SignalLayer]]:
    """Yield the depth, where a layer has one, and the module: in one column where lines have a fixed width."""
    if view.on_paper:
        yield Column("layer", _name)
        yield Column("depth", _depth, "right")
    else:
        yield Column("depth  layer", lambda layer: f"{_depth(layer):>5}  {_name(layer)}")


def _name(layer: SignalLayer) -> str:
    return code(layer.module) or "the model itself"


def _depth(layer: SignalLayer) -> str:
    return "" if layer.depth is None else f"{layer.depth}"


def _type(layer: SignalLayer) -> str:
    """Return what the layer is, and which activation takes what it returns."""
    return " → ".join(map(word, filter(None, (layer.type, layer.activation))))


def _bars(layers: Sequence[SignalLayer], get: Get, group: str, view: View) -> Column[SignalLayer]:
    """Draw a figure as a bar, over the decades that hold it in all layers."""
    scale = decades(map(get, layers)) or Decades(-1, 1)

    def cell(layer: SignalLayer) -> str:
        return scale.bar(get(layer), view.glyphs) if view.decoration else ""

    return Column(scale.ends(), cell, rank=1, group=group, title=f"{group} {' to '.join(scale.ends().split())}")


def _how_bad(layer: SignalLayer) -> str:
    return BROKEN if layer.nonfinite else SUSPICIOUS


def _histogram(
    group: str, get: Callable[[SignalLayer], SignalHistogram | None], rank: int, view: View
) -> Iterator[Column[SignalLayer]]:
    """Draw how a layer's elements lie between the lowest and the highest, which stand at the sides."""

    def picture(layer: SignalLayer) -> str:
        return sparkline(found.counts, view, _BARS) if (found := get(layer)) else ""

    def end(key: str) -> Callable[[SignalLayer], str]:
        return lambda layer: digits(getattr(found, key)) if (found := get(layer)) else ""

    yield Column("low", end("low"), "decimal", rank, group)
    yield Column("histogram", picture, rank=rank, group=group)
    yield Column("high", end("high"), "decimal", rank, group)


# --- layers without a signal -------------------------------------------------------------------------------------


def layers_table(layers: Sequence[Layer], view: View) -> Table[Layer]:
    """Return the table of what each call of a module returned and what gradient came back, in order of execution."""
    width = len(f"{max(layer.index for layer in layers)}")

    def name(layer: Layer) -> str:
        return code(layer.module) or "the model itself"

    def output(key: str, rank: int) -> Column[Layer]:
        return Column(key, lambda layer: figure(getattr(layer.out, key)), "decimal", rank, "output")

    def nonfinite(layer: Layer) -> str:
        found = ((layer.out.nan, "NaN"), (layer.out.inf, "inf"))
        return ", ".join(f"{count:,} {what}" for count, what in found if count)

    if view.on_paper:
        names: list[Column[Layer]] = [Column("layer", name), Column("#", lambda layer: f"{layer.index}", "right")]
    else:
        names = [Column(f"{'#':>{width}}  layer", lambda layer: f"{layer.index:>{width}}  {name(layer)}")]
    columns = [
        *names,
        Column("type", lambda layer: word(layer.type), rank=4),
        output("mean", 5),
        output("rms", 1),
        output("min", 6),
        output("max", 6),
        Column("rms", lambda layer: figure(layer.grad.rms), "decimal", 2, "gradient"),
        Column("", nonfinite, rank=3, tone=lambda _: BROKEN, title="not finite"),
    ]
    return Table(columns, layers, noun="layer", field=".layers")
