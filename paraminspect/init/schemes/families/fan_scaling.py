"""A variance divided by one fan: Kaiming (He) for rectified layers, LeCun, and variance scaling as in Keras and timm.

torch has Kaiming's alone.
"""

import math
from collections.abc import Callable
from typing import Final

from paraminspect.init.schemes import expected_moments
from paraminspect.init.schemes.expected_moments import ExpectedMoments
from paraminspect.init.schemes.fans import MODES, fan, fan_in_and_fan_out
from paraminspect.init.schemes.scheme import Args, Argument, Scheme, Shape

_SOURCE: Final = "He et al. 2015, eq. 10 (fan_in), 14 (fan_out) and 15 (leaky)"
_GAINS: Final = {
    "linear": 1.0,
    "conv1d": 1.0,
    "conv2d": 1.0,
    "conv3d": 1.0,
    "conv_transpose1d": 1.0,
    "conv_transpose2d": 1.0,
    "conv_transpose3d": 1.0,
    "sigmoid": 1.0,
    "tanh": 5.0 / 3.0,
    "relu": math.sqrt(2.0),
    "leaky_relu": math.nan,  # depends on the slope
    "selu": 3.0 / 4.0,
}
_ARGUMENTS: Final = (
    # torch squares the slope, so the bounds keep it from overflowing
    Argument("a", "float", 0.0, "the negative slope, used by leaky_relu alone", above=-1e100, below=1e100),
    Argument(
        "mode", "str", "fan_in", "fan_in keeps the forward variance, fan_out the gradient's", ("fan_in", "fan_out")
    ),
    Argument("nonlinearity", "str", "leaky_relu", "the activation that follows; it sets the gain", tuple(_GAINS)),
)


def gain(nonlinearity: str, a: float) -> float:
    """Return torch.nn.init.calculate_gain(nonlinearity, a); leaky_relu's is √(2 / (1 + a²))."""
    return math.sqrt(2.0 / (1.0 + a * a)) if nonlinearity == "leaky_relu" else _GAINS[nonlinearity]


def kaiming_std(shape: Shape, args: Args) -> float:
    """Return gain / √fan for the fan that `mode` names (He et al. 2015, eq. 10 and 14)."""
    fan_in, fan_out = fan_in_and_fan_out(shape)
    return gain(args["nonlinearity"], args["a"]) / math.sqrt(fan_in if args["mode"] == "fan_in" else fan_out)


def _scaled(shape: Shape, args: Args) -> ExpectedMoments:
    std = math.sqrt(args["scale"] / fan(shape, args["mode"]))
    if args["distribution"] == "normal":
        return expected_moments.normal(0.0, std)
    if args["distribution"] == "uniform":
        return expected_moments.symmetric_uniform(std)
    return expected_moments.cut_normal(0.0, std / expected_moments.STD_OF_CUT_NORMAL)


def _lecun(distribution: str) -> Callable[[Shape, Args], ExpectedMoments]:
    """Fix the arguments of variance_scaling to those of a LeCun scheme."""
    return lambda shape, _: _scaled(shape, {"scale": 1.0, "mode": "fan_in", "distribution": distribution})


SCHEMES = (
    Scheme(
        name="kaiming_normal",
        family="kaiming",
        summary="Draw from a normal distribution scaled by one fan and the activation's gain (also called He).",
        formula="std = gain(nonlinearity, a) / √fan",
        source=_SOURCE,
        arguments=_ARGUMENTS,
        example="nonlinearity=relu",
        moments=lambda shape, args: expected_moments.normal(0.0, kaiming_std(shape, args)),
        min_ndim=2,
        uses_fans=True,
    ),
    Scheme(
        name="kaiming_uniform",
        family="kaiming",
        summary="Draw from a uniform distribution scaled by one fan and the activation's gain (also called He).",
        formula="w ~ U(−b, b), b = gain(nonlinearity, a) · √(3 / fan); std = b / √3",
        source=_SOURCE,
        arguments=_ARGUMENTS,
        example="nonlinearity=relu",
        moments=lambda shape, args: expected_moments.symmetric_uniform(kaiming_std(shape, args)),
        min_ndim=2,
        uses_fans=True,
    ),
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
