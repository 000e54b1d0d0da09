"""Where a deep network settles: the fixed point of the second moment, the stable correlation, and how soon."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Final

from paraminspect.frozen import dataclass
from paraminspect.theory.activations import Spelled, activation
from paraminspect.theory.checks import finite, nonnegative
from paraminspect.theory.dynamics import next_cosine, next_second_moment
from paraminspect.theory.form import PIECEWISE_LINEAR, Activation
from paraminspect.theory.gaussian_moments import (
    LARGEST,
    SMALLEST,
    response,
    second_moment,
    slope_moment,
    slope_pair_moment,
)
from paraminspect.theory.numerics import positive_root, root

CLOSE: Final = 1e-7
"""A relative change of q per layer that counts as none: variances of eight digits meet a half-stable q no closer."""

_ONE: Final = 1e-10
_BELOW_ONE: Final = 1e-6
_FIRST_LAYERS: Final = 8
_FAR: Final = 1e12
_NOISE: Final = 1e-12


@dataclass(frozen=True)
class FixedPoint:
    """Say what pre-activations tend to with depth.

    `q` is their second moment: 0 where the signal dies out, inf where it grows without end. `chi1` is
    χ₁ = σw²·E φ'(√q ξ)², the factor on squared gradients per layer; at q = 0 and inf its limit. `c` is the cosine that
    two different inputs end at: 1, or less where χ₁ > 1; nan where every cosine stays as it is (a linear network
    without biases, a tanh network whose signal dies out), or where nothing is passed on. `xi_q` and `xi_c` are the
    depth scales ξ, in layers: deviations from q and c shrink as exp(−l/ξ). They are inf where the approach is slower
    than any exponential (criticality; the cosine of ReLU without biases) or there is none (c is nan), 0 where one layer
    is enough; for q = inf, `xi_q` is the number of layers over which q grows e-fold.
    """

    q: float
    chi1: float
    c: float
    xi_q: float
    xi_c: float


def fixed_point(which: Spelled, sigma_w2: float, sigma_b2: float = 0.0, q0: float = 1.0, **params: Any) -> FixedPoint:
    """Return where weights of variance σw²/fan_in and biases of variance σb² lead with depth.

    q* = σw²·E φ(√q* ξ)² + σb² (Poole et al. 2016, eq. 3), the one reached from inputs of second moment `q0`: where
    every q is a fixed point, as with He and relu, it is q₁ = σw²·q0. χ₁ by Schoenholz et al. 2017, eq. 5; c* the stable
    solution of c = (σw²·E φ(u₁)φ(u₂) + σb²)/q*; ξ_q = −1/ln |dqₗ₊₁/dqₗ| and ξ_c = −1/ln(σw²·E φ'(u₁)φ'(u₂)) (eq. 7, 9).
    Where q* is 0 or inf, c* and ξ_c are those of the cosine itself, both sides divided by q. A q that changes by less
    than 1e-7 of itself in a layer, and away from which changes are larger, counts as reached (half-stable points).
    """
    act = activation(which, **params)
    return _fixed_point(act, finite("sigma_w2", sigma_w2), finite("sigma_b2", sigma_b2), finite("q0", q0))


@lru_cache(maxsize=256)
def _fixed_point(act: Activation, weight: float, bias: float, q0: float) -> FixedPoint:
    q = _limit_of_q(act, weight, bias, q0)
    c = _stable_cosine(act, q, weight, bias)
    return FixedPoint(
        q=q,
        chi1=weight * slope_moment(act, q),
        c=c,
        xi_q=depth_scale(abs(weight * response(act, q))),
        xi_c=_cosine_scale(act, c, q, weight, bias),
    )


def depth_scale(chi: float) -> float:
    """Return ξ = 1/|ln χ|, the number of layers over which a factor χ per layer makes up e (Schoenholz et al. 2017).

    inf for χ = 1 (within 1e-10), 0 for χ = 0 and inf.
    """
    chi = nonnegative("chi", chi)
    if abs(chi - 1.0) <= _ONE:
        return math.inf
    return 0.0 if chi == 0.0 or math.isinf(chi) else 1.0 / abs(math.log(chi))


def regime(chi1: float, tolerance: float = 1e-3) -> str:
    """Return ``ordered``, ``critical`` or ``chaotic``: χ₁ below, at or above 1 (Schoenholz et al. 2017, section 3).

    Within `tolerance` of 1 is critical: by default, a depth scale of more than a thousand layers.
    """
    chi1, tolerance = nonnegative("chi1", chi1), nonnegative("tolerance", tolerance)
    if abs(chi1 - 1.0) <= tolerance:
        return "critical"
    return "ordered" if chi1 < 1.0 else "chaotic"


# --- the second moment -------------------------------------------------------------------------------------------


def homogeneous(act: Activation) -> bool:
    """Tell whether φ is two half-lines that meet at 0, so that every moment is proportional to a power of q."""
    at_zero = second_moment(act, 0.0)
    return act.width == PIECEWISE_LINEAR and set(act.breakpoints) <= {0.0} and at_zero == 0.0


def _limit_of_q(act: Activation, weight: float, bias: float, q0: float) -> float:
    """Return the limit of q with depth."""
    q = next_second_moment(q0, weight, bias)
    if homogeneous(act):
        return _geometric_limit(q, weight * slope_moment(act, 1.0), bias)
    for _ in range(_FIRST_LAYERS):
        before, q = q, next_second_moment(second_moment(act, q), weight, bias)
        if math.isinf(q) or abs(q - before) <= 1e-13 * q:
            return q
    return _search(act, q, weight, bias)


def _geometric_limit(q: float, factor: float, bias: float) -> float:
    """Return the limit of q → factor·q + bias."""
    if abs(factor - 1.0) <= 1e-12:
        return q if bias == 0.0 else math.inf
    if factor < 1.0:
        return bias / (1.0 - factor)
    return math.inf if q > 0.0 else 0.0


def _search(act: Activation, start: float, weight: float, bias: float) -> float:
    """Return the fixed point that q moves to from `start`: the nearest in the direction in which it moves.

    Steps grow until q would move back (a fixed point lies between), or until its relative change has passed a smallest
    value (a half-stable one may lie there). Without one, q tends to 0 or to infinity.
    """

    def growth(q: float) -> float:
        return next_second_moment(second_moment(act, q), weight, bias) / q - 1.0

    def slope(q: float) -> float:
        return weight * response(act, q) - growth(q) - 1.0

    here, up = start, growth(start) > 0.0
    low, high = bias / 2.0 if bias > 0.0 else start / _FAR, start * _FAR
    step = 1e-3
    while low < here < high:
        there = here * (1.0 + step) if up else here / (1.0 + step)
        if (growth(there) > 0.0) != up:
            return positive_root(growth, min(here, there), max(here, there))
        if slope(here) < -_NOISE and slope(there) > _NOISE:
            least = positive_root(slope, min(here, there), max(here, there))
            if (growth(least) > 0.0) != up:
                return positive_root(growth, min(here, least), max(here, least))
            if abs(growth(least)) <= CLOSE:
                return least
        here, step = there, min(2.0 * step, 3.0)
    return math.inf if up else 0.0


# --- the cosine ----------------------------------------------------------------------------------------------------


def _stable_cosine(act: Activation, q: float, weight: float, bias: float) -> float:
    """Return the cosine that attracts.

    The map is a power series in c without negative coefficients, hence convex on [0, 1]: it stays above the diagonal,
    and 1 attracts, unless it comes to 1 from below, where it has crossed the diagonal once before.
    """

    def rise(c: float) -> float:
        return next_cosine(act, c, q, weight, bias) - c

    start, near = rise(0.0), 1.0 - _BELOW_ONE
    if math.isnan(start) or (abs(start) <= 1e-12 and abs(rise(0.5)) <= 1e-12):
        return math.nan
    if rise(near) >= -CLOSE * _BELOW_ONE:
        return 1.0
    return 0.0 if start <= 1e-12 else root(rise, 0.0, near)


def _cosine_scale(act: Activation, c: float, q: float, weight: float, bias: float) -> float:
    """Return ξ_c from the derivative of the cosine map at c, which is a moment of φ' by Price's theorem."""
    if weight == 0.0:
        return 0.0 if bias > 0.0 else math.nan
    if math.isnan(c):
        return math.inf
    if bias == 0.0 or math.isinf(q):
        q, weight, bias = min(max(q, SMALLEST), LARGEST), 1.0, 0.0
    whole = next_second_moment(second_moment(act, q), weight, bias)
    return depth_scale(weight * slope_pair_moment(act, q, c * q) * (q / whole))
