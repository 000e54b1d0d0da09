"""Guesses at what a tensor was drawn from, and the answer that they come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from types import MappingProxyType
from typing import Any, Final

from paraminspect.frozen import dataclass
from paraminspect.init.recognition.candidates import Candidate
from paraminspect.init.schemes.expected_moments import UNKNOWN, ExpectedMoments
from paraminspect.report import Init

REFUSED: Final = 1e-4
"""The p-value below which a distribution is refused: a right one is once in 10,000 tensors."""

REFUSED_FITTED: Final = 1e-3
"""The same where the scale is fitted and not named: so many more distributions are in question then."""

SURE: Final = 0.95
"""The confidence from which on one scheme is named without another."""

HALF: Final = 0.6
"""The confidence that a scheme has at least, or the two that are named have together."""

FEW: Final = 24
"""Below this many elements no distribution is told: a uniform and a normal one are about as likely."""

FEW_ROUND: Final = 256
"""The same for a scale that is a round number: with fewer elements, some round number always fits."""

MANY: Final = 1000
"""The same for a scale that is fitted, and for all in one dimension but the layer's default: trained biases look so."""

SEEN: Final = 10
"""How much likelier a scheme is for every tensor of the model that it certainly drew."""

SLIGHT: Final = 1e-3  # of the likelihood: what has less is left out
NOTABLE: Final = 0.05  # of the likelihood: what has less is not named beside another
SAME_SCALE: Final = 1e-4


@dataclass(frozen=True, eq=False)
class Guess:
    """A candidate with its share of the likelihood and the p-value of its fit, NaN where that was not needed."""

    candidate: Candidate
    share: float
    p_value: float


@dataclass(frozen=True)
class Recognition:
    """What a tensor was drawn from, in words and as scheme and arguments; `scheme` is "" where it is not recognised.

    `p_value` is that of the goodness-of-fit test; `confidence` the share of the likelihood that the scheme has among
    all that are known; `also` names others that it may be as well. `reason` says why nothing is recognised. `guesses`
    are what the answer goes by; `refuted` tells that the tensor is not what the constructor of its layer draws.
    """

    words: str
    scheme: str = ""
    args: Mapping[str, Any] = field(default_factory=dict)
    moments: ExpectedMoments | None = None
    fans: tuple[int, int] | None = None
    confidence: float | None = None
    p_value: float | None = None
    also: tuple[str, ...] = ()
    reason: str = ""
    guesses: tuple[Guess, ...] = ()
    refuted: bool = False

    @property
    def certain(self) -> bool:
        """Tell whether no other scheme is in question."""
        return bool(self.scheme) and not self.also and (self.confidence or 0.0) >= SURE

    @property
    def init(self) -> Init:
        """Return the answer as a report has it."""
        moments, fans = self.moments or UNKNOWN, self.fans or (None, None)
        return Init(
            self.scheme or "unrecognised",
            dict(self.args),
            moments.mean,
            moments.std,
            fan_in=fans[0],
            fan_out=fans[1],
            expected_low=moments.low,
            expected_high=moments.high,
            notes=(self.reason,) if self.reason else (),
            recognised=bool(self.scheme),
            distribution=self.words,
            confidence=self.confidence,
            p_value=self.p_value,
            also=self.also,
        )


def unrecognised(
    reason: str, p_value: float | None = None, guesses: tuple[Guess, ...] = (), refuted: bool = False
) -> Recognition:
    """Return the answer that a tensor is not recognised, and why."""
    return Recognition("unrecognised", reason=reason, p_value=p_value, guesses=guesses, refuted=refuted)


def judged(
    guesses: tuple[Guess, ...],
    count: int,
    dims: int,
    known: Mapping[str, int] = MappingProxyType({}),
    p_value_of: Callable[[Guess], float] = lambda one: one.p_value,
) -> Recognition:
    """Name the likeliest candidate if it fits, or two where either may be meant.

    `p_value_of` tests the fit of a guess, where it has not been tested yet: that takes longer than all else.
    `known` counts the tensors of the same model that were certainly drawn from a candidate: it is that much likelier.
    """
    shares = {one: one.share * (1 + SEEN * max(known.get(key, 0) for key in one.candidate.keys)) for one in guesses}
    total = sum(shares.values())
    ranked = sorted(guesses, key=lambda one: -shares[one])
    family = ranked[0].candidate.family
    same = [one for one in ranked if one.candidate.family is family]
    if sum(shares[one] for one in same) < SURE * total:
        other = next(one.candidate.family.name for one in ranked if one not in same)
        return unrecognised(f"{count:,} elements do not tell {family.name} from {other}", guesses=guesses)
    best = next((one for one in same if one.candidate.named and shares[one] > shares[same[0]] / 8.0), same[0])
    chosen, p = best.candidate, p_value_of(best)
    if p < (REFUSED if chosen.named else REFUSED_FITTED):
        return unrecognised(f"{chosen.words} fits best, with p = {p:.2g}", p, guesses)
    if chosen.plain and not known.get(chosen.words) and not _enough(chosen, count, dims):
        return unrecognised(f"{count:,} elements do not tell one scheme from another", p, guesses)
    equal = [one for one in same if abs(one.candidate.scale / chosen.scale - 1.0) < SAME_SCALE]
    near = [one for one in same if one.candidate.named and one not in equal and shares[one] > NOTABLE * total]
    alone = sum(shares[one] for one in equal) / total
    if alone + sum(shares[one] for one in near[:1]) / total < HALF:
        return unrecognised(f"{count:,} elements do not tell {chosen.words} from others", p, guesses)
    other_fan = [one for one in equal if chosen.other_fan(one.candidate) and shares[one] > shares[best] / 3.0]
    rivals = other_fan or (near if alone < SURE else [])
    also = dict.fromkeys(one.candidate.words for one in (*equal, *near) if one.candidate.named)
    return Recognition(
        words=f"{chosen.words} or {rivals[0].candidate.words}" if rivals else chosen.words,
        scheme=chosen.scheme,
        args=chosen.args,
        moments=chosen.moments if chosen.named else None,
        fans=chosen.fans,
        confidence=round(alone, 4),
        p_value=float(f"{p:.3g}"),
        also=tuple(words for words in also if words != chosen.words)[:4],
        guesses=guesses,
    )


def _enough(chosen: Candidate, count: int, dims: int) -> bool:
    """Tell whether there are elements enough to believe in a scale that follows from nothing."""
    if chosen.named and not chosen.centre and dims > 1:
        return count >= FEW_ROUND
    return count >= MANY and (chosen.named or dims > 1)


def again(found: Recognition, count: int, dims: int, known: Mapping[str, int]) -> Recognition:
    """Judge what is in doubt once more, by what is known of the whole model."""
    if not found.guesses or found.certain:
        return found
    return replace(judged(found.guesses, count, dims, known), refuted=found.refuted)


def known_in(recognitions: Sequence[Recognition]) -> dict[str, int]:
    """Count what tensors were certainly drawn from."""
    counts: dict[str, int] = {}
    for one in recognitions:
        for key in one.guesses[0].candidate.keys if one.guesses and one.certain else ():
            counts[key] = counts.get(key, 0) + 1
    return counts
