"""What the cells of a row say, in every format that people read."""

from __future__ import annotations

from paraminspect.render.figures import figure
from paraminspect.render.view import View
from paraminspect.report import Forward, Gradient, Init, Parameter, Values


def shape(row: Parameter, view: View) -> str:
    """Return a shape as PyTorch writes it, ``(3, 4)``; the sign of unknown for a tensor that has none yet."""
    return view.glyphs.unknown if row.numel is None else str(row.shape)


def moment(values: Values | None, key: str, view: View) -> str:
    """Return one figure of a tensor's values."""
    return figure(None if values is None else getattr(values, key), view.glyphs)


def expected(init: Init | None, key: str, view: View) -> str:
    """Return a moment that the row's scheme should give; nothing where no scheme says."""
    value = None if init is None else getattr(init, key)
    return "" if value is None else figure(value, view.glyphs)


def scheme(init: Init | None, view: View) -> str:
    """Return the name of the scheme that set the parameter."""
    return "" if init is None else view.text(init.scheme)


def gradient(found: Gradient | None, forward: Forward | None, view: View) -> str:
    """Return the rms of a gradient that is fine, else in a word why there is none, or what is wrong with it."""
    if found is None:
        return ""
    if found.status == "ok":
        return figure(found.rms, view.glyphs)
    if found.status == "not-run":
        return "None" if forward else ""
    return view.glyphs.unknown if found.status == "unknown" else view.text(found.status)
