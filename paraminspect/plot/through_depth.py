"""The signal of one net: forward to the left, backward to the right, measured over its band of expectation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from paraminspect.page.signal_layers import digits
from paraminspect.page.signal_verdicts import law_of, shrinks
from paraminspect.plot.curve import Curve, activation, gradient, has_depths, pre_activation
from paraminspect.plot.panel import BLUE, GREEN, QUIET, VERMILLION, Look, draw_curve, finish, legend
from paraminspect.plot.picture import cut
from paraminspect.report import Course, Signal
from paraminspect.rules.signal_rules import BREAKS

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

_WORD = 0.36
_PRE, _OUT, _GRADIENT = Look(BLUE, "o"), Look(VERMILLION, "s", width=1.1, band=0), Look(GREEN, "^")


def draw_signal(area: FigureBase, signal: Signal) -> None:
    """Draw both panels and the legend below them."""
    forward, backward = area.subplots(1, 2)
    pre, out, back = pre_activation(signal), activation(signal), gradient(signal)
    acting = any(not math.isnan(value) for value in out.measured) or bool(out.zeros or out.broken)
    for curve, look in ((pre, _PRE), *(((out, _OUT),) if acting else ())):
        draw_curve(forward, curve, look)
    draw_curve(backward, back, _GRADIENT)
    x_label = "depth (layer)" if has_depths(signal) else "layer, in order of execution"
    curves = (pre, out) if acting else (pre,)
    finish(forward, curves, _judged("forward", signal.forward), "rms", x_label)
    finish(backward, (back,), _judged("backward", signal.backward), "norm of the gradient", x_label)
    _where_it_leaves(forward, signal.forward, curves)
    _where_it_leaves(backward, signal.backward, (back,), backward=True)
    _legend(area, acting, (pre, out, back))


def _judged(head: str, course: Course) -> str:
    """Return the verdict and the factor beside the expected one, as the title of a panel."""
    verdict = f"{head}: {cut(course.verdict, 24)}{law_of(course)}"
    if course.factor is None:
        return verdict
    expected = "" if course.expected is None else f" (expected {digits(course.expected)})"
    what = "rms²" if head == "forward" else "norm²"
    return f"{verdict}\n{what} × {digits(course.factor)} per layer{expected}"


def _where_it_leaves(axes: Axes, course: Course, curves: Sequence[Curve], backward: bool = False) -> None:
    """Mark the depth at which the rms leaves three decades, with a word where the curves are furthest from it."""
    depths = curves[0].depths
    if course.leaves is None or course.extrapolated or course.leaves not in depths:
        return
    what = BREAKS.get(course.verdict, "below 1/1000" if shrinks(course) else "above 1000 ×")
    right, top = _corner(axes, course.leaves, curves)
    axes.axvline(course.leaves, color=QUIET, linewidth=0.9, linestyle=":")
    axes.annotate(
        f"{what}\nat depth {'≤' if backward else '≥'} {course.leaves}",
        (course.leaves, 0.98 if top else 0.02),
        xycoords=axes.get_xaxis_transform(),
        xytext=(4 if right else -4, 0),
        textcoords="offset points",
        horizontalalignment="left" if right else "right",
        verticalalignment="top" if top else "bottom",
        fontsize=9,
        color=QUIET,
    )


def _corner(axes: Axes, depth: int, curves: Sequence[Curve]) -> tuple[bool, bool]:
    """Tell whether a word beside a depth goes to its right, and whether to the top: where the most room is."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    width = _WORD * (right - left)
    to_the_right = depth + width <= right
    start, end = (depth, depth + width) if to_the_right else (depth - width, depth)
    passing = [
        (height - low) / (high - low)
        for curve in curves
        for at, height in zip(curve.depths, curve.measured, strict=True)
        if start <= at <= end and not math.isnan(height)
    ]
    return to_the_right, 1 - max(passing, default=0.0) >= min(passing, default=1.0)


def _legend(area: FigureBase, acting: bool, curves: tuple[Curve, ...]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    def line(look: Look) -> Artist:
        return Line2D([], [], color=look.colour, marker=look.marker, markersize=4, linewidth=look.width)

    entries: list[tuple[Artist, str]] = [(line(_PRE), "pre-activation")]
    if acting:
        entries.append((line(_OUT), "activation"))
    entries.append((line(_GRADIENT), "gradient"))
    if any(not math.isnan(value) for curve in curves for value in curve.expected):
        entries.append((Line2D([], [], color=QUIET, linewidth=1.1, linestyle=(0, (4, 2))), "expected"))
        entries.append((Patch(facecolor=QUIET, alpha=0.2), "tolerance"))
    if any(curve.zeros for curve in curves):
        entries.append((Line2D([], [], color=QUIET, marker="v", linestyle="", markersize=5), "exactly 0"))
    if any(curve.broken for curve in curves):
        entries.append((Line2D([], [], color=QUIET, marker="x", linestyle="", markersize=5), "NaN or infinite"))
    legend(area, [artist for artist, _ in entries], [label for _, label in entries], columns=len(entries))
