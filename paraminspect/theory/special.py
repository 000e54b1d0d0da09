"""Functions that numpy lacks."""

from __future__ import annotations

import math

import numpy as np

from paraminspect.theory.form import Array


def erf(z: Array) -> Array:
    """Return the error function of every element, as exact as the standard library's."""
    flat = np.asarray(z, dtype=float)
    return np.fromiter(map(math.erf, flat.ravel().tolist()), float, flat.size).reshape(flat.shape)


def logistic(z: Array) -> Array:
    """Return 1/(1 + exp(−z)), which a tanh gives without overflow; to 1e-16 of 1, not of itself, where it is small."""
    return 0.5 + 0.5 * np.tanh(0.5 * z)


def normal_cdf(x: float) -> float:
    """Return P(ξ < x) for a standard normal ξ, exact also far in the lower tail."""
    return 0.5 * math.erfc(-x / math.sqrt(2.0))
