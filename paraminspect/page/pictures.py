"""Pictures in a line of text: histograms, bars on a logarithmic scale, courses through depth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeGuard

from paraminspect.frozen import dataclass
from paraminspect.report import Signal, SignalLayer
from paraminspect.text.escape import Glyphs, View

WIDTH = 10
_FEWEST_DECADES = 2
_MOST_DECADES = 6.0
_STEPS = 8
_ZERO, _NONFINITE = "0", "!"


def sparkline(histogram: Sequence[int] | None, view: View, bars: int = _STEPS) -> str:
    """Draw the counts of neighbouring bins as some bars, the tallest full; an empty bin is a space.

    It needs characters of one width, and spaces that stay.
    """
    if not histogram or not view.decoration or view.on_paper:
        return ""
    step = max(1, len(histogram) // bars)
    bins = [sum(histogram[i : i + step]) for i in range(0, len(histogram), step)]
    signs = view.glyphs.bars
    top, last = max(bins), len(signs) - 1
    return "".join(signs[round(count / top * last)] if count > 0 else " " for count in bins)


@dataclass(frozen=True)
class Decades:
    """A scale from ``10**low`` to ``10**high``."""

    low: int
    high: int

    def bar(self, value: float | None, glyphs: Glyphs) -> str:
        """Return a bar that is empty for 0 and for what is not a number, and never for anything else."""
        if not _is_positive(value):
            return ""
        share = (math.log10(value) - self.low) / (self.high - self.low)
        steps = len(glyphs.blocks)
        whole, rest = divmod(max(1, round(min(1, share) * WIDTH * steps)), steps)
        return glyphs.blocks[-1] * whole + (glyphs.blocks[rest - 1] if rest else "")

    def ends(self) -> str:
        """Return the two ends of the scale, to stand over the bars."""
        left = _power(self.low)
        return f"{left}{_power(self.high):>{WIDTH - len(left)}}"


def decades(values: Iterable[float | None]) -> Decades | None:
    """Return the decades that hold all the positive numbers, some at least, so that what is steady looks so."""
    found = [math.log10(value) for value in values if _is_positive(value)]
    if not found:
        return None
    low, high = math.floor(min(found)), math.ceil(max(found))
    return Decades(min(low, high - _FEWEST_DECADES), high)


def _is_positive(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value) and value > 0


def _power(exponent: int) -> str:
    return f"{10**exponent:g}" if -3 <= exponent <= 3 else f"1e{exponent}"


# --- a course through depth --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CourseScale:
    """The decades, above and below the rms that a signal starts with, that bars are drawn on."""

    low: float
    high: float

    def draw(self, steps: Sequence[float], glyphs: Glyphs) -> str:
        """Draw a course: a bar for each step, 0 where the signal is gone, an exclamation mark where it overflowed."""
        last = len(steps) - 1
        chosen = [steps[round(i * last / (_STEPS - 1))] for i in range(_STEPS)] if last >= _STEPS else steps
        return "".join(self._bar(step, glyphs.bars) for step in chosen)

    def _bar(self, step: float, bars: str) -> str:
        if math.isnan(step) or step == math.inf:
            return _NONFINITE
        if step == -math.inf:
            return _ZERO
        height = (min(max(step, self.low), self.high) - self.low) / (self.high - self.low)
        return bars[round(height * (len(bars) - 1))]


def course_scale(courses: Iterable[Sequence[float]]) -> CourseScale:
    """Return the scale on which courses can be compared: one decade up and down at least, what is steady looks so."""
    known = [step for steps in courses for step in steps if math.isfinite(step)]
    low, high = min([*known, -1.0]), max([*known, 1.0])
    return CourseScale(max(low, -_MOST_DECADES), min(high, _MOST_DECADES))


def forward_steps(signal: Signal | None) -> list[float]:
    """Return by depth how many decades the rms is above that of the first layer."""
    return _steps(signal, lambda layer: layer.pre.rms, 0)


def backward_steps(signal: Signal | None) -> list[float]:
    """Return by depth how many decades the rms of the gradient is above that at the last layer."""
    return _steps(signal, lambda layer: layer.grad_norm, -1)


def _steps(signal: Signal | None, pick: Callable[[SignalLayer], float | None], start: int) -> list[float]:
    layers = [layer for layer in signal.layers if layer.depth is not None] if signal else []
    found = [math.nan if (rms := pick(layer)) is None else rms for layer in layers]
    if not found or not 0 < found[start] < math.inf:
        return []
    return [_decades(rms) - _decades(found[start]) for rms in found]


def _decades(rms: float) -> float:
    return math.log10(rms) if rms > 0 else math.nan if math.isnan(rms) else -math.inf
