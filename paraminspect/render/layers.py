"""What is shown of a layer that the signal went through, in every format that people read: one list of figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from paraminspect.report import SignalLayer
from paraminspect.text.numbers import figure, percent
from paraminspect.text.view import Glyphs

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
    spell: Callable[[float, Glyphs], str]
    rank: int
    off: Callable[[SignalLayer], bool] = lambda _: False
    of: str = ""

    @property
    def title(self) -> str:
        """Return a head that stands alone."""
        return " ".join(filter(None, (self.group, self.head, self.of)))

    def cell(self, layer: SignalLayer, glyphs: Glyphs) -> str:
        """Return the figure, nothing where there is none."""
        value = self.get(layer)
        return "" if value is None else self.spell(value, glyphs)


def digits(value: float | None, glyphs: Glyphs) -> str:
    """Return as many digits as a net of some hundred units in a layer has to tell, or the sign of unknown."""
    return figure(value, glyphs, DIGITS)


def _noise(value: float, glyphs: Glyphs) -> str:
    return figure(value, glyphs, 2)


def _cosine(value: float, _glyphs: Glyphs) -> str:
    return f"{value:.3f}"


def _percent(value: float, _glyphs: Glyphs) -> str:
    return percent(value)


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
    Figure(DEAD, "share", lambda layer: layer.dead, _percent, 8),
    Figure(DEAD, "expected", lambda layer: layer.expected.dead, _percent, 8),
    Figure(SATURATED, "share", lambda layer: layer.saturated, _percent, 8),
    Figure(SATURATED, "expected", lambda layer: layer.expected.saturated, _percent, 8),
    Figure(SAMPLES, "cosine", lambda layer: layer.cosine, _cosine, 10),
    Figure(SAMPLES, "expected", lambda layer: layer.expected.cosine, _cosine, 10),
    Figure(SAMPLES, "rank", lambda layer: layer.rank, digits, 10),
)
BARS: dict[str, Get] = {PRE: lambda layer: layer.pre.rms, GRADIENT: lambda layer: layer.grad_rms}
"""Which figure of a group is also drawn."""


def type_of(layer: SignalLayer, shown: Callable[[str], str], glyphs: Glyphs) -> str:
    """Return what the layer is, and which activation takes what it returns."""
    return f" {glyphs.arrow} ".join(map(shown, filter(None, (layer.type, layer.activation))))


def wrong_with(layer: SignalLayer) -> str:
    """Say in a few words what is wrong with a layer; nothing where nothing is."""
    forward, backward = strays(layer)
    parts = [
        f"{layer.nonfinite:,} NaN or inf" if layer.nonfinite else "",
        "both factors off" if forward and backward else "factor off" if forward or backward else "",
        f"{layer.symmetric:,} symmetric" if layer.symmetric else "",
    ]
    return ", ".join(filter(None, parts))
