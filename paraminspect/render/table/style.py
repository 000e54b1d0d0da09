"""Colour and width of text, by way of rich: sixteen-colour styles follow the terminal's own light or dark theme."""

from __future__ import annotations

from functools import cache

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.style import Style


def width_of(text: str) -> int:
    """Return how many columns `text` takes in a terminal: two for a wide character."""
    return len(text) if text.isascii() else cell_len(text)


def paint(text: str, style: str, colour: bool) -> str:
    """Return `text` in a rich style such as ``bold`` or ``yellow``; unchanged where colour is off."""
    return _style(style).render(text, color_system=ColorSystem.STANDARD) if colour and text else text


@cache
def _style(definition: str) -> Style:
    return Style.parse(definition)
