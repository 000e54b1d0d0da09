"""The custom initialiser of Dive into Deep Learning, chapter 6.3."""

import math

from paraminspect.init.schemes.expected_moments import ExpectedMoments
from paraminspect.init.schemes.scheme import Args, Argument, Scheme, Shape


def _moments(shape: Shape, args: Args) -> ExpectedMoments:
    """Mix zeros with ±U(low, high): with r = low/high, E w² = high²·(1 − r³)/3 and E w⁴ = high⁴·(1 − r⁵)/5."""
    high = args["high"]
    r = args["low"] / high
    second = (1.0 - r**3) / 3.0
    fourth = (1.0 - r**5) / 5.0
    return ExpectedMoments(0.0, high * math.sqrt(second), fourth / second**2, -high, high)


def _conflict(args: Args) -> str:
    return "low is not below high" if args["low"] >= args["high"] else ""


SCHEMES = (
    Scheme(
        name="textbook",
        family="textbook",
        summary="Draw uniformly, then set to zero what is smaller than a bound: half of it, by default.",
        formula="w ~ U(−high, high), 0 where |w| < low; std = √((high³ − low³) / (3 · high)) = 5.4006 by default",
        source="Zhang et al., Dive into Deep Learning, 6.3.1",
        arguments=(
            Argument("low", "float", 5.0, "what is smaller in magnitude becomes zero", at_least=0),
            Argument("high", "float", 10.0, "the largest magnitude drawn", above=0),
        ),
        example="low=0.5,high=1",
        moments=_moments,
        recipe="textbook_",
        conflict=_conflict,
    ),
)
