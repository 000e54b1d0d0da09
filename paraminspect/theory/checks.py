"""The error that theory raises, and the checks of numbers that every public function makes first."""

from __future__ import annotations

import math
import numbers
from typing import Any

from paraminspect.errors import UserError


class TheoryError(UserError, ValueError):
    """Report an argument that theory has no answer for; in Python code it is a ValueError like any other."""


def nonnegative(name: str, value: Any) -> float:
    """Return `value` as a float; raises TheoryError unless it is a number of at least 0 (NaN is none)."""
    found = number(name, value)
    if found >= 0.0:
        return found
    raise TheoryError(f"{name} is a variance and must be at least 0, got {found:g}", where=name, code="bad-argument")


def finite(name: str, value: Any) -> float:
    """Return `value` as a finite float of at least 0; raises TheoryError for anything else."""
    found = nonnegative(name, value)
    if math.isfinite(found):
        return found
    raise TheoryError(f"{name} must be finite, got {found:g}", where=name, code="bad-argument")


def cosine(name: str, value: Any) -> float:
    """Return `value` as a float in [−1, 1], forgiving a last digit that was rounded out of it."""
    found = number(name, value)
    if abs(found) <= 1.0 + 1e-9:
        return min(1.0, max(-1.0, found))
    raise TheoryError(f"{name} is a cosine, from -1 to 1, got {found:g}", where=name, code="bad-argument")


def count(name: str, value: Any, least: int = 0) -> int:
    """Return `value` as an int of at least `least`; raises TheoryError for anything else."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if whole and value >= least:
        return int(value)
    message = f"{name} must be a whole number of at least {least}, got {value!r}"
    raise TheoryError(message, where=name, code="bad-argument")


def number(name: str, value: Any) -> float:
    """Return `value` as a float that is not NaN; raises TheoryError for anything that is no real number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TheoryError(f"{name} must be a number, got {value!r}", where=name, code="bad-argument")
    found = float(value)
    if math.isnan(found):
        raise TheoryError(f"{name} must be a number, got NaN", where=name, code="bad-argument")
    return found
