"""What a tensor may have been drawn from: its layer's default, the schemes with their fans and gains, round numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import field
from functools import lru_cache
from typing import Any, Final

from paraminspect.frozen import dataclass
from paraminspect.init.recognition.distributions import CUT, NORMAL, UNIFORM, Family, Whole
from paraminspect.init.schemes.constructor_defaults import bias_fan_in, default_moments
from paraminspect.init.schemes.expected_moments import ExpectedMoments
from paraminspect.init.schemes.fans import STACKED, fan_in_and_fan_out

# What each gain is worth before one looks, relu's being 1.
_GAINS: Final = {"relu": (math.sqrt(2.0), 1.0), "linear": (1.0, 0.5), "tanh": (5.0 / 3.0, 0.05), "selu": (0.75, 0.05)}
_XAVIER: Final = {1.0: 1.0, math.sqrt(2.0): 0.1, 5.0 / 3.0: 0.05}
_DEFAULT: Final = 20.0
USUAL: Final = "125"  # first digits of a number that somebody wrote


@dataclass(frozen=True)
class Place:
    """Where a tensor hangs: the torch.nn class of its module and the name there.

    `weight` is the shape of the module's weight, `groups` those of a convolution, `padding` an embedding's padding row.
    """

    kind: str = ""
    leaf: str = ""
    weight: tuple[int, ...] = ()
    groups: int = 1
    padding: int | None = None


@dataclass(frozen=True, eq=False)
class Candidate:
    """One distribution with all its parameters, as torch names it.

    `weight` is how much more often than the others it is expected before one looks.
    """

    family: Family
    scale: float
    weight: float
    words: str
    scheme: str
    args: dict[str, Any] = field(default_factory=dict)
    fans: tuple[int, int] | None = None
    centre: float = 0.0
    named: bool = True

    @property
    def plain(self) -> bool:
        """Tell whether its scale is a number of its own, and follows neither from fans nor from the layer."""
        return self.fans is None and self.scheme != "default"

    @property
    def keys(self) -> tuple[str, ...]:
        """Return what it is called in other tensors of a model: of equal fans, either may be meant."""
        modes = ("fan_in", "fan_out")
        if self.fans is None or self.fans[0] != self.fans[1]:
            return (self.words,)
        return tuple(self.words.replace("fan_in = fan_out", mode) for mode in modes)

    def other_fan(self, other: Candidate) -> bool:
        """Tell whether one of the two counts fan_in and the other fan_out."""
        modes = {self.args.get("mode"), other.args.get("mode")}
        return self.fans is not None and self.fans[0] != self.fans[1] and modes == {"fan_in", "fan_out"}

    @property
    def moments(self) -> ExpectedMoments:
        """Return the moments that it gives."""
        return self.family.moments(self.centre, self.scale)


def default(place: Place, shape: tuple[int, ...]) -> Candidate | ExpectedMoments | None:
    """Return what the constructor of the layer draws; as moments where that is a constant."""
    moments = default_moments(place.kind, place.leaf, shape, bias_fan_in(place.kind, place.weight))
    if moments is None or not moments.std:
        return moments
    known = f"({_known(place.kind)}'s default)"
    if moments.high is None:
        words = f"normal std {moments.std:.4g} {known}"
        return Candidate(NORMAL, moments.std, _DEFAULT, words, "default")
    words = "xavier_uniform" if place.kind == "MultiheadAttention" else f"uniform ±1/√{_divisor(place.kind)}"
    return Candidate(UNIFORM, moments.high, _DEFAULT, f"{words} {known}", "default")


def _known(kind: str) -> str:
    return "Linear" if kind == "NonDynamicallyQuantizableLinear" else kind


def _divisor(kind: str) -> str:
    return "hidden_size" if kind in STACKED else "in1_features" if kind == "Bilinear" else "fan_in"


@lru_cache(maxsize=1024)
def named(place: Place, shape: tuple[int, ...]) -> tuple[Candidate, ...]:
    """Return the layer's default and the schemes that go by the fans: the same in every layer that is built alike."""
    return tuple(_named(place, shape))


