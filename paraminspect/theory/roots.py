"""Roots of a function of one variable between two points where its signs differ."""

from __future__ import annotations

import math
from collections.abc import Callable

_ROUNDS = 100


def root(function: Callable[[float], float], low: float, high: float, tolerance: float = 1e-13) -> float:
    """Return x in [low, high] with function(x) = 0, to `tolerance` of max(1, |x|).

    The signs at the ends must differ; where rounding hides that they do, the end that is nearer to 0 is returned.
    Regula falsi in the Illinois form: an end that stays for two rounds counts half (Dowell & Jarratt 1971).
    """
    left, right = function(low), function(high)
    if left == 0.0 or right == 0.0 or (left > 0.0) == (right > 0.0):
        return low if abs(left) <= abs(right) else high
    kept = 0
    for _ in range(_ROUNDS):
        middle = high - right * (high - low) / (right - left)
        value = function(middle)
        if value == 0.0 or abs(high - low) <= tolerance * max(1.0, abs(middle)):
            return middle
        if (value > 0.0) == (right > 0.0):
            high, right = middle, value
            left = left / 2.0 if kept == 1 else left
            kept = 1
        else:
            low, left = middle, value
            right = right / 2.0 if kept == -1 else right
            kept = -1
    return (low + high) / 2.0


def positive_root(function: Callable[[float], float], low: float, high: float) -> float:
    """Return the root between two positive points, found on a logarithmic axis."""
    return math.exp(root(lambda x: function(math.exp(x)), math.log(low), math.log(high)))
