"""`theory`: what it says of an activation, as a page and as an object."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from paraminspect.page.parts import Code, Page
from paraminspect.text.escape import to_ascii
from paraminspect.text.numbers import UNKNOWN, figure
from paraminspect.text.view import View

if TYPE_CHECKING:
    from paraminspect.theory.fixed_points import FixedPoint
    from paraminspect.theory.summary import Summary, Trajectory

WIDTH = 80
_DIGITS = 6
_BARS = 30
_DECADES = 2.0
_NEAR_ONE = 1e-3
_SPELLINGS = {"σw²": "sigma_w2", "σb²": "sigma_b2", "∞": "inf"}


def theory_object(found: Summary) -> dict[str, Any]:
    """Return what theory says as one object for JSON; None for what does not exist."""
    point, critical, course = found.point, found.critical, found.course
    return {
        "schema": "paraminspect.theory",
        "version": 1,
        "activation": found.activation,
        "params": dict(found.params),
        "moments": dict(found.moments),
        "gains": dict(found.gains),
        "critical": None if critical is None else vars(critical),
        "sigma_w2": found.sigma_w2,
        "sigma_b2": found.sigma_b2,
        **{key: None if point is None else getattr(point, key) for key in ("q", "chi1", "c", "xi_q", "xi_c")},
        "regime": found.regime,
        "q0": None if point is None else found.q0,
        "propagate": None if course is None else course.propagate,
        "cosines": None if course is None else course.cosines,
        "gradients": None if course is None else course.gradients,
        "notes": [*([found.no_critical] if critical is None else []), *(_outcome(found) if point else [])],
    }


def theory(found: Summary, view: View) -> Page:
    """Return the page: gains and moments, the critical point, where depth leads, and the way there."""
    settings = ", ".join(f"{key}={value}" for key, value in found.params.items())
    blocks = [_gains(found, view), _moments(found, view), _critical(found, view)]
    if found.point is not None:
        blocks.append(_limit(found, found.point, view))
    if found.course is not None:
        blocks += [_pictures(found.course, found.q0, view), _layers(found.course, view)]
    name = f"{found.activation}({settings})" if settings else found.activation
    return Page(name, "", (), [Code("\n".join(block)) for block in blocks])


def _text(text: str, view: View) -> str:
    """Return a text of ours in signs the output has."""
    if not view.glyphs.ascii:
        return text
    for sign, spelling in _SPELLINGS.items():
        text = text.replace(sign, spelling)
    return to_ascii(text)


def _shown(value: float | None, view: View) -> str:
    """Return six digits, inf, or the sign of unknown."""
    if value is None or math.isnan(value):
        return _text(UNKNOWN, view)
    return _text("∞", view) if math.isinf(value) else figure(float(value), _DIGITS)


def _entries(rows: Sequence[tuple[str, str, str]], view: View) -> list[str]:
    """Return rows of a name, a figure and what it means, figures aligned at their ends."""
    spelled = [(_text(name, view), value, _text(meaning, view)) for name, value, meaning in rows]
    names, values = (max(len(row[column]) for row in spelled) for column in (0, 1))
    return [f"  {name:<{names}}  {value:>{values}}  {meaning}" for name, value, meaning in spelled]


def _prose(text: str, view: View) -> list[str]:
    spelled = _text(text, view)
    return textwrap.wrap(spelled, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


# --- the activation by itself ------------------------------------------------------------------------------------


def _gains(found: Summary, view: View) -> list[str]:
    gains = found.gains
    rows = [
        ("second moment", _shown(gains["second_moment"], view), "the same second moment; 1/√E φ²"),
        ("gradient", _shown(gains["gradient"], view), "the same squared gradients; 1/√E φ'²"),
        ("torch", _shown(gains["torch"], view), "torch.nn.init.calculate_gain"),
    ]
    return [_text("gain: draw weights with std gain / √fan_in, and the next layer has", view), *_entries(rows, view)]


def _moments(found: Summary, view: View) -> list[str]:
    signs = {
        "mean": ("E φ", "mean of the activation"),
        "second_moment": ("E φ²", "its second moment"),
        "mean_slope": ("E φ'", "mean slope"),
        "slope_moment": ("E φ'²", "its second moment: a factor on squared gradients"),
        "cross_moment": ("E φ·φ'", "mean of activation times slope"),
    }
    rows = [(signs[key][0], _shown(value, view), signs[key][1]) for key, value in found.moments.items()]
    return ["moments under z ~ N(0, 1)", *_entries(rows, view)]


def _critical(found: Summary, view: View) -> list[str]:
    if found.critical is None:
        return ["critical point", *_prose(f"none: {found.no_critical}", view)]
    here = found.critical
    name = "critical point" if found.canonical else f"critical point with σb² = {found.sigma_b2:g}"
    rows = [
        ("σw²", _shown(here.sigma_w2, view), "weights of variance σw²/fan_in"),
        ("σb²", f"{here.sigma_b2:.6g}", "variance of the biases"),
        ("q", _shown(here.q, view), "second moment of pre-activations there"),
    ]
    return [_text(f"{name}: χ₁ = 1, gradients keep their size", view), *_entries(rows, view)]


# --- with variances ------------------------------------------------------------------------------------------------


def _limit(found: Summary, point: FixedPoint, view: View) -> list[str]:
    rows = [
        ("q", _shown(point.q, view), "second moment that pre-activations come to"),
        ("χ₁", _shown(point.chi1, view), "factor on squared gradients, from a layer to the one before"),
        ("c", _shown(point.c, view), "cosine that two different inputs come to"),
        ("ξ_q", _shown(point.xi_q, view), "layers in which q comes e times nearer to that"),
        ("ξ_c", _shown(point.xi_c, view), "layers in which the cosine does"),
    ]
    words = [line for text in _outcome(found) for line in _prose(text, view)]
    head = f"many wide layers, σw² = {found.sigma_w2:g} and σb² = {found.sigma_b2:g}"
    return [_text(head, view), *_entries(rows, view), "", *words]


def _outcome(found: Summary) -> list[str]:
    """Return in words what becomes of the signal, of gradients and of differences between inputs."""
    point = found.point
    if point is None:
        return []
    return [f"{found.regime}: {_gradients(point)}", *filter(None, [_signal(point), _differences(point)])]


def _gradients(point: FixedPoint) -> str:
    if point.chi1 == 0.0:
        return "no gradient passes a layer."
    if abs(point.chi1 - 1.0) <= _NEAR_ONE:
        return "gradients keep their size, or change as a power of depth."
    layers = math.log(2.0) / abs(math.log(point.chi1))
    every = "layer" if f"{layers:.3g}" == "1" else f"{layers:.3g} layers"
    if point.chi1 < 1.0:
        return f"gradients vanish exponentially; squared, they halve every {every}."
    return f"gradients explode exponentially; squared, they double every {every}."


def _signal(point: FixedPoint) -> str:
    if point.q == 0.0:
        return "The signal dies out: q goes to 0."
    return "The signal grows without end: q goes to infinity." if math.isinf(point.q) else ""


def _differences(point: FixedPoint) -> str:
    if math.isnan(point.c):
        return ""
    if point.c < 1.0:
        return f"Inputs that differ ever so little end at a cosine of {point.c:.3g}: nearby inputs are torn apart."
    if math.isinf(point.xi_c):
        return "Different inputs become alike, slower than exponentially."
    return (
        f"Different inputs become alike: beyond some 6 ξ_c = {6 * point.xi_c:.3g} layers nothing tells them apart, and "
        "training fails (Schoenholz et al. 2017)."
    )


# --- layer by layer --------------------------------------------------------------------------------------------------


def _pictures(course: Trajectory, q0: float, view: View) -> list[str]:
    rows = (("q", course.propagate), ("cosine", course.cosines), (_text("gradient²", view), course.gradients))
    head = f"layers 1 to {len(course.propagate):,}, q0 = {q0:g}: two orthogonal inputs; gradient² is 1 at the last"
    return [
        _text(head, view),
        *(f"  {name:<10}  {_bars(values, view)}  {_span(values, view)}" for name, values in rows),
    ]


def _span(values: Sequence[float], view: View) -> str:
    first, last = (_text(figure(value if math.isfinite(value) else None), view) for value in (values[0], values[-1]))
    return f"{first} {_text('→', view)} {last}{', logarithmic' if _is_wide(values) else ''}"


def _is_wide(values: Sequence[float]) -> bool:
    """Tell whether the values span so many powers of ten that only their logarithms can be seen."""
    positive = [value for value in values if 0.0 < value < math.inf]
    return bool(positive) and math.log10(max(positive)) - math.log10(min(positive)) > _DECADES


def _bars(values: Sequence[float], view: View) -> str:
    """Draw the values, at most thirty of them, as bars from 0 to the largest; far apart, their logarithms.

    What is not finite, or has no logarithm, is a space.
    """
    drawn = values[:: math.ceil(len(values) / _BARS)]
    wide = _is_wide(values)
    heights = [math.log10(value) if wide else value for value in drawn if _can_be_drawn(value, wide)]
    low = min([*heights, *([] if wide else [0.0])], default=0.0)
    span = (max(heights, default=0.0) - low) or 1.0
    steps = iter(round((height - low) / span * (len(view.glyphs.bars) - 1)) for height in heights)
    return "".join(view.glyphs.bars[next(steps)] if _can_be_drawn(value, wide) else " " for value in drawn)


def _can_be_drawn(value: float, wide: bool) -> bool:
    return math.isfinite(value) and not (wide and value <= 0.0)


def _layers(course: Trajectory, view: View) -> list[str]:
    rows = [["layer", "q", "cosine", _text("gradient²", view)]]
    for number, values in enumerate(zip(course.propagate, course.cosines, course.gradients, strict=True), 1):
        rows.append([f"{number:,}", *(_shown(value, view) for value in values)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
