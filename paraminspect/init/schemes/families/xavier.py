"""Xavier (Glorot): the variance that a linear layer keeps on average between forward and backward."""

import math
from typing import Final

from paraminspect.init.schemes import expected_moments
from paraminspect.init.schemes.fans import fan_in_and_fan_out
from paraminspect.init.schemes.scheme import Args, Argument, Scheme, Shape

_SOURCE: Final = "Glorot & Bengio 2010, eq. 12 and 16"
_GAIN: Final = Argument("gain", "float", 1.0, "a factor for the activation that follows: relu √2, tanh 5/3", at_least=0)


def xavier_std(shape: Shape, args: Args) -> float:
    """Return gain · √(2 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 12)."""
    return float(args["gain"]) * math.sqrt(2.0 / sum(fan_in_and_fan_out(shape)))


SCHEMES = (
    Scheme(
        name="xavier_normal",
        family="xavier",
        summary="Draw from a normal distribution scaled by both fans (also called Glorot).",
        formula="std = gain · √(2 / (fan_in + fan_out))",
        source=_SOURCE,
        arguments=(_GAIN,),
        example="gain=1.67",
        moments=lambda shape, args: expected_moments.normal(0.0, xavier_std(shape, args)),
        min_ndim=2,
        uses_fans=True,
    ),
    Scheme(
        name="xavier_uniform",
        family="xavier",
        summary="Draw from a uniform distribution scaled by both fans (also called Glorot).",
        formula="w ~ U(−b, b), b = gain · √(6 / (fan_in + fan_out)); std = b / √3",
        source=_SOURCE,
        arguments=(_GAIN,),
        example="gain=1.67",
        moments=lambda shape, args: expected_moments.symmetric_uniform(xavier_std(shape, args)),
        min_ndim=2,
        uses_fans=True,
    ),
)
