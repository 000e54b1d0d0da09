"""Variance scaling and its two LeCun cases, as in Keras, JAX and timm; torch has none of them."""

import math
from collections.abc import Callable
from typing import Final

from paraminspect.init import moments
from paraminspect.init.fans import fan_in_and_fan_out
from paraminspect.init.scheme import Args, Argument, Moments, Scheme, Shape

STD_OF_CUT_NORMAL: Final = 0.87962566103423978
"""The standard deviation of a standard normal cut at ±2, by which Keras and JAX divide."""


def _scaled(shape: Shape, args: Args) -> Moments:
    fan_in, fan_out = fan_in_and_fan_out(shape)
    n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[args["mode"]]
    std = math.sqrt(args["scale"] / n)
    if args["distribution"] == "normal":
        return moments.normal(0.0, std)
    if args["distribution"] == "uniform":
        return moments.symmetric_uniform(std)
    wider = std / STD_OF_CUT_NORMAL
    return moments.truncated_normal(0.0, wider, -2.0 * wider, 2.0 * wider)


def _lecun(distribution: str) -> Callable[[Shape, Args], Moments]:
    """Fix the arguments of variance_scaling to those of a LeCun scheme."""
    return lambda shape, _: _scaled(shape, {"scale": 1.0, "mode": "fan_in", "distribution": distribution})


SCHEMES = (
    Scheme(
        name="lecun_normal",
        family="variance scaling",
        summary="Draw from a normal distribution of variance 1 / fan_in, cut at two standard deviations.",
        formula="std = √(1 / fan_in), after the cut",
        source="LeCun et al. 1998, eq. 16; Keras, JAX, timm",
        arguments=(),
        moments=_lecun("truncated_normal"),
        min_ndim=2,
        uses_fans=True,
        recipe="lecun_normal_",
    ),
    Scheme(
        name="lecun_uniform",
        family="variance scaling",
        summary="Draw from a uniform distribution of variance 1 / fan_in.",
        formula="w ~ U(−b, b), b = √(3 / fan_in); std = b / √3",
        source="LeCun et al. 1998, eq. 16; Keras, JAX",
        arguments=(),
        moments=_lecun("uniform"),
        min_ndim=2,
        uses_fans=True,
        recipe="lecun_uniform_",
    ),
    Scheme(
        name="variance_scaling",
        family="variance scaling",
        summary="Draw from a distribution whose variance is a scale divided by a fan.",
        formula="std = √(scale / n), n = fan_in, fan_out or their mean",
        source="Keras, JAX, timm",
        arguments=(
            Argument("scale", "float", 1.0, "the numerator of the variance: 1 LeCun, 2 He", above=0),
            Argument("mode", "str", "fan_in", "the denominator of the variance", ("fan_in", "fan_out", "fan_avg")),
            Argument(
                "distribution",
                "str",
                "normal",
                "truncated_normal is cut at two std and widened to keep the variance",
                ("normal", "uniform", "truncated_normal"),
            ),
        ),
        example="scale=2,mode=fan_out",
        moments=_scaled,
        min_ndim=2,
        uses_fans=True,
        recipe="variance_scaling_",
    ),
)