def _named(place: Place, shape: tuple[int, ...]) -> Iterator[Candidate]:
    first = default(place, shape)
    if isinstance(first, Candidate):
        yield first
    if len(shape) < 2 or 0 in shape:
        return
    fans = fan_in_and_fan_out(shape)
    for std, weight, words, args in _kaiming(fans, place.groups):
        for family, scheme in ((NORMAL, "kaiming_normal"), (UNIFORM, "kaiming_uniform")):
            if family is UNIFORM or "a" not in args:  # a = √5 is for the uniform bound 1/√fan alone
                yield Candidate(family, std / family.std, weight, f"{scheme} {words}", scheme, args, fans)
    for gain, weight in _XAVIER.items():
        std = gain * math.sqrt(2.0 / sum(fans))
        words = "" if gain == 1.0 else f" gain {gain:.4g}"
        for family, scheme in ((NORMAL, "xavier_normal"), (UNIFORM, "xavier_uniform")):
            yield Candidate(family, std / family.std, weight, f"{scheme}{words}", scheme, {"gain": gain}, fans)
    yield from _cut(fans)
    bound = 1.0 / math.sqrt(sum(fans))
    yield Candidate(UNIFORM, bound, 0.1, "uniform ±1/√(fan_in + fan_out)", "uniform", {"a": -bound, "b": bound}, fans)


def _kaiming(fans: tuple[int, int], groups: int) -> Iterator[tuple[float, float, str, dict[str, Any]]]:
    """Yield std, weight, words and arguments for both fans; EfficientNet divides fan_out by the groups."""
    fan_in, fan_out = fans
    equal = fan_in == fan_out
    for mode, fan in (("fan_in", fan_in),) if equal else (("fan_in", fan_in), ("fan_out", fan_out)):
        which = "fan_in = fan_out" if equal else mode
        for nonlinearity, (gain, weight) in _GAINS.items():
            args = {"mode": mode, "nonlinearity": nonlinearity}
            yield gain / math.sqrt(fan), weight, f"{which}, {nonlinearity}", args
        yield 1.0 / math.sqrt(3.0 * fan), 0.5, f"{which}, a=√5", {"a": math.sqrt(5.0), "mode": mode}
    if groups > 1:
        args = {"mode": "fan_out/groups", "nonlinearity": "relu"}
        yield math.sqrt(2.0 * groups / fan_out), 0.5, "fan_out/groups, relu", args


def _cut(fans: tuple[int, int]) -> Iterator[Candidate]:
    """Yield the truncated normal distributions of Keras and JAX, of the variance scale/fan after the cut."""
    fan_in, fan_out = fans
    yield Candidate(CUT, 1.0 / math.sqrt(fan_in) / CUT.std, 1.0, "lecun_normal", "lecun_normal", {}, fans)
    for mode, fan, scale in (("fan_in", fan_in, 2.0), ("fan_out", fan_out, 2.0), ("fan_avg", sum(fans) / 2, 1.0)):
        args = {"scale": scale, "mode": mode, "distribution": "truncated_normal"}
        which = "fan_in = fan_out" if fan_in == fan_out and mode != "fan_avg" else mode
        words = f"truncated_normal {which}, variance {scale:g}/fan"
        yield Candidate(CUT, math.sqrt(scale / fan) / CUT.std, 0.5, words, "variance_scaling", args, fans)


def unnamed(family: Family, whole: Whole) -> Iterator[Candidate]:
    """Yield the family with a round scale near the likeliest one, and with that one itself.

    For the scale that is fitted the likelihood is the greatest by construction: it pays √n for that, and n where the
    scale is a bound, whose error is as small as 1/n (Schwarz 1978).
    """
    scale = family.likeliest(whole)
    short = float(f"{scale:.0e}")
    usual = f"{short:e}"[0] in USUAL
    yield _plain(family, short, 0.5 if usual else 0.1, whole.centre, named=usual)
    price = whole.count if family is not NORMAL else math.sqrt(whole.count)
    yield _plain(family, scale, 0.05 / price, whole.centre, named=False)


def _plain(family: Family, scale: float, weight: float, centre: float, named: bool) -> Candidate:
    mean = f"mean {centre:.4g}, " if centre else ""
    if family is UNIFORM:
        low, high = centre - scale, centre + scale
        words = f"uniform {low:.3g} to {high:.3g}" if centre else f"uniform ±{scale:.3g}"
        return Candidate(family, scale, weight, words, "uniform", {"a": low, "b": high}, None, centre, named)
    words = f"{family.name} {mean}std {scale:.3g}"
    return Candidate(family, scale, weight, words, family.name, {"mean": centre, "std": scale}, None, centre, named)
