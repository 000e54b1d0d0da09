"""What a comparison of schemes says, in every format that people read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from paraminspect.render.heading import experiment, totals
from paraminspect.report import Comparison, Course, Report, Signal, SignalLayer, Slope, Trial
from paraminspect.text.numbers import figure, percent, plural
from paraminspect.text.view import Glyphs, View

FORWARD = ("pre", "out")
FIGURES = {
    "q last": "q_last",
    "gradient first/last": "gradient_ratio",
    "loss": "loss",
    "ln C": "expected_loss",
}
SHARES = {"dead": "dead", "dead in theory": "expected_dead", "saturated": "saturated"}
_BARS = 8
_DIGITS = 3
_MOST_DECADES = 6.0
_RETURNS = {True: "returns", False: "return"}
_GOES = {True: "return grows", False: "return shrinks"}
_ZERO, _NONFINITE = "0", "!"


# --- what was compared -------------------------------------------------------------------------------------------


def title(report: Report, view: View) -> str:
    """Say what was compared on; of several sizes it is the first that is counted."""
    found = report.comparison
    first = found.trials[0] if found and found.trials else None
    return totals(report, view) + (f", at {size}" if first and (size := _size(first)) else "")


def setting(report: Report, view: View) -> list[str]:
    """Say in a few parts what every run had in common: seeds, input, device, version."""
    seed, found = report.environment.seed, report.comparison
    count = found.seeds if found else 0
    seeds = (
        plural(count, "seed")
        if seed is None
        else f"seed {seed}"
        if count == 1
        else f"seeds {seed} to {seed + count - 1}"
    )
    forward = report.forward and replace(report.forward, loss_name=None)
    return [
        seeds,
        *experiment(replace(report, environment=replace(report.environment, seed=None), forward=forward), view),
    ]


def _size(trial: Trial) -> str:
    sizes = (("width", trial.width), ("depth", trial.depth))
    return ", ".join(f"{what} {size:,}" for what, size in sizes if size is not None)


# --- one trial ---------------------------------------------------------------------------------------------------


def course(trial: Trial, about: str) -> Course:
    """Return a trial's course, an unknown one where it failed."""
    found: Course = getattr(trial.signal, about) if trial.signal else Course()
    return found


def verdict(trial: Trial, about: str) -> str:
    """Return the verdict in a word."""
    return course(trial, about).verdict if trial.signal else "failed"


def judgement(trial: Trial, about: str) -> str:
    """Return the verdict with what one has to know about it: its power law, or the depth where the signal is gone."""
    found = course(trial, about)
    if found.leaves is not None and not found.extrapolated and found.verdict not in ("steady", "unknown"):
        return f"{found.verdict} at {found.leaves:,}"
    if found.verdict == "steady" and found.law == "power law":
        return "steady, power"
    return verdict(trial, about)


def number(value: float | None, view: View) -> str:
    """Return a figure with three digits."""
    return figure(value, view.glyphs, _DIGITS)


def known(value: float | None, view: View) -> str:
    """Return a figure with three digits; nothing where there is none."""
    return "" if value is None else number(value, view)


def share(value: float | None) -> str:
    """Return a share in percent; nothing where there is none."""
    return "" if value is None else percent(value)


# --- the rms through depth, small --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """The decades, above and below the rms that a signal starts with, that bars are drawn on."""

    low: float
    high: float

    def draw(self, steps: Sequence[float], glyphs: Glyphs) -> str:
        """Draw a course: a bar for each step, 0 where the signal is gone, an exclamation mark where it overflowed."""
        last = len(steps) - 1
        chosen = [steps[round(i * last / (_BARS - 1))] for i in range(_BARS)] if last >= _BARS else steps
        return "".join(self._bar(step, glyphs.bars) for step in chosen)

    def _bar(self, step: float, bars: str) -> str:
        if math.isnan(step) or step == math.inf:
            return _NONFINITE
        if step == -math.inf:
            return _ZERO
        height = (min(max(step, self.low), self.high) - self.low) / (self.high - self.low)
        return bars[round(height * (len(bars) - 1))]


def scale(courses: Iterable[Sequence[float]]) -> Scale:
    """Return the scale on which courses can be compared: one decade up and down at least, what is steady looks so."""
    known = [step for steps in courses for step in steps if math.isfinite(step)]
    low, high = min([*known, -1.0]), max([*known, 1.0])
    return Scale(max(low, -_MOST_DECADES), min(high, _MOST_DECADES))


def forward_steps(signal: Signal | None) -> list[float]:
    """Return by depth how many decades the rms is above that of the first layer."""
    return _steps(signal, lambda layer: layer.pre.rms, 0)


def backward_steps(signal: Signal | None) -> list[float]:
    """Return by depth how many decades the rms of the gradient is above that at the last layer."""
    return _steps(signal, lambda layer: layer.grad_rms, -1)


def _steps(signal: Signal | None, pick: Callable[[SignalLayer], float | None], start: int) -> list[float]:
    layers = [layer for layer in signal.layers if layer.depth is not None] if signal else []
    found = [math.nan if (rms := pick(layer)) is None else rms for layer in layers]
    if not found or not 0 < found[start] < math.inf:
        return []
    return [_decades(rms) - _decades(found[start]) for rms in found]


def _decades(rms: float) -> float:
    return math.log10(rms) if rms > 0 else math.nan if math.isnan(rms) else -math.inf


# --- what comes out ----------------------------------------------------------------------------------------------


def summary(comparison: Comparison, show: Callable[[str], str], view: View) -> Iterator[tuple[str, str]]:
    """Yield which scheme is steadiest and why, what failed, and what goes with the width; `show` makes texts safe."""
    if comparison.steadiest is not None or comparison.reason is not None:
        yield "steadiest", ": ".join(show(part) for part in (comparison.steadiest, comparison.reason) if part)
    for trial in comparison.trials:
        if trial.error is not None:
            size = _size(trial)
            yield "failed", f"{show(trial.scheme)}{f' at {size}' if size else ''}: {show(trial.error)}"
    for scheme in dict.fromkeys(slope.scheme for slope in comparison.slopes):
        slopes = [slope for slope in comparison.slopes if slope.scheme == scheme]
        yield "width", f"{show(scheme)}: {_across(slopes, show, view)}"


def is_off(slope: Slope) -> bool:
    """Tell whether what a layer returns goes with the width, more than by chance."""
    return slope.figure in FORWARD and slope.tolerance is not None and abs(slope.slope) > slope.tolerance


def _across(slopes: Sequence[Slope], show: Callable[[str], str], view: View) -> str:
    layers = {slope.layer for slope in slopes}
    off = [slope for slope in slopes if is_off(slope)]
    if not off:
        return f"what {plural(len(layers), 'layer')} {_RETURNS[len(layers) == 1]} goes with it no more than by chance"
    worst = max(off, key=lambda slope: abs(slope.slope))
    told = f"{len({slope.layer for slope in off}):,} of {plural(len(layers), 'layer')} {_GOES[worst.slope > 0]}"
    figures = f"{number(worst.slope, view)}, give or take {number(worst.tolerance, view)}"
    return f"what {told} with it, most in {show(worst.layer)}: slope of ln rms {figures}"
