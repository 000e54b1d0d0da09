"""The figures of a list of numbers in exact arithmetic, and the promise that `measure` makes about them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from paraminspect.report import Number, Values

LARGEST = Fraction(math.nextafter(math.inf, 0))
TINIEST = Fraction(5e-324)  # what a figure may be off by where float64 has no more digits


def assert_figures(values: Values | None, numbers: Sequence[Number], times: int = 1) -> None:
    """Check every figure but the histogram against `numbers`, each standing for `times` equal ones."""
    assert values is not None
    finite = [number for number in numbers if math.isfinite(number)]
    zeros = times * sum(number == 0 for number in finite)
    nan, inf = (times * sum(map(test, numbers)) for test in (math.isnan, math.isinf))
    least, most = (min(finite), max(finite)) if finite else (None, None)
    assert (values.zeros, values.nan, values.inf) == (zeros, nan, inf)
    assert (values.min, values.max) == (least, most)
    if finite:
        assert_moments(values, finite, times)
    else:
        assert (values.mean, values.std, values.rms, values.l2) == (None, None, None, None)


def assert_moments(values: Values, finite: Sequence[Number], times: int = 1) -> None:
    """Check mean, std, rms and l2 of finite numbers to the digits that are promised."""
    ratios = [number.as_integer_ratio() for number in finite]
    unit = max(denominator for _, denominator in ratios)  # all are powers of 2
    n, scaled = len(finite), [numerator * (unit // denominator) for numerator, denominator in ratios]
    mean = Fraction(sum(scaled), n * unit)
    size = Fraction(sum(map(abs, scaled)), n * unit)
    square = Fraction(sum(number * number for number in scaled), n * unit**2)
    assert values.mean is not None and abs(Fraction(values.mean) - mean) <= Fraction(4, 10**16) * size + TINIEST
    assert is_root(values.std, square - mean**2)
    assert is_root(values.rms, square)
    assert is_root(values.l2, square * n * times)


def is_root(measured: float | None, square: Fraction, tolerance: Fraction = Fraction(1, 10**14)) -> bool:
    """Say whether `measured` is the root of `square`, up to a relative `tolerance`."""
    assert measured is not None
    if math.isinf(measured):
        return square > LARGEST**2
    slack = Fraction(measured) * tolerance + TINIEST
    return max(Fraction(measured) - slack, Fraction(0)) ** 2 <= square <= (Fraction(measured) + slack) ** 2
