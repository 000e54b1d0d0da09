"""Moments of an activation under Gaussian pre-activations: what every recursion of the theory is made of.

z is a centred Gaussian of variance q; u₁ and u₂ are two of them with covariance k. Every function takes an activation
by its name, as `activation` made it, or as a function of arrays. q may be any number from 0 to infinity (then the
limit), or an array, which gives an array of its shape. Where there is a closed form (see families/) it is taken; else
moments are integrals to at least ten digits, of two variables to at least eight. All are cached. A negative number or
NaN raises TheoryError.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, Protocol, overload

import numpy as np
import numpy.typing as npt

from paraminspect.theory.activations import Spelled, activation
from paraminspect.theory.checks import TheoryError, finite, nonnegative
from paraminspect.theory.form import Activation, Array, Function
from paraminspect.theory.numerics import line, normal_cdf, plane

SMALLEST: Final = 1e-290
LARGEST: Final = 1e300
_CACHED: Final = 4096
_ROUNDING: Final = 1e-15


class Moment(Protocol):
    """A moment as a function of the variance, 1 by default; it takes a number or an array, and returns the same."""

    @overload
    def __call__(self, which: Spelled, q: float = ...) -> float: ...
    @overload
    def __call__(self, which: Spelled, q: npt.NDArray[Any]) -> Array: ...


def _moment(function: Callable[[Activation, float], float]) -> Moment:
    """Let a function of one variance take arrays too, check its arguments and remember what it returned."""
    remembered = lru_cache(maxsize=_CACHED)(function)

    @functools.wraps(function)
    def moment(which: Spelled, q: Any = 1.0) -> Any:
        act = activation(which)
        if isinstance(q, np.ndarray):
            found = [remembered(act, nonnegative("q", float(one))) for one in q.ravel()]
            return np.array(found, dtype=float).reshape(q.shape)
        return remembered(act, nonnegative("q", q))

    return moment


@_moment
def mean(act: Activation, q: float) -> float:
    """Return E φ(z)."""
    if q == 0.0:
        return _at_zero(act)
    if act.closed is not None:
        return _limit(act.closed.mean(min(q, LARGEST)), q)
    return _limit(expectation(act, act.phi, q), q)


@_moment
def second_moment(act: Activation, q: float) -> float:
    """Return E φ(z)²: σw² times it (+ σb²) is the next layer's q (Poole et al. 2016, eq. 3)."""
    if q == 0.0:
        return _at_zero(act) ** 2
    if act.closed is not None:
        within = min(q, LARGEST)
        return _limit(act.closed.pair(within, within), q)
    return _limit(expectation(act, lambda z: act.phi(z) ** 2, q), q)


@_moment
def slope_moment(act: Activation, q: float) -> float:
    """Return E φ'(z)²: σw² times it is χ₁ (Schoenholz et al. 2017, eq. 5); at q = 0 the limit, for kinks at 0."""
    if act.closed is not None:
        within = min(q, LARGEST)
        return act.closed.slope_pair(within, within)
    return expectation(act, lambda z: act.derivative(z) ** 2, max(q, SMALLEST))


@_moment
def response(act: Activation, q: float) -> float:
    """Return d E φ(z)² / dq: σw² times it is the factor by which a deviation from q* shrinks per layer.

    The limit at q = 0, which exists where φ(0) = 0. From the derivative of the Gaussian's density,
    E[φ²·(z²/q − 1)]/(2q), which holds for φ with jumps too and equals E φ'² + E φφ'' where these exist.
    """
    within = min(max(q, SMALLEST), LARGEST)
    start = _at_zero(act) ** 2
    rise = expectation(act, lambda z: (act.phi(z) ** 2 - start) * (z / within * z - 1.0), within)
    return rise / (2.0 * within)


def expectation(which: Spelled, function: Function, q: float) -> float:
    """Return E f(z) for a function of arrays that breaks where the activation does; infinite where it overflows.

    What is left over when terms cancel to the last bit is 0.
    """
    act, q = activation(which), nonnegative("q", q)
    if q == 0.0:
        return float(function(np.zeros(1))[0])
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        z, weights = line(act, min(q, LARGEST))
        terms = function(z) * weights
        found, size = float(terms.sum()), float(np.abs(terms).sum())
    if math.isnan(found):
        return math.inf
    return 0.0 if abs(found) <= _ROUNDING * size else found


def pair_moment(which: Spelled, q: float, k: float) -> float:
    """Return E φ(u₁)φ(u₂), Var = q, Cov = k: σw² times it (+ σb²) is the next covariance (Poole et al. 2016, eq. 5).

    The arc-cosine kernel for rectifiers (Cho & Saul 2009), the arcsine kernel for erf (Williams 1997), closed forms for
    gelu, sin and cos; else an integral over the plane. Raises TheoryError unless |k| ≤ q and both are finite.
    """
    return _pair(activation(which), *_covariance(q, k))


def slope_pair_moment(which: Spelled, q: float, k: float) -> float:
    """Return E φ'(u₁)φ'(u₂), by Price's theorem the derivative of `pair_moment` in k; raises as `pair_moment` does."""
    return _slope_pair(activation(which), *_covariance(q, k))


@lru_cache(maxsize=_CACHED)
def _pair(act: Activation, q: float, k: float) -> float:
    if q == 0.0:
        return _at_zero(act) ** 2
    return act.closed.pair(q, k) if act.closed is not None else _integral(act, act.phi, q, k)


@lru_cache(maxsize=_CACHED)
def _slope_pair(act: Activation, q: float, k: float) -> float:
    if act.closed is not None:
        return act.closed.slope_pair(q, k)
    return slope_moment(act, 0.0) if q == 0.0 else _integral(act, act.derivative, q, k)


def _integral(act: Activation, function: Function, q: float, k: float) -> float:
    """Integrate over the plane, or over the line to which it shrinks when the correlation is ±1."""
    if k == q:
        return expectation(act, lambda z: function(z) ** 2, q)
    if k == -q:
        mirrored = Activation(act.phi, act.derivative, (*act.breakpoints, *(-p for p in act.breakpoints)), act.width)
        return expectation(mirrored, lambda z: function(z) * function(-z), q)
    return plane(act, function, q, k)


def _covariance(q: float, k: float) -> tuple[float, float]:
    """Check a variance and a covariance; one that rounding put outside of [−q, q] is put back."""
    q = finite("q", q)
    k = float(k)
    if not abs(k) <= q * (1.0 + 1e-9):
        message = f"k is a covariance, at most q = {q:g} in size, got {k:g}"
        raise TheoryError(message, where="k", code="bad-argument")
    return q, min(q, max(-q, k))


def saturated_share(which: Spelled, q: float) -> float | None:
    """Return P(|φ'(z)| < 0.05·max|φ'|), the share of units that a gradient hardly passes; None unless φ is a sigmoid.

    Known for tanh, sigmoid, softsign, hardtanh, hardsigmoid, erf and atan.
    """
    act, q = activation(which), nonnegative("q", q)
    if act.saturation is None:
        return None
    low, high = act.saturation
    if q == 0.0:
        return float(not low < 0.0 < high)
    return normal_cdf(low / math.sqrt(q)) + normal_cdf(-high / math.sqrt(q))


@lru_cache(maxsize=_CACHED)
def _at_zero(act: Activation) -> float:
    return float(act.phi(np.zeros(1))[0])


def _limit(found: float, q: float) -> float:
    """Return the moment at q, given the one at `LARGEST` if q is above that: it is infinite if that was huge."""
    return math.copysign(math.inf, found) if q > LARGEST and abs(found) > 1e100 else found
