"""Which variances keep a signal: the gain after one activation, and σw² and σb² with χ₁ = 1 at the fixed point."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, Literal, get_args

from paraminspect.frozen import dataclass
from paraminspect.theory.activations import Spelled, activation
from paraminspect.theory.checks import TheoryError, finite
from paraminspect.theory.fixed_points import homogeneous
from paraminspect.theory.form import Activation
from paraminspect.theory.gaussian_moments import response, second_moment, slope_moment
from paraminspect.theory.numerics import positive_root

_GRID: Final = tuple(10.0 ** (exponent / 4.0) for exponent in range(-48, 41))
_SMALL: Final = (1e-2, 1e-4, 1e-6)
_NOT_SMALL: Final = 1e-3  # below, the difference of two nearly equal numbers is all rounding
_ROUNDING: Final = 1e-9


@dataclass(frozen=True)
class Critical:
    """Give the variances σw² and σb² at which χ₁ = 1, and the second moment q of pre-activations there.

    `q` is 0 where the signal dies out slower than any exponential (tanh without biases); where every q is a fixed point
    (rectifiers), it is the one that inputs of second moment 1 get.
    """

    sigma_w2: float
    sigma_b2: float
    q: float


def critical(which: Spelled, sigma_b2: float | None = None, **params: Any) -> Critical:
    """Return the critical point on the line of the given σb², or the canonical one.

    On the line, σw²·E φ'(√q ξ)² = 1 at the q with q = σw²·E φ(√q ξ)² + σb² (Schoenholz et al. 2017, section 3); of
    several, the one of the smallest attracting q.
    Without `sigma_b2` both the parallel and the perpendicular susceptibility are 1 (Roberts, Yaida & Hanin 2022,
    section 5.3): rectifiers have it at any q, with σw² = 2/(1+a²) and σb² = 0; functions that are 0 at 0 and bend
    towards the axis (tanh, sin, erf, elu, selu) at q = 0, with 1/σw² = E φ'² there; gelu, silu and the like at a
    half-stable q, where E φφ'' = 0.
    Raises TheoryError where there is none, saying why.
    """
    act = activation(which, **params)
    return _canonical(act) if sigma_b2 is None else _on_line(act, finite("sigma_b2", sigma_b2))


@lru_cache(maxsize=128)
def _canonical(act: Activation) -> Critical:
    at_zero = _from_zero(act)
    if at_zero is not None:
        return at_zero

    def excess(q: float) -> float:
        slope = slope_moment(act, q)
        return response(act, q) / slope - 1.0 if slope > 0.0 else math.nan

    for low, high in _crossings(excess, _NOT_SMALL):
        q = positive_root(excess, low, high)
        weight = 1.0 / slope_moment(act, q)
        bias = q - weight * second_moment(act, q)
        if bias >= 0.0:
            return Critical(weight, bias, q)
    message = f"{act.name} has no critical point: no q at which deviations of q and gradients both keep their size"
    hint = "with sigma_b2 given, gradients alone may" if _has_line(act) else ""
    raise TheoryError(message, where="critical", hint=hint, code="no-critical-point")


def _from_zero(act: Activation) -> Critical | None:
    """Return the critical point without biases at q = 0, or at every q; None where q would grow away from 0."""
    slope = slope_moment(act, 0.0)
    if second_moment(act, 0.0) > 0.0 or slope == 0.0:
        return None
    if homogeneous(act):
        return Critical(1.0 / slope, 0.0, 1.0 / slope)
    grows = any(second_moment(act, q) > slope * q * (1.0 + 1e-12) for q in _SMALL)
    return None if grows else Critical(1.0 / slope, 0.0, 0.0)


@lru_cache(maxsize=128)
def _on_line(act: Activation, bias: float) -> Critical:
    at_zero = _from_zero(act) if bias == 0.0 or homogeneous(act) else None
    if at_zero is not None and bias == 0.0:
        return at_zero
    if at_zero is None:
        for q in _line_points(act, bias):
            return Critical(1.0 / slope_moment(act, q), bias, q)
    reason = "where gradients keep their size, q does not settle"
    message = f"{act.name} has no critical point with σb² = {bias:g}: {reason}"
    hint = "it has one with sigma_b2=0" if bias > 0.0 and _has_line(act) else ""
    raise TheoryError(message, where="critical", hint=hint, code="no-critical-point")


def _has_line(act: Activation) -> bool:
    """Tell whether there is a critical point with σb² = 0."""
    return _from_zero(act) is not None or any(True for _ in _line_points(act, 0.0))


def _line_points(act: Activation, bias: float) -> Iterator[float]:
    """Yield every attracting q that is a fixed point with σw² = 1/E φ'² and this σb², from the smallest on."""

    def surplus(q: float) -> float:
        slope = slope_moment(act, q)
        return 1.0 - second_moment(act, q) / slope / q - bias / q if slope > 0.0 else -math.inf

    for low, high in _crossings(surplus):
        q = positive_root(surplus, low, high)
        if response(act, q) <= slope_moment(act, q) * (1.0 + 1e-6):
            yield q


def _crossings(function: Callable[[float], float], least: float = 0.0) -> Iterator[tuple[float, float]]:
    """Yield the neighbouring points of a logarithmic grid, 1e-12 or `least` to 1e10, between which the sign changes."""
    values = ((q, function(q)) for q in _GRID if q >= least)
    known = ((q, value) for q, value in values if math.isfinite(value) and abs(value) > _ROUNDING)
    for (low, left), (high, right) in pairwise(known):
        if (left < 0.0) != (right < 0.0):
            yield low, high


# --- gains: the factor on a weight's std, gain/√fan, that makes up for an activation ---------------------


Keep = Literal["second_moment", "gradient"]
_TORCH: Final = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3.0, "relu": math.sqrt(2.0), "selu": 3.0 / 4.0}


def gain(which: Spelled, keep: Keep = "second_moment", **params: Any) -> float:
    """Return the gain that keeps the second moment, 1/√E φ², or the gradient, 1/√E φ'², for z ~ N(0, 1).

    With weights of std gain/√fan_in, pre-activations of second moment 1 stay at 1 (He et al. 2015, eq. 7 to 10, for any
    φ); with gain/√fan_out squared gradients keep their size (eq. 14). For rectifiers the two agree.
    Raises TheoryError where the moment is 0, as for a constant.
    """
    act = activation(which, **params)
    if keep not in get_args(Keep):
        message = f"keep must be one of {', '.join(get_args(Keep))}, got {keep!r}"
        raise TheoryError(message, where="keep", code="bad-argument")
    moment = second_moment(act, 1.0) if keep == "second_moment" else slope_moment(act, 1.0)
    if moment > 0.0:
        return 1.0 / math.sqrt(moment)
    what = "is 0" if keep == "second_moment" else "has slope 0"
    message = f"{act.name} {what} almost everywhere: no gain makes up for that"
    raise TheoryError(message, where="gain", code="no-gain")


def torch_gain(which: Spelled, **params: Any) -> float | None:
    """Return torch.nn.init.calculate_gain of the activation, None for one that it does not know."""
    act = activation(which, **params)
    if act.name == "leaky_relu":
        slope = float(act.params["negative_slope"])
        return math.sqrt(2.0 / (1.0 + slope * slope))
    return _TORCH.get(act.name)
