"""Gaussian moments in closed form: linear and rectified, erf, gelu, sine.

u₁ and u₂ are centred Gaussians of variance q and covariance k, |k| ≤ q. Every expression is arranged so that nothing
overflows or cancels from q = 0 to 1e300.
"""

from __future__ import annotations

import math

from paraminspect.theory.form import Closed

_TWO_PI = 2.0 * math.pi


def _ratio(k: float, q: float) -> float:
    """Return k/q, the correlation; of a vanishing pair the limit k → q."""
    return min(1.0, max(-1.0, k / q)) if q > 0.0 else 1.0


def rectified(slope: float) -> Closed:
    """Return the moments of z for z > 0 and slope·z below; 0 is ReLU, 1 the identity.

    φ = (1+a)/2·z + (1−a)/2·|z|, and E|u₁u₂| = (2/π)(√(q²−k²) + k·asin(k/q)): the arc-cosine kernel of degree 1, its
    derivative that of degree 0 (Cho & Saul 2009, eq. 6).
    """
    linear, bent = ((1.0 + slope) / 2.0) ** 2, ((1.0 - slope) / 2.0) ** 2

    def mean(q: float) -> float:
        return (1.0 - slope) * math.sqrt(q) / math.sqrt(_TWO_PI)

    def pair(q: float, k: float) -> float:
        root = math.sqrt(max(q - k, 0.0)) * math.sqrt(max(q + k, 0.0))
        return linear * k + bent * (root + k * math.asin(_ratio(k, q))) * (2.0 / math.pi)

    def slope_pair(q: float, k: float) -> float:
        return linear + bent * math.asin(_ratio(k, q)) * (2.0 / math.pi)

    return Closed(mean, pair, slope_pair)


def _erf_pair(q: float, k: float) -> float:
    return 2.0 / math.pi * math.asin(2.0 * (k / (1.0 + 2.0 * q)))


def _erf_slope_pair(q: float, k: float) -> float:
    return 4.0 / math.pi / (math.sqrt(1.0 + 2.0 * (q - k)) * math.sqrt(1.0 + 2.0 * (q + k)))


ERF = Closed(lambda q: 0.0, _erf_pair, _erf_slope_pair)
"""The arcsine kernel (Williams 1997, eq. 11), and by Price's theorem its derivative in k."""


def _gelu_mean(q: float) -> float:
    return q / (math.sqrt(_TWO_PI) * math.sqrt(1.0 + q))


def _gelu_pair(q: float, k: float) -> float:
    m = 1.0 + q
    less, more = 1.0 + (q - k), 1.0 + (q + k)
    bump = (q - k) / math.sqrt(less) * ((q + k) / math.sqrt(more)) + 2.0 * (k / m) * (
        k / (math.sqrt(less) * math.sqrt(more))
    )
    return k * (0.25 + math.asin(k / m) / _TWO_PI) + bump / _TWO_PI


def _gelu_slope_pair(q: float, k: float) -> float:
    m = 1.0 + q
    less, more = 1.0 + (q - k), 1.0 + (q + k)
    lean = k / (math.sqrt(less) * math.sqrt(more))
    return 0.25 + math.asin(k / m) / _TWO_PI + lean * (2.0 / m + 1.0 / less / more) / _TWO_PI


GELU = Closed(_gelu_mean, _gelu_pair, _gelu_slope_pair)
"""φ = zΦ(z), by Stein's lemma from E Φ(u₁)Φ(u₂) = 1/4 + asin(k/(1+q))/2π (Tsuchida et al. 2021, section 3.1).

With m = 1+q and D = m²−k²: 2π·E φφ = k(π/2 + asin(k/m)) + (q²−k² + 2k²/m)/√D, and its derivative in k.
"""


def _sine_pair(q: float, k: float) -> float:
    return math.exp(-q) * math.sinh(k) if q < 1.0 else (math.exp(k - q) - math.exp(-k - q)) / 2.0


def _cosine_pair(q: float, k: float) -> float:
    return (math.exp(k - q) + math.exp(-k - q)) / 2.0


SINE = Closed(lambda q: 0.0, _sine_pair, _cosine_pair)
COSINE = Closed(lambda q: math.exp(-q / 2.0), _cosine_pair, _sine_pair)
"""From the characteristic function of a Gaussian: E cos u = exp(−Var[u]/2)."""
