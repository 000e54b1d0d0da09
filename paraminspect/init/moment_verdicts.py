"""Is what a scheme left behind what it should have left? Measured beside expected, judged by the tensor's size."""

from __future__ import annotations

import math
from collections.abc import Iterator

from paraminspect.init.schemes.expected_moments import ExpectedMoments
from paraminspect.report import Values, Verdict

SIGMAS = 5.0  # a correct scheme is called off once in 1.7 million comparisons
FEW = 8  # below this many elements the spread says nothing about the std
EPSILON = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float32": 2.0**-24, "float64": 2.0**-53}


def judge(name: str, numel: int, dtype: str, values: Values, moments: ExpectedMoments) -> tuple[Verdict, ...]:
    """Compare mean and std of `numel` elements with the moments they should have.

    The tolerance is five standard errors: of the mean σ/√n, of the std σ·√((κ−1)/(4n)) with κ the kurtosis
    (Kenney & Keeping 1951, §7.8), plus the rounding of the dtype. Without κ the scheme is not random and only the
    rounding is left, as for the bounds of the values. Complex elements are not judged: their figures are those of the
    magnitudes.
    """
    if dtype.startswith("complex"):
        return ()
    rounding = EPSILON.get(dtype, 0.25) * max(abs(moments.mean or 0.0), moments.std or 0.0)
    verdicts = []
    if moments.mean is not None and values.mean is not None:
        error = _mean_error(moments, numel)
        verdicts.append(_verdict(name, "mean", values.mean, moments.mean, error + rounding))
    if moments.std is not None and values.std is not None and numel >= _enough(moments):
        error = _std_error(moments, numel)
        verdicts.append(_verdict(name, "std", values.std, moments.std, error + rounding))
    return (*verdicts, *_bounds(name, dtype, values, moments))


def _bounds(name: str, dtype: str, values: Values, moments: ExpectedMoments) -> Iterator[Verdict]:
    """Compare the value that lies furthest out with its bound; where it lies further in, the bound is kept.

    The tolerance is two units in the last place of the larger bound: drawing U(a, b) as a + (b − a)·u rounds twice.
    """
    ends = ((-1, values.min, moments.low), (1, values.max, moments.high))
    found = [
        (side * (value - bound), value, bound) for side, value, bound in ends if value is not None and bound is not None
    ]
    if not found:
        return
    tolerance = 4 * EPSILON.get(dtype, 0.25) * max(abs(bound) for _, _, bound in found)
    beyond, value, bound = max(found)
    yield Verdict("scheme", f"bounds {_word(beyond <= tolerance)}", value, bound, tolerance, name, "bounds")


def _enough(moments: ExpectedMoments) -> float:
    """Return the number of elements from which on their spread says something about the std."""
    if not moments.std:
        return 0
    return SIGMAS**2 if moments.kurtosis == 1.0 else FEW


def _mean_error(moments: ExpectedMoments, numel: int) -> float:
    if moments.kurtosis is None or not moments.std:
        return 0.0
    return SIGMAS * moments.std / math.sqrt(numel)


def _std_error(moments: ExpectedMoments, numel: int) -> float:
    """Return five standard errors, and what the population std may fall short by.

    That is σ/(2n) on average. Where the squares do not vary (κ = 1) it is all there is: std² = rms² − mean², and
    the mean is within its own five standard errors.
    """
    if moments.kurtosis is None or not moments.std:
        return 0.0
    if moments.kurtosis == 1.0:
        return moments.std * (1.0 - math.sqrt(max(0.0, 1.0 - SIGMAS**2 / numel)))
    return moments.std * (SIGMAS * math.sqrt(max(moments.kurtosis - 1, 0.0) / (4 * numel)) + 1 / numel)


def _verdict(name: str, figure: str, measured: float, expected: float, tolerance: float) -> Verdict:
    found = f"{figure} {_word(abs(measured - expected) <= tolerance)}"
    return Verdict("scheme", found, measured, expected, tolerance, name, figure)


def _word(fits: bool) -> str:
    return "as expected" if fits else "off"
