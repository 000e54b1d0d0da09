"""A number of bytes as people write it: ``80GiB``, ``24 GB``, ``16e9``."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

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
