"""Signal propagation: the variance that an activation keeps exactly, the edge of chaos, and µP's last layer."""

from __future__ import annotations

import math
from typing import Any, Final

from paraminspect.init.schemes import activation, expected_moments
from paraminspect.init.schemes.expected_moments import ExpectedMoments
from paraminspect.init.schemes.fans import MODES, fan, fan_in_and_fan_out
from paraminspect.init.schemes.scheme import AUTO, Args, Argument, Gain, Scheme, Shape

_FAMILY: Final = "signal propagation"
_SHOWN: Final = ("relu", "leaky_relu", "tanh", "sigmoid", "selu", "elu", "gelu", "silu", "softplus", "mish")
_NONLINEARITY: Final = Argument(
    "nonlinearity",
    "str",
    AUTO,
    "e.g. gelu or elu:alpha=0.5; auto is the activation that follows the layer",
    check=activation.check,
)
_GAIN: Final = (
    _NONLINEARITY,
    Argument(
        "keep",
        "str",
        "second_moment",
        "which moment stays what it is: E[φ²] forward, or E[φ'²] backward",
        ("second_moment", "gradient"),
    ),
    Argument("mode", "str", "fan_in", "the denominator of the variance", MODES),
)
_EXACT: Final = "He et al. 2015, eq. 10 and 14, for the moments of any activation"
_WHICH: Final = (
    "With keep=second_moment a layer whose input is φ(z), z ~ N(0, 1), returns numbers of second moment 1 again. With "
    "keep=gradient and mode=fan_out the gradient at z has the second moment of the gradient behind the layer. torch's "
    "own gains keep neither for tanh, sigmoid and selu. orthogonal takes the number itself: orthogonal:gain=1.5335."
)


def _solve_gain(args: Args) -> dict[str, Any]:
    return {"gain": activation.gain(args["nonlinearity"], args["keep"]), "mode": args["mode"]}


def _gain_std(shape: Shape, args: Args) -> float:
    return activation.gain(args["nonlinearity"], args["keep"]) / math.sqrt(fan(shape, args["mode"]))


def _gains() -> tuple[Gain, ...]:
    """Return the gains of the activations in use, torch's beside them."""
    from paraminspect import theory  # imports numpy

    return tuple(
        Gain(name, theory.gain(name), theory.gain(name, keep="gradient"), theory.torch_gain(name)) for name in _SHOWN
    )


def _solve_critical(args: Args) -> dict[str, Any]:
    sigma_w2, sigma_b2 = activation.critical(args["nonlinearity"], args["sigma_b2"])
    return {"sigma_w2": sigma_w2, "sigma_b2": sigma_b2}


def _critical(shape: Shape, args: Args) -> ExpectedMoments:
    found = _solve_critical(args)
    variance = found["sigma_b2"] if len(shape) == 1 else found["sigma_w2"] / fan_in_and_fan_out(shape)[0]
    return expected_moments.normal(0.0, math.sqrt(variance))


def _readout(shape: Shape, args: Args) -> ExpectedMoments:
    return expected_moments.normal(0.0, args["gain"] * math.sqrt(args["base_width"]) / fan_in_and_fan_out(shape)[0])


SCHEMES = (
    Scheme(
        name="gain_normal",
        family=_FAMILY,
        summary="Draw from a normal distribution scaled by one fan and the activation's exact gain.",
        formula="std = gain / √n; gain = 1/√E[φ(z)²] or 1/√E[φ'(z)²], z ~ N(0, 1)",
        source=_EXACT,
        arguments=_GAIN,
        example="nonlinearity=gelu",
        notes=(_WHICH,),
        gains=_gains,
        moments=lambda shape, args: expected_moments.normal(0.0, _gain_std(shape, args)),
        min_ndim=2,
        uses_fans=True,
        activation="nonlinearity",
        recipe="gain_normal_",
        solve=_solve_gain,
    ),
    Scheme(
        name="gain_uniform",
        family=_FAMILY,
        summary="Draw from a uniform distribution scaled by one fan and the activation's exact gain.",
        formula="w ~ U(−b, b), b = gain · √(3 / n); std = b / √3",
        source=_EXACT,
        arguments=_GAIN,
        example="nonlinearity=gelu,keep=gradient",
        notes=(_WHICH,),
        gains=_gains,
        moments=lambda shape, args: expected_moments.symmetric_uniform(_gain_std(shape, args)),
        min_ndim=2,
        uses_fans=True,
        activation="nonlinearity",
        recipe="gain_uniform_",
        solve=_solve_gain,
    ),
    Scheme(
        name="critical",
        family=_FAMILY,
        summary="Draw weights and biases so that signals neither die out nor blow up: on the edge of chaos.",
        formula="weights N(0, σw² / fan_in), biases N(0, σb²); χ₁ = σw² · E[φ'(√q·z)²] = 1",
        source="Poole et al. 2016, Schoenholz et al. 2017, Roberts, Yaida & Hanin 2022, chapter 5",
        arguments=(
            _NONLINEARITY,
            Argument("sigma_b2", "float", None, "σb²; without it the activation's own critical point", at_least=0),
        ),
        example="nonlinearity=tanh,sigma_b2=0.05",
        notes=(
            "--scheme goes to weights alone. For weights and biases write --rule '*=critical:nonlinearity=tanh'.",
            "With auto a layer that no activation follows, as the last one, has σw² = 1, σb² = 0, whatever sigma_b2.",
        ),
        moments=_critical,
        min_ndim=1,
        uses_fans=True,
        activation="nonlinearity",
        unless_linear=("sigma_b2",),
        biases=True,
        recipe="critical_",
        solve=_solve_critical,
        shape_hint="restrict the rule to weights and biases",
    ),
    Scheme(
        name="mup_readout",
        family="readout",
        summary="Draw the last layer from a normal distribution whose variance falls with the square of the width.",
        formula="std = gain · √base_width / fan_in; at fan_in = base_width LeCun's gain / √fan_in",
        source="Yang, Hu et al. 2021, Tensor Programs V, table 3",
        arguments=(
            Argument("gain", "float", 1.0, "a factor for every element", at_least=0),
            Argument("base_width", "float", 1.0, "the fan_in at which nothing is changed", above=0),
        ),
        example="base_width=64",
        notes=(
            "This is initialisation's part of µP. The other layers keep variance 1 / fan_in, and the learning rates "
            "follow the width. The paper itself advises a readout of zeros: --rule 'LAST.weight=zeros', LAST being the "
            "last layer.",
        ),
        moments=_readout,
        min_ndim=2,
        uses_fans=True,
        recipe="mup_readout_",
        shape_hint="restrict the rule to the last layer's weight",
    ),
)
