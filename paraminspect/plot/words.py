"""Texts in a picture: harmless, literal, of bounded length, in characters that the font has."""

from __future__ import annotations

from bisect import bisect_right
from functools import cache

from paraminspect.text.escape import clean

FONT = "DejaVu Sans"
"""The font that matplotlib brings along: the same picture on every machine."""


def cut(text: str, most: int) -> str:
    """Return a text from an input as it can be drawn; of a long one both ends, which tell names apart."""
    shown = "".join(map(_drawable, clean(text, limit=None)))
    if len(shown) <= most:
        return shown
    front = (most - 1) // 3
    return f"{shown[:front]}…{shown[len(shown) - (most - 1 - front) :]}"


def points(text: str, size: float) -> float:
    """Return how wide a text of one line is in a font of that size, in points as the size is."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=FONT, size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width)


def fitted(text: str, size: float, room: float) -> str:
    """Return as much of a text as there is room for, in points."""
    if points(text, size) <= room:
        return text
    most = bisect_right(range(len(text)), room, key=lambda end: points(text[:end] + "…", size))
    return text[: max(0, most - 1)] + "…"


@cache
def _drawable(character: str) -> str:
    """Return a character, or its code where the font has no shape for it."""
    from matplotlib.font_manager import findfont, get_font

    code = ord(character)
    if get_font(findfont(FONT)).get_char_index(code):
        return character
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def power(exponent: int) -> str:
    """Return a power of ten as an axis shows it."""
    return f"{10**exponent:g}" if -2 <= exponent <= 3 else f"1e{exponent}"
