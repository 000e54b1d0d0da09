"""The moments of a tensor of which some elements were set to zero after it was drawn."""

from __future__ import annotations

import math

from paraminspect.init.schemes import expected_moments
from paraminspect.init.schemes.scheme import Moments


def diluted(drawn: Moments, zeros: float) -> Moments | None:
    """Return the moments when a share `zeros` of the elements is 0; None where which ones they are matters.

    With p the share that is left, mean pμ and variance p(σ² + μ²) − p²μ². The fourth moment counts the drawn elements
    as symmetric. It widens the tolerance only, and so does a kurtosis of at least 3: for elements that depend on each
    other (orthogonal) their squares then vary as those of independent ones.
    """
    if not zeros or drawn.mean is None or drawn.std is None:
        return drawn
    if drawn.std and drawn.kurtosis is None:
        return None
    p, mu, variance = 1.0 - zeros, drawn.mean, drawn.std**2
    mean, spread = p * mu, p * variance + p * zeros * mu**2
    if not spread:
        return expected_moments.constant(mean)
    kurtosis = None
    if drawn.kurtosis is not None:
        shift = mu - mean
        fourth = p * (max(drawn.kurtosis, 3.0) * variance**2 + 6 * variance * shift**2 + shift**4) + zeros * mean**4
        kurtosis = fourth / spread**2
    low, high = (None if end is None else pick(end, 0.0) for pick, end in ((min, drawn.low), (max, drawn.high)))
    return Moments(mean, math.sqrt(spread), kurtosis, low, high)
