"""Is what a scheme left behind what it should have left? Measured beside expected, judged by the tensor's size."""

from __future__ import annotations

import math

from paraminspect.init.scheme import Moments
from paraminspect.report import Values, Verdict

SIGMAS = 5.0  # a correct scheme is called off once in 1.7 million comparisons
FEW = 8  # below this many elements the spread says nothing about the std
EPSILON = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float32": 2.0**-24, "float64": 2.0**-53}


def judge(name: str, numel: int, dtype: str, values: Values, moments: Moments) -> tuple[Verdict, ...]:
    """Compare mean and std of `numel` elements with the moments they should have.

    The tolerance is five standard errors: of the mean σ/√n, of the std σ·√((κ−1)/(4n)) with κ the kurtosis
    (Kenney & Keeping 1951, §7.8), plus the rounding of the dtype. Without κ the elements are not independent
    and the moments are exact: only the rounding is left.
    """
    rounding = EPSILON.get(dtype, 0.25) * max(abs(moments.mean or 0.0), moments.std or 0.0)
    verdicts = []
    if moments.mean is not None and values.mean is not None:
        error = _mean_error(moments, numel)
        verdicts.append(_verdict(name, "mean", values.mean, moments.mean, error + rounding))
    if moments.std is not None and values.std is not None and (numel >= FEW or moments.std == 0):
        error = _std_error(moments, numel)
        verdicts.append(_verdict(name, "std", values.std, moments.std, error + rounding))
    return tuple(verdicts)


def _mean_error(moments: Moments, numel: int) -> float:
    if moments.kurtosis is None or not moments.std:
        return 0.0
    return SIGMAS * moments.std / math.sqrt(numel)


def _std_error(moments: Moments, numel: int) -> float:
    """Return five standard errors, and the 1/n by which the population std falls short on average."""
    if moments.kurtosis is None or not moments.std:
        return 0.0
    return moments.std * (SIGMAS * math.sqrt(max(moments.kurtosis - 1, 0.0) / (4 * numel)) + 1 / numel)


def _verdict(name: str, figure: str, measured: float, expected: float, tolerance: float) -> Verdict:
    fits = abs(measured - expected) <= tolerance
    return Verdict("scheme", f"{figure} {'as expected' if fits else 'off'}", measured, expected, tolerance, name)
