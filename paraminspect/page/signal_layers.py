"""The signal's way through the layers as tables: measured beside expected, and as bars on which vanishing is seen.

A row that stands for a layer of several blocks has its figures in the first and in the last: how they grow or shrink is
what the table is for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from paraminspect.page.parts import BROKEN, SUSPICIOUS, Column, Table
from paraminspect.page.pictures import Decades, decades, sparkline
from paraminspect.page.signal_folding import fold_layers, folded_layers, members_alike
from paraminspect.report import Layer, Signal, SignalHistogram, SignalLayer, SignalMoments
from paraminspect.text.escape import View, code, word
from paraminspect.text.numbers import figure, percent

_Get = Callable[[SignalLayer], float | None]
LEGEND = (
    "factor: rms² over that of the depth before; of a gradient norm² over that of the depth after; 1 keeps the size"
)
PRE, OUT, GRADIENT = "pre-activation", "activation", "gradient"
_DRAWN = {PRE: attrgetter("pre.rms"), GRADIENT: attrgetter("grad_norm")}
"""Which figure of a group is also drawn, as bars."""
_BARS = 16


# --- one layer ---------------------------------------------------------------------------------------------------


def digits(value: float | None) -> str:
    """Return as many digits as a net of some hundred units in a layer has to tell, or the sign of unknown."""
    return figure(value, 3)


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


def wrong_with(layer: SignalLayer) -> str:
    """Say in a few words what is wrong with a layer; nothing where nothing is."""
    forward, backward = strays(layer)
    parts = [
        f"{layer.nonfinite:,} NaN or inf" if layer.nonfinite else "",
        "both factors off" if forward and backward else "factor off" if forward or backward else "",
        f"{layer.symmetric:,} symmetric" if layer.symmetric else "",
    ]
    return ", ".join(filter(None, parts))


def _figure(
    head: str,
    field: str,
    rank: int,
    spell: Callable[[float], str] = digits,
    off: Callable[[SignalLayer], bool] = lambda _: False,
) -> Column[SignalLayer]:
    """Show a figure of each layer that has it; `head` is ``group: head``, and what else a head that stands alone has.

    `off` says that a layer's figure is wrong.
    """
    group, _, head = head.partition(": ")
    get = attrgetter(field)

    def cell(layer: SignalLayer) -> str:
        values = [value for one in members_alike(layer) if (value := get(one)) is not None]
        if len(values) < 2:
            return spell(values[0]) if values else ""
        ends = [spell(value) for value in (values[0], values[-1])]
        return ends[0] if ends[0] == ends[1] else "→".join(ends)

    def tone(layer: SignalLayer) -> str:
        return SUSPICIOUS if off(layer) else ""

    return Column(head.split(" ")[0], cell, "decimal", rank, group, tone=tone, title=f"{group} {head}")


_FIGURES = (
    _figure(f"{PRE}: mean", "pre.mean", 11, _noise),
    _figure(f"{PRE}: rms", "pre.rms", 1, off=lambda layer: layer.nonfinite > 0),
    _figure(f"{PRE}: expected rms", "expected.pre.rms", 3),
    _figure(f"{PRE}: factor", "forward", 5, off=lambda layer: strays(layer)[0]),
    _figure(f"{PRE}: expected factor", "expected.forward", 6),
    _figure(f"{OUT}: mean", "out.mean", 11, _noise),
    _figure(f"{OUT}: rms", "out.rms", 9),
    _figure(f"{OUT}: expected", "expected.out.rms", 9),
    _figure(f"{GRADIENT}: norm", "grad_norm", 1),
    _figure(f"{GRADIENT}: expected norm", "expected.grad_norm", 3),
    _figure(f"{GRADIENT}: factor", "backward", 5, off=lambda layer: strays(layer)[1]),
    _figure(f"{GRADIENT}: expected factor", "expected.backward", 6),
    _figure("dead: share", "dead", 8, percent),
    _figure("dead: expected", "expected.dead", 8, percent),
    _figure("saturated: share", "saturated", 8, percent),
    _figure("saturated: expected", "expected.saturated", 8, percent),
    _figure("samples: cosine", "cosine", 10, _cosine),
    _figure("samples: expected", "expected.cosine", 10, _cosine),
    _figure("samples: rank", "rank", 10),
)


# --- the tables --------------------------------------------------------------------------------------------------


def signal_tables(found: Signal, view: View) -> Iterator[Table[SignalLayer]]:
    """Yield the table of layers, and the histograms of each if wanted."""
    layers = fold_layers(found.layers, wrong_with) if view.fold else found.layers
    note = folded_layers(layers)
    yield Table(_columns(layers, view), layers, note, (LEGEND,), noun="layer", field=".signal.layers")
    if view.histograms and any(layer.pre_histogram or layer.out_histogram for layer in layers):
        pictures = [
            *_names(view),
            *_histogram(PRE, lambda layer: layer.pre_histogram, 1, view),
            *_histogram(OUT, lambda layer: layer.out_histogram, 2, view),
        ]
        yield Table(pictures, layers, note, noun="layer", field=".signal.layers")


def _columns(layers: Sequence[SignalLayer], view: View) -> list[Column[SignalLayer]]:
    """Return the columns: at 80 characters what the rms is, should be and looks like, both ways; the rest by rank."""
    columns = [*_names(view), Column("type", _type, rank=7)]
    for group, figures in groupby(_FIGURES, key=attrgetter("group")):
        columns += figures
        if group in _DRAWN:
            columns.append(_bars(layers, _DRAWN[group], group, view))
    return [*columns, Column("remark", wrong_with, rank=4, tone=_how_bad)]


def _names(view: View) -> Iterator[Column[SignalLayer]]:
    """Yield the depth, where a layer has one, and the module: in one column where lines have a fixed width."""
    if view.on_paper:
        yield Column("layer", _name)
        yield Column("depth", _depth, "right")
    else:
        yield Column("depth  layer", lambda layer: f"{_depth(layer):>5}  {_name(layer)}")


def _name(layer: SignalLayer) -> str:
    times = len(members_alike(layer))
    output = f": {word(layer.output)}" if layer.output else ""
    return f"{code(layer.module) or 'the model itself'}{output}{f' ×{times:,}' if times > 1 else ''}"


def _depth(layer: SignalLayer) -> str:
    """Return the depth of a layer, of several the first and the last."""
    depths = [one.depth for one in members_alike(layer) if one.depth is not None]
    return "..".join(dict.fromkeys(f"{depth}" for depth in (depths[:1] + depths[-1:])))


def _type(layer: SignalLayer) -> str:
    """Return what the layer is, and which activation takes what it returns."""
    return " → ".join(map(word, filter(None, (layer.type, layer.activation))))


def _bars(
    layers: Sequence[SignalLayer], get: Callable[[SignalLayer], float | None], group: str, view: View
) -> Column[SignalLayer]:
    """Draw a figure as a bar, over the decades that hold it in all layers."""
    scale = decades(map(get, layers)) or Decades(-1, 1)

    def cell(layer: SignalLayer) -> str:
        return scale.bar(get(layer), view.glyphs) if view.decoration else ""

    return Column(scale.ends(), cell, rank=2, group=group, title=f"{group} {' to '.join(scale.ends().split())}")


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


class _LayerRow(NamedTuple):
    """One call of a module, or one in each of several blocks; `name` is the pattern that expands to theirs."""

    name: str
    layers: tuple[Layer, ...]


def layers_table(layers: Sequence[Layer], view: View) -> Table[_LayerRow]:
    """Return the table of what each call of a module returned and what gradient came back, in order of execution."""
    rows = [_LayerRow(layer.module, (layer,)) for layer in layers]
    note = ""
    if view.fold:
        alike = fold_layers([_as_signal(at, layer) for at, layer in enumerate(layers)], wrong_with)
        rows = [_LayerRow(one.module, tuple(layers[each.index] for each in members_alike(one))) for one in alike]
        note = folded_layers(alike)
    return Table(_columns_of_calls(rows, view), rows, note, noun="layer", field=".layers")


def _as_signal(at: int, layer: Layer) -> SignalLayer:
    broken = (layer.out.nan or 0) + (layer.out.inf or 0)
    rms = SignalMoments(layer.out.mean, layer.out.rms)
    return SignalLayer(at, layer.module, layer.type, pre=rms, grad_norm=layer.grad.rms, nonfinite=broken)


def _columns_of_calls(rows: Sequence[_LayerRow], view: View) -> list[Column[_LayerRow]]:
    width = len(f"{max(row.layers[0].index for row in rows)}")

    def name(row: _LayerRow) -> str:
        times = f" ×{len(row.layers):,}" if len(row.layers) > 1 else ""
        return f"{code(row.name) or 'the model itself'}{times}"

    def ends(head: str, field: str, rank: int, group: str) -> Column[_LayerRow]:
        get = attrgetter(field)

        def cell(row: _LayerRow) -> str:
            return "→".join(dict.fromkeys(figure(get(layer)) for layer in (row.layers[0], row.layers[-1])))

        return Column(head, cell, "decimal", rank, group)

    def nonfinite(row: _LayerRow) -> str:
        found = ((row.layers[0].out.nan, "NaN"), (row.layers[0].out.inf, "inf"))
        return ", ".join(f"{count:,} {what}" for count, what in found if count)

    if view.on_paper:
        names: list[Column[_LayerRow]] = [
            Column("layer", name),
            Column("#", lambda row: f"{row.layers[0].index}", "right"),
        ]
    else:
        names = [Column(f"{'#':>{width}}  layer", lambda row: f"{row.layers[0].index:>{width}}  {name(row)}")]
    return [
        *names,
        Column("type", lambda row: word(row.layers[0].type), rank=4),
        ends("mean", "out.mean", 5, "output"),
        ends("rms", "out.rms", 1, "output"),
        ends("min", "out.min", 6, "output"),
        ends("max", "out.max", 6, "output"),
        ends("rms", "grad.rms", 2, "gradient"),
        Column("", nonfinite, rank=3, tone=lambda _: BROKEN, title="not finite"),
    ]
