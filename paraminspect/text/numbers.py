"""Numbers as people read and write them, and lists cut short; the exact ones are in the data formats."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from fractions import Fraction
from typing import Final

UNKNOWN = "–"


def figure(value: float | None, digits: int = 4) -> str:
    """Return `digits` significant digits, or the sign of unknown for None.

    A number without a point is exact: ``1`` is one, ``1.000`` is near it.
    """
    if value is None:
        return UNKNOWN
    if isinstance(value, int):
        return f"{value:,}"
    if value.is_integer() and abs(value) < 10**digits:
        return str(int(value))
    return (f"{value:#.4g}" if digits == 4 else f"{value:#.{digits}g}").removesuffix(".")


def whole(value: int | None) -> str:
    """Return an exact integer with thousands separated by commas."""
    return UNKNOWN if value is None else f"{value:,}"


def format_bytes(n: int) -> str:
    """Return a number of bytes in units of 1024, to one decimal, halves up: ``1023 bytes``, ``1.5 KiB``.

    Integer arithmetic throughout: `n` may be larger than any float.
    """
    if n < 1024:
        return "1 byte" if n == 1 else f"{n} bytes"
    for power, unit in enumerate(("KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"), start=1):
        tenths = (20 * n + 1024**power) // (2 * 1024**power)
        if tenths < 10240:
            return f"{tenths // 10}.{tenths % 10} {unit}"
    return "over 1024 YiB"


def size(count: int) -> str:
    """Return exact bytes, and from 1 KiB on the humanised value beside them."""
    return format_bytes(count) if count < 1024 else f"{count:,} bytes ({format_bytes(count)})"


_POWERS: Final = "kMGTP"
_FORM = re.compile(r"(\d+(?:\.\d*)?(?:[eE]\+?\d{1,2})?)\s*([kKmMgGtTpP]?)(i?)([bB]?)")


def parse_bytes(text: str) -> int | None:
    """Return the bytes of a size in units of 1000 (``GB``) or 1024 (``GiB``), whole ones; None of what is no size.

    A unit without B, as in ``80G``, is one of 1000. There has to be a byte at least.
    """
    found = _FORM.fullmatch(text.strip())
    if found is None or (found[3] and not found[2]):
        return None
    power = _POWERS.lower().find(found[2].lower()) + 1 if found[2] else 0
    size = int(Fraction(found[1]) * (1024 if found[3] else 1000) ** power)
    return size or None


_PREFIXES = ((10**15, "P"), (10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


def with_prefix(count: int) -> str:
    """Return an exact number, and beside a large one its size: ``1,814,073,344 (1.81 G)``."""
    for least, prefix in _PREFIXES:
        if 2000 * count >= 1999 * least:  # what would round to 1000 of the smaller one
            return f"{count:,} ({count / least:.3g} {prefix})"
    return f"{count:,}"


def percent(share: float) -> str:
    """Return a share in percent: ``0%`` and ``100%`` are exact."""
    if share in (0, 1):
        return f"{share:.0%}"
    return "<0.1%" if share < 0.001 else ">99.9%" if share > 0.999 else f"{share:.1%}"


def at_least(known: int, unknown: bool) -> str:
    """Return a sum of which only a part may be known: ``at least 12``, or the sign of unknown rather than a bare 0."""
    if unknown and known == 0:
        return UNKNOWN
    return f"at least {known:,}" if unknown else f"{known:,}"


def total(counts: Collection[int | None]) -> str:
    """Return the sum of a column, as `at_least` where a row is unknown."""
    return at_least(sum(count or 0 for count in counts), None in counts)


def plural(count: int, noun: str) -> str:
    """Return ``1 tensor`` or ``2 tensors``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def seeds(first: int, count: int) -> str:
    """Return ``seed 0``, or ``seeds 0 to 4`` for several."""
    return f"seed {first}" if count == 1 else f"seeds {first} to {first + count - 1}"


def some_of(texts: Sequence[str], most: int = 3, between: str = ", ") -> str:
    """Return the first texts, and how many more there are: ``a, b, c and 2 more``."""
    left = len(texts) - most
    return between.join(texts[:most]) + (f" {and_more(left)}" if left > 0 else "")


def and_more(left: int, noun: str = "") -> str:
    """Return ``and 2 more``, with a noun ``and 2 tensors more``; nothing where nothing is left out."""
    return f"and {plural(left, noun) if noun else f'{left:,}'} more" if left > 0 else ""
