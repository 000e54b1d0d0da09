"""The moments that a tensor should have: of the distributions that schemes draw from, and of what is made of these."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from paraminspect.frozen import dataclass


@dataclass(frozen=True)
class ExpectedMoments:
    """Hold the moments of the distribution of one element.

    `kurtosis` is the fourth standardised moment (normal 3, uniform 1.8); it is None where the elements are not
    independent (orthogonal, eye, dirac) and where the std is 0. `low` and `high` bound the values, None where
    nothing does. For a scheme that is not random, `mean` and `std` are those of the whole tensor, exactly;
    every field is None when the tensor has no elements to take them of.
    """

    mean: float | None
    std: float | None
    kurtosis: float | None
    low: float | None
    high: float | None


STD_OF_CUT_NORMAL: Final = 0.87962566103423978
"""The standard deviation of a standard normal cut at ±2, by which Keras and JAX divide."""

UNKNOWN = ExpectedMoments(None, None, None, None, None)
"""The moments of a tensor with no elements."""


def constant(value: float) -> ExpectedMoments:
    """Return the moments of a single value."""
    return ExpectedMoments(mean=value, std=0.0, kurtosis=None, low=value, high=value)


def normal(mean: float, std: float) -> ExpectedMoments:
    """Return the moments of N(mean, std²)."""
    return ExpectedMoments(mean, std, 3.0, None, None) if std > 0 else constant(mean)


def uniform(a: float, b: float) -> ExpectedMoments:
    """Return the moments of U(a, b): mean (a + b) / 2, std (b − a) / √12, kurtosis 9/5."""
    return ExpectedMoments(a + (b - a) / 2, (b - a) / math.sqrt(12.0), 1.8, a, b) if b > a else constant(a)


def symmetric_uniform(std: float) -> ExpectedMoments:
    """Return the moments of U(−√3·std, √3·std), whose standard deviation is `std`."""
    bound = math.sqrt(3.0) * std
    return uniform(-bound, bound)


def indicator(ones: int, numel: int) -> ExpectedMoments:
    """Return the moments of a tensor with `ones` ones and zeros elsewhere, taken over the whole tensor."""
    if numel == 0:
        return UNKNOWN
    share = ones / numel
    low, high = float(ones == numel), float(ones > 0)
    return ExpectedMoments(share, math.sqrt(share * (1.0 - share)), None, low, high)


def truncated_normal(mean: float, std: float, a: float, b: float) -> ExpectedMoments:
    """Return the moments of N(mean, std²) restricted to [a, b], the bounds being absolute.

    With α = (a − mean)/std, β = (b − mean)/std and Z = Φ(β) − Φ(α), the raw moments of the standardised variable
    follow m₀ = 1, mₖ = (k−1)·mₖ₋₂ − (βᵏ⁻¹φ(β) − αᵏ⁻¹φ(α))/Z (integration by parts; Johnson, Kotz & Balakrishnan,
    Continuous Univariate Distributions 1, chapter 13).
    """
    if b <= a:
        return constant(a)
    # φ is 0 in float64 beyond 40, and a power of a larger bound would overflow.
    alpha, beta = max((a - mean) / std, -40.0), min((b - mean) / std, 40.0)
    if beta - alpha < 0.01:
        # Here the closed form would lose its digits to cancellation; a line through the density is good to 1e-5.
        tilt = (alpha + beta) * (beta - alpha) ** 2 / 24.0
        return replace(uniform(a, b), mean=(a + b) / 2 - std * tilt)
    m1, m2, m3, m4 = _raw_moments(alpha, beta)
    variance = m2 - m1**2
    fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
    return ExpectedMoments(mean + std * m1, std * math.sqrt(variance), fourth / variance**2, a, b)


def cut_normal(mean: float, std: float) -> ExpectedMoments:
    """Return the moments of N(mean, std²) cut at mean ± 2·std."""
    return truncated_normal(mean, std, mean - 2.0 * std, mean + 2.0 * std) if std > 0 else constant(mean)


def scaled(found: ExpectedMoments, factor: float) -> ExpectedMoments:
    """Return the moments of `factor` times the variable."""
    if not factor and found.mean is not None:
        return constant(0.0)
    mean, std, *ends = (None if x is None else x * factor for x in (found.mean, found.std, found.low, found.high))
    low, high = ends if factor > 0 else reversed(ends)
    return ExpectedMoments(mean, None if std is None else abs(std), found.kurtosis, low, high)


def diluted(drawn: ExpectedMoments, zeros: float) -> ExpectedMoments | None:
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
        return constant(mean)
    kurtosis = None
    if drawn.kurtosis is not None:
        shift = mu - mean
        fourth = p * (max(drawn.kurtosis, 3.0) * variance**2 + 6 * variance * shift**2 + shift**4) + zeros * mean**4
        kurtosis = fourth / spread**2
    low, high = (None if end is None else pick(end, 0.0) for pick, end in ((min, drawn.low), (max, drawn.high)))
    return ExpectedMoments(mean, math.sqrt(spread), kurtosis, low, high)


def of_some(drawn: ExpectedMoments) -> ExpectedMoments | None:
    """Return the moments of some of the elements that were drawn together; None where which ones they are matters.

    Some rows of an orthogonal matrix are no orthogonal matrix of theirs: their squares vary as independent ones do.
    """
    if drawn.std and drawn.kurtosis is None:
        return None
    return replace(drawn, kurtosis=max(drawn.kurtosis, 3.0)) if drawn.kurtosis == 1.0 else drawn


def _raw_moments(alpha: float, beta: float) -> list[float]:
    """Return m₁ … m₄ of the standard normal restricted to [alpha, beta]."""
    probability = _cdf(beta) - _cdf(alpha)
    moments = [0.0, 1.0]  # m₋₁, whose factor is 0, and m₀
    for k in range(1, 5):
        edge = beta ** (k - 1) * _density(beta) - alpha ** (k - 1) * _density(alpha)
        moments.append((k - 1) * moments[k - 1] - edge / probability)
    return moments[2:]


def _cdf(x: float) -> float:
    return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0


def _density(x: float) -> float:
    return math.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
