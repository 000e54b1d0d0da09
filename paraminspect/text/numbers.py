"""Numbers as people read them; the exact ones are in the data formats."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from paraminspect.text.byte_sizes import format_bytes
from paraminspect.text.view import Glyphs

_BARS = 8


def figure(value: float | None, glyphs: Glyphs, digits: int = 4) -> str:
    """Return `digits` significant digits, or the sign of unknown for None.

    A number without a point is exact: ``1`` is one, ``1.000`` is near it.
    """
    if value is None:
        return glyphs.unknown
    if isinstance(value, int):
        return f"{value:,}"
    if value.is_integer() and abs(value) < 10**digits:
        return str(int(value))
    return f"{value:#.{digits}g}".removesuffix(".")


def whole(value: int | None, glyphs: Glyphs) -> str:
    """Return an exact integer with thousands separated by commas."""
    return glyphs.unknown if value is None else f"{value:,}"


def size(count: int) -> str:
    """Return exact bytes, and from 1 KiB on the humanised value beside them."""
    return format_bytes(count) if count < 1024 else f"{count:,} bytes ({format_bytes(count)})"


def sparkline(histogram: Sequence[int] | None, glyphs: Glyphs, bars: int = _BARS) -> str:
    """Draw the counts of neighbouring bins as some bars, the tallest full; an empty bin is a space."""
    if not histogram:
        return ""
    step = max(1, len(histogram) // bars)
    bins = [sum(histogram[i : i + step]) for i in range(0, len(histogram), step)]
    top, last = max(bins), len(glyphs.bars) - 1
    return "".join(glyphs.bars[round(count / top * last)] if count > 0 else " " for count in bins)


def percent(share: float) -> str:
    """Return a share in percent: ``0%`` and ``100%`` are exact."""
    if share in (0, 1):
        return f"{share:.0%}"
    return "<0.1%" if share < 0.001 else ">99.9%" if share > 0.999 else f"{share:.1%}"


def at_least(known: int, unknown: bool, glyphs: Glyphs) -> str:
    """Return a sum of which only a part may be known: ``at least 12``, or the sign of unknown rather than a bare 0."""
    if unknown and known == 0:
        return glyphs.unknown
    return f"at least {known:,}" if unknown else f"{known:,}"


def total(counts: Collection[int | None], glyphs: Glyphs) -> str:
    """Return the sum of a column, as `at_least` where a row is unknown."""
    return at_least(sum(count or 0 for count in counts), None in counts, glyphs)


def plural(count: int, word: str) -> str:
    """Return ``1 tensor`` or ``2 tensors``."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def some_of(names: Sequence[str], most: int = 3) -> str:
    """Return the first names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")
