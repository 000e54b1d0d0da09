"""The one way in which figures of parts become those of the whole: of blocks, tensors, files or processes.

Mean and spread are kept as `Moments`, which merge without overflow or cancellation; `moments_of_values` and
`values_of_moments` lead from the figures of a report to these and back, `merge_figures` does all three.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import NamedTuple

from paraminspect.report.tensors import Gradient, Number, Values

SMALLEST, LARGEST = 2.0**-300, 2.0**300  # between these, squares and sums of them stay far from both ends of float64

_figures_of = attrgetter("mean", "std", "rms", "min", "max", "zeros", "nan", "inf")


class Moments(NamedTuple):
    """Hold what is known of `n` finite numbers, and how many others stood beside them.

    The mean is ``(mean + mean_low) * 2**exponent``, two doubles wide; the sum of squared deviations from it is
    ``m2 * 4**exponent``. `min` and `max` are None when `n` is 0.
    """

    n: int = 0
    mean: float = 0.0
    mean_low: float = 0.0
    m2: float = 0.0
    exponent: int = 0
    min: Number | None = None
    max: Number | None = None
    zeros: int = 0
    nan: int = 0
    inf: int = 0


def merge(a: Moments, b: Moments) -> Moments:
    """Return the moments of two parts together (Chan, Golub & LeVeque 1979, eq. 2.1).

    The mean is kept as two doubles: with one, data of mean 1e7 and std 0.1 in parts of three lose seven digits.
    """
    nan, inf = a.nan + b.nan, a.inf + b.inf
    if a.min is None or a.max is None or b.min is None or b.max is None:
        return (a if a.n else b)._replace(nan=nan, inf=inf)
    n, exponent = a.n + b.n, _common_exponent(a, b)
    (mean_a, low_a, m2_a), (mean_b, low_b, m2_b) = _rescaled(a, exponent), _rescaled(b, exponent)
    delta, rest = two_sum(mean_b, -mean_a)
    delta, rest = two_sum(delta, rest + (low_b - low_a))
    step, step_low = _share(delta, rest, b.n, n)
    mean, low = two_sum(mean_a, step)
    mean, low = two_sum(mean, low + (low_a + step_low))
    m2 = m2_a + m2_b + delta * delta * (a.n * (b.n / n))
    least, most = min(a.min, b.min), max(a.max, b.max)
    return Moments(n, mean, low, m2, exponent, least, most, a.zeros + b.zeros, nan, inf)


def merge_all(parts: Iterable[Moments]) -> Moments:
    """Merge in a balanced tree over the order given, so that errors grow with its depth, not with its length."""
    level = list(parts) or [Moments()]
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        level = [merge(a, b) for a, b in zip(level[::2], level[1::2], strict=False)] + odd
    return level[0]


def repeat(part: Moments, times: int) -> Moments:
    """Return the moments of `times` copies of the same numbers."""
    return part._replace(
        n=part.n * times,
        m2=part.m2 * times,
        zeros=part.zeros * times,
        nan=part.nan * times,
        inf=part.inf * times,
    )


def exponent_of(peak: float) -> int:
    """Return e such that numbers up to `peak`, times ``2**-e``, can be squared and added; 0 unless they are far out."""
    return 0 if SMALLEST <= peak <= LARGEST or peak == 0 else math.frexp(peak)[1]


def merge_figures(parts: Sequence[tuple[Values | Gradient, int]]) -> Values:
    """Return the figures of all elements together, from those of each part and its number of elements.

    A figure that is unknown of a part is unknown of the whole, and so are all histograms: their bins differ. A mean,
    std or rms that all parts have in common is kept to the bit.
    """
    figures = [(*_figures_of(part), numel) for part, numel in parts]
    times = Counter(figures)  # many agree: biases that are all 0, norms that are all 1
    different = dict(zip(figures, parts, strict=True))
    finite = [part for part, numel in different.values() if numel > (part.nan or 0) + (part.inf or 0)]
    moments = [(moments_of_values(*part), times[key]) for key, part in different.items()]
    known = [repeat(one, count) for one, count in moments if one is not None]
    if len(known) < len(moments):
        zeros, nan, inf = (sum(getattr(part, key) or 0 for part, _ in parts) for key in ("zeros", "nan", "inf"))
        return Values(zeros=zeros, nan=nan, inf=inf)
    whole = values_of_moments(merge_all(known))
    if any(part.min is None or part.max is None for part in finite):  # complex numbers have none
        whole = replace(whole, min=None, max=None)
    if len({(part.mean, part.std) for part in finite}) == 1:
        whole = replace(whole, std=finite[0].std)
    return replace(whole, rms=finite[0].rms) if len({part.rms for part in finite}) == 1 else whole


def moments_of_values(part: Values | Gradient, numel: int) -> Moments | None:
    """Return the moments behind the figures of `numel` elements; None where a figure is unknown.

    For example, mean 2 and std 1 of four elements become n = 4, mean 2, m2 = 4.
    """
    nan, inf = part.nan or 0, part.inf or 0
    n = numel - nan - inf
    if n <= 0:
        return Moments(nan=nan, inf=inf)
    if part.mean is None or part.std is None or part.rms is None:
        return None
    exponent = exponent_of(part.rms)
    mean, std = math.ldexp(part.mean, -exponent), math.ldexp(part.std, -exponent)
    low, high = (part.mean if end is None else end for end in (part.min, part.max))
    return Moments(n, mean, 0.0, n * std * std, exponent, low, high, part.zeros or 0, nan, inf)


def values_of_moments(
    found: Moments,
    number: Callable[[Number], Number | None] | None = None,
    histogram: tuple[int, ...] | None = None,
) -> Values:
    """Return the figures of a report; a figure beyond the range of float64 is infinite.

    `number` turns the extremes into what they are to be: `int` for whole numbers.
    """
    if found.min is None or found.max is None:
        return Values(nan=found.nan, inf=found.inf)
    mean, variance, exponent = found.mean + found.mean_low, found.m2 / found.n, found.exponent
    return Values(
        mean=_ldexp(mean, exponent),
        std=_ldexp(math.sqrt(variance), exponent),
        rms=_ldexp(math.sqrt(mean * mean + variance), exponent),
        min=number(found.min) if number else found.min,
        max=number(found.max) if number else found.max,
        l2=_ldexp(math.sqrt(found.m2 + found.n * (mean * mean)), exponent),
        zeros=found.zeros,
        nan=found.nan,
        inf=found.inf,
        histogram=histogram,
    )


def _ldexp(figure: float, exponent: int) -> float:
    try:
        return math.ldexp(figure, exponent)
    except OverflowError:
        return math.inf  # the norm of numbers that are themselves in range may not be


def two_sum(a: float, b: float) -> tuple[float, float]:
    """Return a + b rounded, and exactly what the rounding dropped (Knuth, TAOCP 2, 4.2.2, theorem B)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _two_product(a: float, b: float) -> tuple[float, float]:
    """Return a * b rounded, and exactly what the rounding dropped (Dekker 1971)."""
    product = a * b
    (high_a, low_a), (high_b, low_b) = _halves(a), _halves(b)
    return product, ((high_a * high_b - product) + high_a * low_b + low_a * high_b) + low_a * low_b


def _halves(a: float) -> tuple[float, float]:
    high = a * 134_217_729.0  # 2**27 + 1 (Veltkamp 1968)
    high -= high - a
    return high, a - high


def _share(delta: float, rest: float, part: int, n: int) -> tuple[float, float]:
    """Return (delta + rest) * part / n as two doubles: rounded to one, errors would add up over many merges."""
    product, product_low = _two_product(delta, float(part))
    quotient = product / n
    back, back_low = _two_product(quotient, float(n))
    return quotient, ((product - back) - back_low + product_low + rest * part) / n


def _common_exponent(a: Moments, b: Moments) -> int:
    # Zeros have no scale of their own: under theirs, the squares of the other part could underflow.
    if a.min == a.max == 0:
        return b.exponent
    return a.exponent if b.min == b.max == 0 else max(a.exponent, b.exponent)


def _rescaled(part: Moments, exponent: int) -> tuple[float, float, float]:
    shift = part.exponent - exponent
    if not shift:
        return part.mean, part.mean_low, part.m2
    return math.ldexp(part.mean, shift), math.ldexp(part.mean_low, shift), math.ldexp(part.m2, 2 * shift)
