"""Colour and width of text, by way of rich: styles of the sixteen-colour palette, which the terminal's theme sets.

Yellow, white and blue are not used: one of them is unreadable on every light or dark background.
"""

from __future__ import annotations

from functools import cache

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.style import Style

HEAD = "bold"
SHARED = "magenta"
SUSPICIOUS = "red"
BROKEN = "bold red"
QUIET = "dim"


def width_of(text: str) -> int:
    """Return how many columns `text` takes in a terminal: two for a wide character."""
    return len(text) if text.isascii() else cell_len(text)


def paint(text: str, style: str, colour: bool) -> str:
    """Return `text` in a rich style such as ``bold`` or ``red``; unchanged where colour is off."""
    return _style(style).render(text, color_system=ColorSystem.STANDARD) if colour and style and text else text


@cache
def _style(definition: str) -> Style:
    return Style.parse(definition)
