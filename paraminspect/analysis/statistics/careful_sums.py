"""Sums that lose no digits, and the mean that sums of deviations make."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from paraminspect.report.merge import two_sum

Floats = npt.NDArray[np.float64]
Mean = tuple[float, float, float]  # its two doubles, and the sum of squared deviations from it

# Sums of squares about a provisional mean are kept while cancellation costs them at most this factor: 2.3 bits.
CANCELLATION = 4.0


def careful_sum(work: Floats, reach: float) -> float:
    """Add numbers, none of them beyond `reach`.

    The leading bits of all numbers are added first, which is exact, then the rest (Rump, Ogita & Oishi 2008, algorithm
    3.3).
    """
    exponent = math.frexp(reach)[1] + (work.size + 2).bit_length()
    sigma = 1.5 * 2.0**exponent  # not a power of two: numbers of either sign round alike
    part = work + sigma
    part -= sigma
    leading = float(np.add.reduce(part))
    np.subtract(work, part, out=part)
    return leading + float(np.add.reduce(part))


def mean_of_sums(n: int, origin: float, total: float, squares: float) -> tuple[Mean, bool]:
    """Return what the sums of `n` deviations from `origin`, and of their squares, make of the mean.

    Say also whether to do so again about the mean found, for cancellation takes too many digits. About the mean this is
    the corrected two-pass algorithm (Chan, Golub & LeVeque 1983, eq. 1.7).
    """
    shift = total / n
    m2 = squares - total * shift
    return (*two_sum(origin, shift), max(m2, 0.0)), total * shift > CANCELLATION * m2
