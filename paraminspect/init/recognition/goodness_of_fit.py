"""Goodness of fit: how unlikely a tensor would be if it had been drawn independently from one distribution."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from paraminspect.init.recognition.distributions import Family, Floats, Whole, normal_tail

FITTED = 8_192  # elements that the shape is tested on
HOPELESS = 1e-9  # a p-value after which nothing else needs to be tested
LEAST_SIDE = 8  # rows and columns that a block has at least for its rows and columns to be compared


def p_value(whole: Whole, block: Floats, family: Family, scale: float) -> float:
    """Return the least of the p-values of all tests, times their number (Bonferroni).

    The mean, the mean square and the largest magnitude are tested on all elements; on the `block`, a sample of rows
    and columns, the shape, and whether its elements are independent, which those of trained weights are not. The
    scale counts as given, not as fitted.
    """
    tests = [*_of_figures(whole, family, scale)]
    if min(tests) < HOPELESS:
        return min(tests)
    standard = (block - whole.centre if whole.centre else block) / scale
    tests.append(anderson_darling(standard, family))
    if min(block.shape) >= LEAST_SIDE:
        tests += _of_independence(standard if family.std == 1.0 else standard / family.std, family.kurtosis)
    return min(1.0, len(tests) * min(tests))


def _of_figures(whole: Whole, family: Family, scale: float) -> Iterator[float]:
    std = family.std * scale
    yield _two_sided((whole.mean - whole.centre) / std * math.sqrt(whole.count))
    yield _two_sided((whole.square / std**2 - 1.0) * math.sqrt(whole.count / (family.kurtosis - 1.0)))
    # The largest of n magnitudes lies beyond m with chance 1 − (1 − q)ⁿ, q the chance that one does.
    within = [family.beyond(whole.extreme / scale * factor) for factor in (whole.slack, 1.0 / whole.slack)]
    yield 2.0 * math.exp(whole.count * math.log1p(-min(within[0], 1.0 - 1e-16)))
    yield 2.0 * -math.expm1(whole.count * math.log1p(-min(within[1], 1.0 - 1e-16)))


def anderson_darling(standard: Floats, family: Family) -> float:
    """Return the p-value of the Anderson–Darling test (Anderson & Darling 1954), which weighs the tails.

    A² = −n − Σ (2i−1)/n · (ln F(xᵢ) + ln(1 − F(xₙ₊₁₋ᵢ))) over the sorted x.
    """
    flat = standard.ravel()
    x = np.sort(flat[:: -(-flat.size // FITTED)].astype(np.float32)).astype(np.float64)  # in half the time
    below, above = family.inside(x)
    weights = (2.0 * np.arange(1, x.size + 1) - 1.0) / x.size
    return anderson_darling_tail(float(-x.size - np.dot(weights, below + above[::-1])))


def anderson_darling_tail(a2: float) -> float:
    """Return the chance that A² is larger, for a distribution that is given.

    Up to 2 by the series of Marsaglia & Marsaglia 2004 (adinf). A² is a sum of χ² over j(j+1), so that beyond its tail
    is that of the first, e^(−A²)·√(3/(π·A²)) (Zolotarev 1961), at the published 1 % point within 6 %.
    """
    if a2 <= 0.0:
        return 1.0
    if a2 >= 2.0:
        return math.exp(-a2) * math.sqrt(3.0 / (math.pi * a2))
    series = (2.00012, 0.247105, -0.0649821, 0.0347962, -0.011672, 0.00168691)
    total = sum(factor * a2**power for power, factor in enumerate(series))
    return 1.0 - math.exp(-1.2337141 / a2) / math.sqrt(a2) * total


def _of_independence(z: Floats, kurtosis: float) -> Iterator[float]:
    """Test rows, columns and the largest singular value of elements of mean 0 and variance 1."""
    squares = z * z
    for axis in (0, 1):
        lines, length = z.shape[1 - axis], z.shape[axis]
        ones = np.ones(length)  # a product with ones is several times as fast as a sum
        sums = (ones @ z if axis == 0 else z @ ones) / math.sqrt(length)
        yield _chi_square(float(sums @ sums), lines)
        powers = ((ones @ squares if axis == 0 else squares @ ones) - length) / math.sqrt(length * (kurtosis - 1.0))
        # A sum of `length` squares is skewed; its fourth moment adds 12 / length.
        deviation = (float(powers @ powers) - lines) / math.sqrt(lines * (2.0 + 12.0 / length))
        yield _two_sided(deviation) if length >= 4 * LEAST_SIDE else 1.0
    yield _singular_value(z)


def _singular_value(z: Floats) -> float:
    """Return how unlikely the largest singular value is, which a low-rank update raises.

    Its square lies at μ = (√m + √n)² with fluctuations of σ = (√m + √n)(1/√m + 1/√n)^⅓ (Johnstone 2001); the upper
    tail of the Tracy–Widom law is about exp(−⅔·s^1.5)/2 (a bound for s > 1).
    """
    m, n = z.shape
    v = z.sum(0) + z[0]
    for _ in range(10):
        v = (z @ v) @ z
        v /= math.sqrt(float(v @ v)) or 1.0
    roots = math.sqrt(m) + math.sqrt(n)
    u = z @ v
    excess = (float(u @ u) - roots**2) / (roots * (1.0 / math.sqrt(m) + 1.0 / math.sqrt(n)) ** (1.0 / 3.0))
    return math.exp(-2.0 / 3.0 * excess**1.5) if excess > 0.0 else 1.0


def _chi_square(value: float, degrees: int) -> float:
    """Return the two-sided p-value of a χ² (Wilson & Hilferty 1931: its cube root is nearly normal)."""
    spread = 2.0 / (9.0 * degrees)
    return _two_sided(((value / degrees) ** (1.0 / 3.0) - 1.0 + spread) / math.sqrt(spread))


def _two_sided(z: float) -> float:
    return 2.0 * normal_tail(abs(z))
