"""What finite width and finite batches do: fluctuations, tolerances, and units that are dead on a batch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from paraminspect.theory.activations import Spelled, activation
from paraminspect.theory.arguments import TheoryError, cosine, count, nonnegative
from paraminspect.theory.dynamics import cosines
from paraminspect.theory.moments import fourth_moment, fourth_slope_moment, second_moment, slope_moment
from paraminspect.theory.special import normal_cdf

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


def spread(which: Spelled, q: float = 1.0, backward: bool = False, **params: Any) -> float:
    """Return κ: Var[qₗ₊₁/qₗ] = κ/n in a layer of width n, of the squared activations or, `backward`, of the gradients.

    Given the layer below, the n pre-activations are independent Gaussians: forward κ = E φ⁴/(E φ²)² − 1; backward the
    sum over n is weighted by φ'², and κ = 3·E φ'⁴/(E φ'²)² − 1. Both are 5 for relu and 2 for a linear network (Hanin
    2018, whose theorem 1 has the 5). For an activation that is not homogeneous the ratio also returns to its mean from
    layer to layer, and κ is an upper bound on what accumulates. inf where the moment is 0.
    """
    act, q = activation(which, **params), nonnegative("q", q)
    fourth = fourth_slope_moment(act, q) if backward else fourth_moment(act, q)
    second = slope_moment(act, q) if backward else second_moment(act, q)
    if not 0.0 < second < math.inf:
        return math.inf
    return (3.0 if backward else 1.0) * (fourth / second / second) - 1.0


def tolerance(widths: Iterable[int], seeds: int = 1, rectified: bool = True, kappa: float | None = None) -> float:
    """Return how far the logarithm of the geometric-mean factor per layer may be off: 4·√(κ·Σ1/n/S)/L.

    L layers of the `widths` n, and S `seeds` averaged: for equal widths 4·√(κ/(n·L·S)). κ is 5 for rectifiers, else 2
    (linear networks), or `kappa`, as `spread` gives it. Four standard deviations: the logarithm of a product over
    layers is close to normal (Hanin & Nica 2020). Raises TheoryError without widths, or for bad ones.
    """
    known = [count("widths", width, 1) for width in widths]
    if not known:
        raise TheoryError("widths is empty: a tolerance needs a layer", where="widths", code="bad-argument")
    each = (_RECTIFIED if rectified else _LINEAR) if kappa is None else nonnegative("kappa", kappa)
    return _DEVIATIONS * math.sqrt(each * fluctuation(known) / count("seeds", seeds, 1)) / len(known)


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


def expected_dead(
    batch: int = 64,
    depth: int = 20,
    *,
    c0: float = 0.0,
    which: Spelled = "relu",
    sigma_w2: float = 2.0,
    sigma_b2: float = 0.0,
    q0: float = 1.0,
) -> float:
    """Return the share of units in layer `depth` that are negative on all of a batch of `batch` inputs.

    By default a healthy net: He and relu, and inputs that are orthogonal (cosine `c0`). 64 inputs give .0145 .0622
    .1711 .2861 at layers 3, 5, 10, 20. For a cosine that is known at the layer, say a measured one, see `dead_share`.
    """
    depth = count("depth", depth, 1)
    course = cosines(which, sigma_w2=sigma_w2, sigma_b2=sigma_b2, depth=depth, q0=q0, c0=c0)
    return dead_share(batch, float(course[-1]))
