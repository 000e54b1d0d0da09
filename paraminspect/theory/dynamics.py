"""The signal from layer to layer: in the limit of infinite width, and what finite widths and batches do.

Layers are h = φ(z), z' = W h + b with independent weights of variance σw²/fan_in and biases of variance σb². The first
layer takes the input x itself, without an activation before it. q is the second moment of a pre-activation, c the
cosine of two inputs' pre-activations. sigma_w2 = σw² and sigma_b2 = σb² are at least 0 and finite, and TheoryError is
raised for anything else; `params` are what `activation` takes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from paraminspect.theory.activations import Spelled, activation
from paraminspect.theory.checks import TheoryError, cosine, count, finite
from paraminspect.theory.form import Activation, Array
from paraminspect.theory.gaussian_moments import LARGEST, SMALLEST, pair_moment, second_moment, slope_moment
from paraminspect.theory.numerics import normal_cdf


def propagate(
    which: Spelled, sigma_w2: float, sigma_b2: float = 0.0, depth: int = 20, q0: float = 1.0, **params: Any
) -> Array:
    """Return q of the pre-activations of layers 1 to `depth`, an array of shape (depth,).

    q₁ = σw²·q0 + σb², q0 being the second moment of the input (of torch.rand: 1/3), and
    qₗ₊₁ = σw²·E φ(√qₗ ξ)² + σb² (Poole et al. 2016, eq. 3). A q that grows beyond what a float holds is inf.
    """
    act, weight, bias = activation(which, **params), finite("sigma_w2", sigma_w2), finite("sigma_b2", sigma_b2)
    found: list[float] = []
    q = next_second_moment(finite("q0", q0), weight, bias)
    for _ in range(count("depth", depth)):
        found.append(q)
        q = next_second_moment(second_moment(act, q), weight, bias)
    return np.array(found, dtype=float)


def gradient_factors(
    which: Spelled, sigma_w2: float, sigma_b2: float = 0.0, depth: int = 20, q0: float = 1.0, **params: Any
) -> Array:
    """Return χ = σw²·E φ'(√qₗ ξ)² between neighbouring layers, an array of shape (depth − 1,), of depth 0 empty.

    Element l − 1 is E (∂L/∂zₗ)² / E (∂L/∂zₗ₊₁)² of square layers (Schoenholz et al. 2017, eq. 15); between layers of
    different width it comes times fan_out/fan_in.
    """
    act, weight = activation(which, **params), finite("sigma_w2", sigma_w2)
    q = propagate(act, sigma_w2=weight, sigma_b2=sigma_b2, depth=depth, q0=q0)
    return weight * slope_moment(act, q[:-1])


def cosines(
    which: Spelled,
    sigma_w2: float,
    sigma_b2: float = 0.0,
    depth: int = 20,
    q0: float = 1.0,
    c0: float = 0.0,
    **params: Any,
) -> Array:
    """Return the cosine of two inputs' pre-activations in layers 1 to `depth`, an array of shape (depth,).

    The inputs have second moment q0 and cosine c0, by default orthogonal. The first layer keeps the cosine but for the
    bias both share, (σw²·q0·c0 + σb²)/q₁; every further one applies `next_cosine` at its own q. So element l, counted
    from 0, is what the activations of layer l have where σb² = 0: for He and relu .3183 .4937 .6048 at 1, 2, 3.
    """
    act, weight, bias = activation(which, **params), finite("sigma_w2", sigma_w2), finite("sigma_b2", sigma_b2)
    q = propagate(act, sigma_w2=weight, sigma_b2=bias, depth=depth, q0=q0)
    if not len(q):
        return q
    start = weight * float(q0) * cosine("c0", c0) + bias
    found = [min(1.0, start / q[0]) if 0.0 < q[0] < math.inf else math.nan]
    for one in q[:-1].tolist():
        found.append(next_cosine(act, found[-1], one, weight, bias) if not math.isnan(found[-1]) else math.nan)
    return np.array(found, dtype=float)


# --- one layer -------------------------------------------------------------------------------------------


_ROUNDING: Final = 1e-15


def next_second_moment(moment: float, sigma_w2: float, sigma_b2: float) -> float:
    """Return σw²·moment + σb²; weights of variance 0 pass nothing on, not even what is infinite."""
    return sigma_w2 * moment + sigma_b2 if sigma_w2 > 0.0 else sigma_b2


def next_cosine(act: Activation, c: float, q: float, sigma_w2: float, sigma_b2: float) -> float:
    """Return the cosine of two pre-activations one layer on: (σw²·E φ(u₁)φ(u₂) + σb²) / (σw²·E φ(u)² + σb²).

    u₁ and u₂ have variance `q` and cosine `c`; at the fixed point's q this is Poole et al. 2016, eq. 5. For relu and
    σb² = 0 it is the arc-cosine kernel, (√(1−c²) + c·(π − acos c))/π, at any q. Without biases, or where they no longer
    count beside an infinite q, σw² cancels. It is nan where nothing at all is passed on.
    """
    if sigma_w2 > 0.0 and (sigma_b2 == 0.0 or math.isinf(q)):
        q, sigma_w2, sigma_b2 = min(max(q, SMALLEST), LARGEST), 1.0, 0.0
    whole = next_second_moment(second_moment(act, q), sigma_w2, sigma_b2)
    common = next_second_moment(pair_moment(act, q, c * q), sigma_w2, sigma_b2)
    if whole <= 0.0:
        return math.nan
    cosine = common / whole
    return 0.0 if abs(cosine) < _ROUNDING else min(1.0, max(-1.0, cosine))


# --- finite width and finite batches ---------------------------------------------------------------------


_RECTIFIED: Final = 5.0
_LINEAR: Final = 2.0
_DEVIATIONS: Final = 4.0
_REACH: Final = 12.0


def fluctuation(widths: Iterable[int]) -> float:
    """Return Σ 1/n over the widths of the hidden layers: to what the variance of log q after them is proportional.

    Hanin 2018, theorem 1 and Hanin & Rolnick 2018, theorem 5: of order 1 the signal of a healthy scheme is as good as
    random. Raises TheoryError for a width that is no whole number of at least 1.
    """
    return math.fsum(1.0 / count("widths", width, 1) for width in widths)


def tolerance(widths: Iterable[int], seeds: int = 1, rectified: bool = True) -> float:
    """Return how far the logarithm of the geometric-mean factor per layer may be off: 4·√(κ·Σ1/n/S)/L.

    L layers of the `widths` n, and S `seeds` averaged: for equal widths 4·√(κ/(n·L·S)). κ/n is the variance of the
    factor of one layer of width n: 5 for rectifiers (Hanin 2018, theorem 1), else 2 (linear networks), forward as
    backward. Four standard deviations: the logarithm of a product over layers is close to normal (Hanin & Nica 2020).
    Raises TheoryError without widths, or for bad ones.
    """
    known = [count("widths", width, 1) for width in widths]
    if not known:
        raise TheoryError("widths is empty: a tolerance needs a layer", where="widths", code="bad-argument")
    kappa = _RECTIFIED if rectified else _LINEAR
    return _DEVIATIONS * math.sqrt(kappa * fluctuation(known) / count("seeds", seeds, 1)) / len(known)


def dead_share(batch: int, c: float) -> float:
    """Return P(all `batch` pre-activations of a unit are negative): centred Gaussians, any two of correlation c.

    The share of ReLU units that are dead on a batch: ∫ Φ(−√(c/(1−c))·t)^batch dN(t) (Steck & Owen 1962); 2^−batch for
    c = 0, ½ for c = 1. Raises TheoryError for c outside of [0, 1]: more than a few Gaussians cannot all be opposed.
    """
    batch, c = count("batch", batch, 1), cosine("c", c)
    if c < 0.0:
        raise TheoryError(f"c must be at least 0, got {c:g}", where="c", code="bad-argument")
    if c == 0.0:
        return 0.5**batch
    if c == 1.0:
        return 0.5
    lean = math.sqrt(c / (1.0 - c))
    t, weights = _nodes(lean, batch)
    return math.fsum(weight * normal_cdf(-lean * one) ** batch for one, weight in zip(t, weights, strict=True))


def _nodes(lean: float, batch: int) -> tuple[list[float], list[float]]:
    """Return Gauss–Legendre points and weights dense where Φ(−lean·t)^batch falls from 1 to 0."""
    x, w = np.polynomial.legendre.leggauss(20)
    turn = math.sqrt(2.0 * math.log(batch + 1.0))
    steps = [-_REACH, -8.0, -5.0, -3.0, -1.5, 0.0, 1.5, 3.0, 5.0, 8.0, _REACH]
    falls = [(offset - turn) / lean for offset in (-8.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0, 8.0)]
    edges = np.array(sorted({*steps, *(one for one in falls if abs(one) < _REACH)}))
    middle, half = (edges[1:] + edges[:-1]) / 2.0, np.diff(edges) / 2.0
    t = (middle[:, None] + half[:, None] * x).ravel()
    density = np.exp(-0.5 * t * t) / math.sqrt(2.0 * math.pi)
    return t.tolist(), ((half[:, None] * w).ravel() * density).tolist()
