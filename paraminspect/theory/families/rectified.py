"""Rectifiers: linear for positive arguments, or nearly."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from paraminspect.theory.form import PIECEWISE_LINEAR, Array, Closed, Definition, Form, positive

_SELU_SCALE: Final = 1.0507009873554804934193349852946
_SELU_ALPHA: Final = 1.6732632423543772848170429916717


def _ratio(k: float, q: float) -> float:
    """Return k/q, the correlation; of a vanishing pair the limit k → q."""
    return min(1.0, max(-1.0, k / q)) if q > 0.0 else 1.0


def _moments(slope: float) -> Closed:
    """Return the closed forms for z where z > 0 and slope·z below; 0 is ReLU, 1 the identity.

    φ = (1+a)/2·z + (1−a)/2·|z|, and E|u₁u₂| = (2/π)(√(q²−k²) + k·asin(k/q)): the arc-cosine kernel of degree 1, its
    derivative that of degree 0 (Cho & Saul 2009, eq. 6).
    """
    linear, bent = ((1.0 + slope) / 2.0) ** 2, ((1.0 - slope) / 2.0) ** 2

    def mean(q: float) -> float:
        return (1.0 - slope) * math.sqrt(q) / math.sqrt(2.0 * math.pi)

    def pair(q: float, k: float) -> float:
        root = math.sqrt(max(q - k, 0.0)) * math.sqrt(max(q + k, 0.0))
        return linear * k + bent * (root + k * math.asin(_ratio(k, q))) * (2.0 / math.pi)

    def slope_pair(q: float, k: float) -> float:
        return linear + bent * math.asin(_ratio(k, q)) * (2.0 / math.pi)

    return Closed(mean, pair, slope_pair)


def _rectifier(negative_slope: float) -> Form:
    return Form(
        lambda z: np.where(z > 0, z, negative_slope * z),
        lambda z: np.where(z > 0, 1.0, negative_slope),
        () if negative_slope == 1.0 else (0.0,),
        PIECEWISE_LINEAR,
        closed=_moments(negative_slope),
    )


def _relu6() -> Form:
    return Form(
        lambda z: np.clip(z, 0.0, 6.0),
        lambda z: np.where((z > 0) & (z < 6), 1.0, 0.0),
        (0.0, 6.0),
        PIECEWISE_LINEAR,
    )


def _exponential(scale: float, alpha: float, length: float) -> Form:
    """Return scale·z for positive z and scale·alpha·(exp(z/length) − 1) for negative."""

    def phi(z: Array) -> Array:
        return scale * np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0.0) / length))

    def derivative(z: Array) -> Array:
        return scale * np.where(z > 0, 1.0, alpha / length * np.exp(np.minimum(z, 0.0) / length))

    return Form(phi, derivative, (0.0,), 3.0 * length)  # an exponential has no poles: polynomials reach further


def _threshold(threshold: float, value: float) -> Form:
    return Form(
        lambda z: np.where(z > threshold, z, value),
        lambda z: np.where(z > threshold, 1.0, 0.0),
        (threshold,),
        PIECEWISE_LINEAR,
    )


def _ordered(lower: float, upper: float) -> str:
    return "" if lower <= upper else f"lower must not be above upper, got {lower:g} and {upper:g}"


DEFINITIONS: Final = (
    Definition("linear", lambda: _rectifier(1.0), others=("identity",)),
    Definition("relu", lambda: _rectifier(0.0)),
    Definition("leaky_relu", _rectifier, {"negative_slope": 0.01}),
    Definition("prelu", lambda init: _rectifier(negative_slope=init), {"init": 0.25}, spellings={"weight": "init"}),
    # the slope that torch takes in evaluation, the middle of the two
    Definition(
        "rrelu", lambda lower, upper: _rectifier((lower + upper) / 2), {"lower": 1 / 8, "upper": 1 / 3}, _ordered
    ),
    Definition("relu6", _relu6),
    Definition("elu", lambda alpha: _exponential(1.0, alpha, 1.0), {"alpha": 1.0}),
    Definition("celu", lambda alpha: _exponential(1.0, alpha, alpha), {"alpha": 1.0}, positive("alpha")),
    Definition("selu", lambda: _exponential(_SELU_SCALE, _SELU_ALPHA, 1.0)),
    Definition("threshold", _threshold, {"threshold": None, "value": None}),
)
