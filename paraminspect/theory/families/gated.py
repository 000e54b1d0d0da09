"""Smooth rectifiers (the argument times a gate, or a logarithm of exponentials), and what is small near zero."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from paraminspect.theory.form import PIECEWISE_LINEAR, Array, Closed, Definition, Form, positive
from paraminspect.theory.numerics import erf, logistic

_FAR: Final = 30.0  # the gates are 0 or 1 to the last bit beyond


def _gelu_mean(q: float) -> float:
    return q / (math.sqrt(2.0 * math.pi) * math.sqrt(1.0 + q))


def _gelu_pair(q: float, k: float) -> float:
    m = 1.0 + q
    less, more = 1.0 + (q - k), 1.0 + (q + k)
    bump = (q - k) / math.sqrt(less) * ((q + k) / math.sqrt(more)) + 2.0 * (k / m) * (
        k / (math.sqrt(less) * math.sqrt(more))
    )
    return k * (0.25 + math.asin(k / m) / (2.0 * math.pi)) + bump / (2.0 * math.pi)


def _gelu_slope_pair(q: float, k: float) -> float:
    m = 1.0 + q
    less, more = 1.0 + (q - k), 1.0 + (q + k)
    lean = k / (math.sqrt(less) * math.sqrt(more))
    return 0.25 + math.asin(k / m) / (2.0 * math.pi) + lean * (2.0 / m + 1.0 / less / more) / (2.0 * math.pi)


_GELU: Final = Closed(_gelu_mean, _gelu_pair, _gelu_slope_pair)
"""φ = zΦ(z), by Stein's lemma from E Φ(u₁)Φ(u₂) = 1/4 + asin(k/(1+q))/2π (Tsuchida et al. 2021, section 3.1).

With m = 1+q and D = m²−k²: 2π·E φφ = k(π/2 + asin(k/m)) + (q²−k² + 2k²/m)/√D, and its derivative in k.
"""


def _gelu_erf() -> Form:
    def gate(z: Array) -> Array:
        return 0.5 * (1.0 + erf(z / math.sqrt(2.0)))

    def derivative(z: Array) -> Array:
        density = np.exp(-0.5 * np.minimum(np.abs(z), 40.0) ** 2) / math.sqrt(2.0 * math.pi)
        return gate(z) + z * density

    return Form(lambda z: z * gate(z), derivative, closed=_GELU)


def _gelu_tanh() -> Form:
    """Return torch's approximation: the error function replaced by a tanh of a cubic."""
    scale, cubic = math.sqrt(2.0 / math.pi), 0.044715

    def inner(z: Array) -> Array:
        near = np.clip(z, -_FAR, _FAR)
        return np.tanh(scale * (near + cubic * near**3))

    def derivative(z: Array) -> Array:
        near, tanh = np.clip(z, -_FAR, _FAR), inner(z)
        return 0.5 * (1.0 + tanh) + 0.5 * near * (1.0 - tanh**2) * scale * (1.0 + 3.0 * cubic * near**2)

    return Form(lambda z: 0.5 * z * (1.0 + inner(z)), derivative, width=0.7)


def _gelu_fault(approximate: str) -> str:
    return "" if approximate in ("none", "tanh") else f"approximate must be one of none, tanh; got {approximate!r}"


def _silu() -> Form:
    def derivative(z: Array) -> Array:
        gate = logistic(z)
        return gate + z * gate * (1.0 - gate)

    return Form(lambda z: z * logistic(z), derivative)


def _mish() -> Form:
    def gate(z: Array) -> Array:
        return np.tanh(np.logaddexp(0.0, z))

    def derivative(z: Array) -> Array:
        tanh = gate(z)
        return tanh + z * (1.0 - tanh**2) * logistic(z)

    return Form(lambda z: z * gate(z), derivative)


def _softplus(beta: float, threshold: float) -> Form:
    """Return log(1 + exp(βz))/β, and z itself where βz is above the threshold, as torch does.

    The jump there is exp(−threshold)/β; at torch's own threshold of 20 it is no more than 2e-9, and not a breakpoint.
    """
    start = threshold / beta

    def phi(z: Array) -> Array:
        return np.where(z > start, z, np.logaddexp(0.0, beta * np.minimum(z, start)) / beta)

    def derivative(z: Array) -> Array:
        return np.where(z > start, 1.0, logistic(beta * np.minimum(z, start)))

    return Form(phi, derivative, (start,) if threshold < 20.0 else (), 1.0 / beta)


def _hardswish() -> Form:
    return Form(
        lambda z: z * np.clip(z / 6.0 + 0.5, 0.0, 1.0),
        lambda z: np.where(np.abs(z) < 3.0, z / 3.0 + 0.5, np.where(z > 0, 1.0, 0.0)),
        (-3.0, 3.0),
        PIECEWISE_LINEAR,
    )


def _hardshrink(lambd: float) -> Form:
    return Form(
        lambda z: np.where(np.abs(z) > lambd, z, 0.0),
        lambda z: np.where(np.abs(z) > lambd, 1.0, 0.0),
        tuple({-lambd, lambd}),
        PIECEWISE_LINEAR,
    )


def _softshrink(lambd: float) -> Form:
    return Form(
        lambda z: z - np.clip(z, -lambd, lambd),
        lambda z: np.where(np.abs(z) > lambd, 1.0, 0.0),
        tuple({-lambd, lambd}),
        PIECEWISE_LINEAR,
    )


def _lambd_fault(lambd: float) -> str:
    return "" if lambd >= 0 else f"lambd must be at least 0, got {lambd:g}"


DEFINITIONS: Final = (
    Definition(
        "gelu",
        lambda approximate: _gelu_tanh() if approximate == "tanh" else _gelu_erf(),
        {"approximate": "none"},
        _gelu_fault,
    ),
    Definition("silu", _silu, others=("swish",)),
    Definition("mish", _mish),
    Definition("softplus", _softplus, {"beta": 1.0, "threshold": 20.0}, positive("beta")),
    Definition("logsigmoid", lambda: Form(lambda z: -np.logaddexp(0.0, -z), lambda z: logistic(-z))),
    Definition("hardswish", _hardswish),
    Definition("hardshrink", _hardshrink, {"lambd": 0.5}, _lambd_fault),
    Definition("softshrink", _softshrink, {"lambd": 0.5}, _lambd_fault),
    Definition("tanhshrink", lambda: Form(lambda z: z - np.tanh(z), lambda z: np.tanh(z) ** 2)),
)
