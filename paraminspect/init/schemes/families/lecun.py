"""Variance scaling and its two LeCun cases, as in Keras, JAX and timm; torch has none of them."""

import math
from collections.abc import Callable

from paraminspect.init.schemes import expected_moments
from paraminspect.init.schemes.fans import MODES, fan
from paraminspect.init.schemes.scheme import Args, Argument, Moments, Scheme, Shape


def _scaled(shape: Shape, args: Args) -> Moments:
    std = math.sqrt(args["scale"] / fan(shape, args["mode"]))
    if args["distribution"] == "normal":
        return expected_moments.normal(0.0, std)
    if args["distribution"] == "uniform":
        return expected_moments.symmetric_uniform(std)
    return expected_moments.cut_normal(0.0, std / expected_moments.STD_OF_CUT_NORMAL)


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
        formula="std = √(scale / n); n = fan_in, fan_out, or their mean, arithmetic or geometric",
        source="Keras, JAX, timm",
        arguments=(
            Argument("scale", "float", 1.0, "the numerator of the variance: 1 LeCun, 2 He", above=0),
            Argument("mode", "str", "fan_in", "the denominator of the variance", MODES),
            Argument(
                "distribution",
                "str",
                "normal",
                "truncated_normal is cut at two std and widened to keep the variance",
                ("normal", "uniform", "truncated_normal"),
            ),
        ),
        example="scale=2,mode=fan_out",
        notes=(
            "Keras and JAX build theirs on it: he_normal is scale=2,distribution=truncated_normal, glorot_uniform is "
            "mode=fan_avg,distribution=uniform. VarianceScaling of Keras is truncated_normal unless told otherwise.",
        ),
        moments=_scaled,
        min_ndim=2,
        uses_fans=True,
        recipe="variance_scaling_",
    ),
)
