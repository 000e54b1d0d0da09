"""The figures of a list of numbers in exact arithmetic, and the promise that `measure` makes about them."""

import math
from fractions import Fraction

from paraminspect.report import Values

TINIEST = Fraction(5e-324)  # what a figure may be off by where float64 has no more digits
UNIT = 2**1074  # every finite float64 is a whole number of 1/UNIT


def whole(number):
    numerator, denominator = number.as_integer_ratio()
    return numerator * (UNIT // denominator)


def is_near(measured, exact, tolerance):
    if math.isinf(measured):
        return exact > Fraction(math.nextafter(math.inf, 0))
    return abs(Fraction(measured) - exact) <= tolerance


def is_root(measured, square, relative=Fraction(1, 10**14)):
    """Say whether `measured` is the root of `square`, to within `relative`."""
    if math.isinf(measured):
        return square > Fraction(math.nextafter(math.inf, 0)) ** 2
    slack = Fraction(measured) * relative + TINIEST
    return max(Fraction(measured) - slack, 0) ** 2 <= square <= (Fraction(measured) + slack) ** 2


def assert_figures(values: Values | None, numbers, times=1):
    """Check every figure but the histogram against the `numbers`, each standing for `times` equal ones."""
    assert values is not None
    finite = [number for number in numbers if math.isfinite(number)]
    counts = (
        times * sum(number == 0 for number in finite),
        times * sum(math.isnan(number) for number in numbers),
        times * sum(math.isinf(number) for number in numbers),
    )
    assert (values.zeros, values.nan, values.inf) == counts
    if not finite:
        assert (values.mean, values.std, values.rms, values.min, values.max, values.l2) == (None,) * 6
        return
    assert (values.min, values.max) == (min(finite), max(finite))
    assert_moments(values, finite, times)


def assert_moments(values: Values, finite, times=1):
    n, scaled = len(finite), [whole(number) for number in finite]
    total, size, squares = sum(scaled), sum(map(abs, scaled)), sum(number * number for number in scaled)
    mean, mean_size, square = Fraction(total, n * UNIT), Fraction(size, n * UNIT), Fraction(squares, n * UNIT**2)
    assert is_near(values.mean, mean, Fraction(4, 10**16) * mean_size + TINIEST)
    assert is_root(values.std, square - mean**2)
    assert is_root(values.rms, square)
    assert is_root(values.l2, square * n * times)
