"""Bars on a logarithmic scale, one a row: what vanishes or explodes through depth is seen, not read."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeGuard

from paraminspect.text.view import Glyphs

WIDTH = 10
_FEWEST_DECADES = 2


@dataclass(frozen=True)
class Decades:
    """A scale from ``10**low`` to ``10**high``."""

    low: int
    high: int

    def bar(self, value: float | None, glyphs: Glyphs, width: int = WIDTH) -> str:
        """Return a bar that is empty for 0 and for what is not a number, and never for anything else."""
        if not _is_positive(value):
            return ""
        share = (math.log10(value) - self.low) / (self.high - self.low)
        steps = len(glyphs.blocks)
        whole, rest = divmod(max(1, round(min(1, share) * width * steps)), steps)
        return glyphs.blocks[-1] * whole + (glyphs.blocks[rest - 1] if rest else "")

    def ends(self, width: int = WIDTH) -> str:
        """Return the two ends of the scale, to stand over the bars."""
        left = _power(self.low)
        return f"{left}{_power(self.high):>{width - len(left)}}"


def decades(values: Iterable[float | None]) -> Decades | None:
    """Return the decades that hold all the positive numbers, some at least, so that what is steady looks so."""
    found = [math.log10(value) for value in values if _is_positive(value)]
    if not found:
        return None
    low, high = math.floor(min(found)), math.ceil(max(found))
    return Decades(min(low, high - _FEWEST_DECADES), high)


def _is_positive(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value) and value > 0


def _power(exponent: int) -> str:
    return f"{10**exponent:g}" if -3 <= exponent <= 3 else f"1e{exponent}"
