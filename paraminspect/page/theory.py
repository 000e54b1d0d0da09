"""`theory`: what it says of an activation, as a page and as an object."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from paraminspect.page.parts import Code, Page
from paraminspect.text.escape import View, to_ascii
from paraminspect.text.numbers import UNKNOWN, figure

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
    blocks = [_gains(found), _moments(found), _critical(found)]
    if found.point is not None:
        blocks.append(_limit(found, found.point))
    if found.course is not None:
        blocks += [_pictures(found.course, found.q0, view.glyphs.bars), _layers(found.course)]
    name = f"{found.activation}({settings})" if settings else found.activation
    return Page(name, "", (), [Code("\n".join(block.lines(view))) for block in blocks])


class _Block(NamedTuple):
    """A head, rows whose cells stand under each other by their `sides`, as format specifications, and prose."""

    head: str
    rows: Sequence[Sequence[str]] = ()
    prose: Sequence[str] = ()
    sides: str = "<><"

    def lines(self, view: View) -> Iterator[str]:
        """Yield the lines, spelled in signs the output has before anything is aligned or broken."""
        if self.head:
            yield _text(self.head, view)
        rows = [[_text(cell, view) for cell in row] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = zip(row, self.sides, widths, strict=True)
            yield f"  {'  '.join(f'{cell:{side}{width}}' for cell, side, width in cells)}".rstrip()
        if rows and self.prose:
            yield ""
        for text in self.prose:
            yield from textwrap.wrap(
                _text(text, view), WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
            )


def _text(text: str, view: View) -> str:
    if not view.glyphs.ascii:
        return text
    for sign, spelling in _SPELLINGS.items():
        text = text.replace(sign, spelling)
    return to_ascii(text)


def _shown(value: float | None) -> str:
    """Return six digits, inf, or the sign of unknown."""
    if value is None or math.isnan(value):
        return UNKNOWN
    return "∞" if math.isinf(value) else figure(float(value), _DIGITS)


# --- the activation by itself ------------------------------------------------------------------------------------


def _gains(found: Summary) -> _Block:
    gains = found.gains
    rows = [
        ("second moment", _shown(gains["second_moment"]), "the same second moment; 1/√E φ²"),
        ("gradient", _shown(gains["gradient"]), "the same squared gradients; 1/√E φ'²"),
        ("torch", _shown(gains["torch"]), "torch.nn.init.calculate_gain"),
    ]
    return _Block("gain: draw weights with std gain / √fan_in, and the next layer has", rows)


def _moments(found: Summary) -> _Block:
    signs = {
        "mean": ("E φ", "mean of the activation"),
        "second_moment": ("E φ²", "its second moment"),
        "mean_slope": ("E φ'", "mean slope"),
        "slope_moment": ("E φ'²", "its second moment: a factor on squared gradients"),
        "cross_moment": ("E φ·φ'", "mean of activation times slope"),
    }
    rows = [(signs[key][0], _shown(value), signs[key][1]) for key, value in found.moments.items()]
    return _Block("moments under z ~ N(0, 1)", rows)


def _critical(found: Summary) -> _Block:
    if found.critical is None:
        return _Block("critical point", prose=[f"none: {found.no_critical}"])
    here = found.critical
    name = "critical point" if found.canonical else f"critical point with σb² = {found.sigma_b2:g}"
    rows = [
        ("σw²", _shown(here.sigma_w2), "weights of variance σw²/fan_in"),
        ("σb²", f"{here.sigma_b2:.6g}", "variance of the biases"),
        ("q", _shown(here.q), "second moment of pre-activations there"),
    ]
    return _Block(f"{name}: χ₁ = 1, gradients keep their size", rows)


# --- with variances ------------------------------------------------------------------------------------------------


def _limit(found: Summary, point: FixedPoint) -> _Block:
    rows = [
        ("q", _shown(point.q), "second moment that pre-activations come to"),
        ("χ₁", _shown(point.chi1), "factor on squared gradients, from a layer to the one before"),
        ("c", _shown(point.c), "cosine that two different inputs come to"),
        ("ξ_q", _shown(point.xi_q), "layers in which q comes e times nearer to that"),
        ("ξ_c", _shown(point.xi_c), "layers in which the cosine does"),
    ]
    return _Block(f"many wide layers, σw² = {found.sigma_w2:g} and σb² = {found.sigma_b2:g}", rows, _outcome(found))


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


def _pictures(course: Trajectory, q0: float, signs: str) -> _Block:
    courses = ((f"{'q':<10}", course.propagate), ("cosine", course.cosines), ("gradient²", course.gradients))
    head = f"layers 1 to {len(course.propagate):,}, q0 = {q0:g}: two orthogonal inputs; gradient² is 1 at the last"
    return _Block(head, [(name, _bars(values, signs), _span(values)) for name, values in courses], sides="<<<")


def _span(values: Sequence[float]) -> str:
    first, last = (figure(value if math.isfinite(value) else None) for value in (values[0], values[-1]))
    return f"{first} → {last}{', logarithmic' if _is_wide(values) else ''}"


def _is_wide(values: Sequence[float]) -> bool:
    """Tell whether the values span so many powers of ten that only their logarithms can be seen."""
    positive = [value for value in values if 0.0 < value < math.inf]
    return bool(positive) and math.log10(max(positive)) - math.log10(min(positive)) > _DECADES


def _bars(values: Sequence[float], signs: str) -> str:
    """Draw the values, at most thirty of them, as bars from 0 to the largest; far apart, their logarithms.

    What is not finite, or has no logarithm, is a space.
    """
    drawn = values[:: math.ceil(len(values) / _BARS)]
    wide = _is_wide(values)
    heights = [math.log10(value) if wide else value for value in drawn if _can_be_drawn(value, wide)]
    low = min([*heights, *([] if wide else [0.0])], default=0.0)
    span = (max(heights, default=0.0) - low) or 1.0
    steps = iter(round((height - low) / span * (len(signs) - 1)) for height in heights)
    return "".join(signs[next(steps)] if _can_be_drawn(value, wide) else " " for value in drawn)


def _can_be_drawn(value: float, wide: bool) -> bool:
    return math.isfinite(value) and not (wide and value <= 0.0)


def _layers(course: Trajectory) -> _Block:
    rows = [["layer", "q", "cosine", "gradient²"]]
    for number, values in enumerate(zip(course.propagate, course.cosines, course.gradients, strict=True), 1):
        rows.append([f"{number:,}", *map(_shown, values)])
    return _Block("", rows, sides=">>>>")
