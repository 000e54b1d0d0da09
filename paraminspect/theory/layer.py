"""One layer of the recursions: weights of variance σw²/fan_in and biases of variance σb² on top of an activation."""

from __future__ import annotations

import math
from typing import Final

from paraminspect.theory.form import Activation
from paraminspect.theory.moments import LARGEST, SMALLEST, pair_moment, second_moment

_ROUNDING: Final = 1e-15


def next_second_moment(moment: float, sigma_w2: float, sigma_b2: float) -> float:
    """Return σw²·moment + σb²; weights of variance 0 pass nothing on, not even what is infinite."""
    return sigma_w2 * moment + sigma_b2 if sigma_w2 > 0.0 else sigma_b2


def next_cosine(act: Activation, c: float, q: float, sigma_w2: float, sigma_b2: float) -> float:
    """Return the cosine one layer on, nan where the next layer is 0.

    Without biases, or where they no longer count beside an infinite q, σw² cancels.
    """
    if sigma_w2 > 0.0 and (sigma_b2 == 0.0 or math.isinf(q)):
        q, sigma_w2, sigma_b2 = min(max(q, SMALLEST), LARGEST), 1.0, 0.0
    whole = next_second_moment(second_moment(act, q), sigma_w2, sigma_b2)
    common = next_second_moment(pair_moment(act, q, c * q), sigma_w2, sigma_b2)
    if whole <= 0.0:
        return math.nan
    cosine = common / whole
    return 0.0 if abs(cosine) < _ROUNDING else min(1.0, max(-1.0, cosine))
