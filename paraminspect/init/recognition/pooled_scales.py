"""Scales that are no round numbers, read off all the tensors of a model that were drawn with the same one.

One tensor of n elements tells the std of a normal distribution to 1/√(2n) of it: ten of one std have ten third digits,
and now and then a round number lies nearer to one of them. Together they tell it. GPT-2 divides 0.02 by the root of how
many projections end in its residual stream (Radford et al. 2019, §2.3): as many tensors as have that std.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from paraminspect.init.recognition.candidates import USUAL
from paraminspect.init.recognition.distributions import NORMAL
from paraminspect.init.recognition.guesses import MANY, REFUSED_FITTED, Recognition

FEWEST: Final = 4
"""How many tensors share a std at least that is a round one over the root of their number."""

_MANY_DIGITS: Final = 2_000_000  # elements: a fourth digit of the std is right then
_ERRORS: Final = 4.0  # standard errors that the std of one may lie off that of the others
_NEAR, _NEAR_ENOUGH = 3.0, 0.01  # standard errors that a round number may lie off, and how much that may be of it


class Fitted(NamedTuple):
    """One tensor: its answer, its std, how many elements it has."""

    found: Recognition
    std: float
    numel: int


def with_pooled_scales(tensors: Sequence[Fitted]) -> list[Recognition]:
    """Return the answers, those that go by a fitted std of a normal distribution with the std that they share."""
    answers = [one.found for one in tensors]
    fitted = [(place, one, p) for place, one in enumerate(tensors) if (p := _p_value_of_fit(one)) is not None]
    for group in _groups(sorted(fitted, key=lambda item: item[1].std)):
        if len(group) > 1:
            words, std, is_known = _scale([one for _, one, _ in group])
            moments = NORMAL.moments(0.0, std) if is_known else None
            surest = max((one.found.confidence or 0.0 for _, one, _ in group), default=0.0)
            for place, one, p in group:
                answers[place] = replace(
                    one.found,
                    words=f"normal std {words}",
                    scheme="normal",
                    args={"mean": 0.0, "std": std},
                    moments=moments,
                    confidence=one.found.confidence or surest,
                    p_value=float(f"{p:.3g}"),
                    also=(),
                    reason="",
                )
    return answers


def _p_value_of_fit(one: Fitted) -> float | None:
    """Return the p-value of a normal distribution about 0 with a std that was fitted; None of any other answer."""
    found = one.found
    if found.scheme:
        is_fitted = found.scheme == "normal" and found.moments is None and not found.args["mean"]
        return found.p_value if is_fitted else None
    if not found.guesses or not found.guesses[0].candidate.plain or one.numel < MANY:
        return None
    own = (guess for guess in found.guesses if guess.candidate.family is NORMAL and not guess.candidate.centre)
    nearest = min(own, key=lambda guess: abs(guess.candidate.scale - one.std), default=None)
    if nearest is None or not nearest.candidate.plain or not nearest.p_value >= REFUSED_FITTED:
        return None
    return nearest.p_value


_Group = list[tuple[int, Fitted, float]]


def _groups(by_std: _Group) -> list[_Group]:
    """Divide tensors into those whose stds agree but for what chance makes of them."""
    groups: list[_Group] = []
    for item in by_std:
        if groups:
            pooled, count = _pooled([one for _, one, _ in groups[-1]])
            one = item[1]
            if abs(one.std / pooled - 1.0) <= _ERRORS * math.sqrt(0.5 / one.numel + 0.5 / count):
                groups[-1].append(item)
                continue
        groups.append([item])
    return groups


def _pooled(tensors: Sequence[Fitted]) -> tuple[float, int]:
    count = sum(one.numel for one in tensors)
    return math.sqrt(math.fsum(one.numel * one.std**2 for one in tensors) / count), count


def _scale(tensors: Sequence[Fitted]) -> tuple[str, float, bool]:
    """Return the std in words and as a number, and whether it is one that somebody would have written."""
    std, count = _pooled(tensors)
    error = _NEAR / math.sqrt(2.0 * count)
    roots = (1, len(tensors)) if len(tensors) >= FEWEST else (1,)
    wholes = [(float(f"{std * math.sqrt(root):.0e}"), root) for root in roots]
    near = [one for one in wholes if abs(std * math.sqrt(one[1]) / one[0] - 1.0) <= min(error, _NEAR_ENOUGH)]
    for whole, root in sorted(near, key=lambda one: not _is_usual(one[0])):
        if root == 1 or _is_usual(whole):
            return f"{whole:g}" if root == 1 else f"{whole:g}/√{root}", whole / math.sqrt(root), True
    return f"{std:.{3 if count < _MANY_DIGITS else 4}g}", std, False


def _is_usual(number: float) -> bool:
    return f"{number:e}"[0] in USUAL
