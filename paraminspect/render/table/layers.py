"""The signal's way through the layers: what each returned and what gradient came back, in order of execution.

Layers are not folded: how their figures grow or shrink from one to the next is what the table is for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from paraminspect.render.table.layout import Column, lay_out
from paraminspect.render.table.style import BROKEN
from paraminspect.report import Layer, Report
from paraminspect.text.numbers import figure, plural
from paraminspect.text.view import View

_MOST = 40

_Line = Layer | int  # a number: so many layers are left out here


def layers(report: Report, view: View) -> Iterator[str]:
    """Yield the table of layers; on a terminal the middle of a very long one is left out."""
    lines: Sequence[_Line] = report.layers
    if view.width is not None and len(lines) > _MOST:
        half = _MOST // 2
        lines = [*report.layers[:half], len(lines) - 2 * half, *report.layers[-half:]]
    yield from lay_out(_columns(report, view), lines, view)


def _columns(report: Report, view: View) -> list[Column[_Line]]:
    return [
        _name(report, view),
        Column("type", _of_layer(lambda layer: view.text(layer.type)), rank=4),
        _output("mean", 5, view),
        _output("rms", 1, view),
        _output("min", 6, view),
        _output("max", 6, view),
        Column("rms", _of_layer(lambda layer: figure(layer.grad.rms, view.glyphs)), "decimal", 2, "gradient"),
        Column("", _of_layer(_nonfinite), rank=3, style=lambda _: BROKEN),
    ]


def _name(report: Report, view: View) -> Column[_Line]:
    """Show which call it is, and of which module."""
    digits = len(f"{max(layer.index for layer in report.layers)}")

    def cell(line: _Line) -> str:
        if isinstance(line, int):
            return f"{view.glyphs.ellipsis} {plural(line, 'more layer')}"
        return f"{line.index:>{digits}}  {view.text(line.module) or 'the model itself'}"

    return Column(f"{'#':>{digits}}  layer", cell)


def _output(key: str, rank: int, view: View) -> Column[_Line]:
    """Show a figure of what the layer returned."""
    return Column(key, _of_layer(lambda layer: figure(getattr(layer.out, key), view.glyphs)), "decimal", rank, "output")


def _nonfinite(layer: Layer) -> str:
    found = ((layer.out.nan, "NaN"), (layer.out.inf, "inf"))
    return ", ".join(f"{count:,} {what}" for count, what in found if count)


def _of_layer(cell: Callable[[Layer], str]) -> Callable[[_Line], str]:
    return lambda line: "" if isinstance(line, int) else cell(line)
