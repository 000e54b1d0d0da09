"""Numbers as people read them; the exact ones are in the data formats."""

from __future__ import annotations

from paraminspect.render.view import Glyphs

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def figure(value: float | None, glyphs: Glyphs, digits: int = 4) -> str:
    """Return `digits` significant digits; integers in full; the sign of unknown for None."""
    if value is None:
        return glyphs.unknown
    if isinstance(value, int):
        return f"{value:,}"
    text = f"{value:.{digits}g}"
    return "0" if text == "-0" else text


def whole(value: int | None, glyphs: Glyphs) -> str:
    """Return an exact integer with thousands separated by commas."""
    return glyphs.unknown if value is None else f"{value:,}"


def shape(sizes: tuple[int, ...]) -> str:
    """Return a shape as PyTorch writes it: ``(3, 4)``."""
    return str(sizes)


def size(count: int) -> str:
    """Return exact bytes, and from 1 KiB on the humanised value beside them."""
    if count < 1024:
        return f"{count} B"
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{count:,} B ({value:.1f} {_UNITS[unit]})"


def sparkline(histogram: tuple[int, ...] | None, glyphs: Glyphs, width: int = 8) -> str:
    """Draw the counts of neighbouring bins as bars, the tallest full; an empty bin is a space."""
    if not histogram:
        return ""
    step = max(1, len(histogram) // width)
    bins = [sum(histogram[i : i + step]) for i in range(0, len(histogram), step)]
    top, last = max(bins), len(glyphs.bars) - 1
    return "".join(" " if count == 0 else glyphs.bars[max(0, round(count / top * last))] for count in bins)


def plural(count: int, word: str) -> str:
    """Return ``1 tensor`` or ``2 tensors``."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"
