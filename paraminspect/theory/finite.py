"""What finite width and finite batches do: fluctuations, tolerances, and units that are dead on a batch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import numpy as np

from paraminspect.theory.checks import TheoryError, cosine, count
from paraminspect.theory.numerics import normal_cdf

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
