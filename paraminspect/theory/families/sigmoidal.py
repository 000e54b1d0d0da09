"""Sigmoids, which saturate on both sides, and the periodic ones."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from paraminspect.theory.form import PIECEWISE_LINEAR, Array, Closed, Definition, Form
from paraminspect.theory.numerics import erf, logistic

_LEFT: Final = 1 / 20  # of the greatest slope; what is below counts as saturated


def _within(limit: float) -> tuple[float, float]:
    return (-limit, limit)


def _tanh() -> Form:
    return Form(np.tanh, lambda z: 1.0 - np.tanh(z) ** 2, saturation=_within(math.acosh(_LEFT**-0.5)))


def _sigmoid() -> Form:
    def derivative(z: Array) -> Array:
        value = logistic(z)
        return value * (1.0 - value)

    return Form(logistic, derivative, width=2.0, saturation=_within(2.0 * math.acosh(_LEFT**-0.5)))


def _softsign() -> Form:
    return Form(
        lambda z: z / (1.0 + np.abs(z)),
        lambda z: (1.0 / (1.0 + np.abs(z))) ** 2,
        (0.0,),
        0.5,
        _within(_LEFT**-0.5 - 1.0),
    )


def _hardtanh(min_val: float, max_val: float) -> Form:
    """Return z cut off at both bounds; one that is infinite is no breakpoint, and φ does not saturate there.

    At 0 it is a rectifier's off, as relu6 below: a unit may be dead, but is not saturated.
    """
    ends = tuple(end for end in (min_val, max_val) if math.isfinite(end))
    return Form(
        lambda z: np.clip(z, min_val, max_val),
        lambda z: np.where((z > min_val) & (z < max_val), 1.0, 0.0),
        ends,
        PIECEWISE_LINEAR,
        (-math.inf if min_val == 0 else min_val, max_val) if len(ends) == 2 else None,
    )


def _hardtanh_fault(min_val: float, max_val: float) -> str:
    return "" if min_val < max_val else f"min_val must be below max_val, got {min_val:g} and {max_val:g}"


def _hardsigmoid() -> Form:
    return Form(
        lambda z: np.clip(z / 6.0 + 0.5, 0.0, 1.0),
        lambda z: np.where(np.abs(z) < 3.0, 1.0 / 6.0, 0.0),
        (-3.0, 3.0),
        PIECEWISE_LINEAR,
        _within(3.0),
    )


def _erf_pair(q: float, k: float) -> float:
    return 2.0 / math.pi * math.asin(2.0 * (k / (1.0 + 2.0 * q)))


def _erf_slope_pair(q: float, k: float) -> float:
    return 4.0 / math.pi / (math.sqrt(1.0 + 2.0 * (q - k)) * math.sqrt(1.0 + 2.0 * (q + k)))


_ERF: Final = Closed(lambda q: 0.0, _erf_pair, _erf_slope_pair)
"""The arcsine kernel (Williams 1997, eq. 11), and by Price's theorem its derivative in k."""


def _erf() -> Form:
    def derivative(z: Array) -> Array:
        near = np.minimum(np.abs(z), 40.0)
        bell: Array = np.exp(-near * near)
        return bell * (2.0 / math.sqrt(math.pi))

    return Form(erf, derivative, saturation=_within(math.sqrt(-math.log(_LEFT))), closed=_ERF)


def _atan() -> Form:
    def derivative(z: Array) -> Array:
        return 1.0 / (1.0 + z * z)

    return Form(np.arctan, derivative, width=0.6, saturation=_within(math.sqrt(1 / _LEFT - 1.0)))


def _sine_pair(q: float, k: float) -> float:
    return math.exp(-q) * math.sinh(k) if q < 1.0 else (math.exp(k - q) - math.exp(-k - q)) / 2.0


def _cosine_pair(q: float, k: float) -> float:
    return (math.exp(k - q) + math.exp(-k - q)) / 2.0


_SINE: Final = Closed(lambda q: 0.0, _sine_pair, _cosine_pair)
_COSINE: Final = Closed(lambda q: math.exp(-q / 2.0), _cosine_pair, _sine_pair)
"""From the characteristic function of a Gaussian: E cos u = exp(−Var[u]/2)."""


DEFINITIONS: Final = (
    Definition("tanh", _tanh),
    Definition("sigmoid", _sigmoid),
    Definition("softsign", _softsign),
    Definition(
        "hardtanh", _hardtanh, {"min_val": -1.0, "max_val": 1.0}, _hardtanh_fault, bounds=("min_val", "max_val")
    ),
    Definition("hardsigmoid", _hardsigmoid),
    Definition("erf", _erf),
    Definition("atan", _atan),
    Definition("sin", lambda: Form(np.sin, np.cos, closed=_SINE)),
    Definition("cos", lambda: Form(np.cos, lambda z: -np.sin(z), closed=_COSINE)),
)
