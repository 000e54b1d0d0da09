"""Gains: the factor on a weight's std, gain/√fan, that makes up for an activation."""

from __future__ import annotations

import math
from typing import Any, Final, Literal, get_args

from paraminspect.theory.activations import Spelled, activation
from paraminspect.theory.arguments import TheoryError
from paraminspect.theory.moments import second_moment, slope_moment

Keep = Literal["second_moment", "gradient"]
_TORCH: Final = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3.0, "relu": math.sqrt(2.0), "selu": 3.0 / 4.0}


def gain(which: Spelled, keep: Keep = "second_moment", **params: Any) -> float:
    """Return the gain that keeps the second moment, 1/√E φ², or the gradient, 1/√E φ'², for z ~ N(0, 1).

    With weights of std gain/√fan_in, pre-activations of second moment 1 stay at 1 (He et al. 2015, eq. 7 to 10, for any
    φ); with gain/√fan_out squared gradients keep their size (eq. 14). For rectifiers the two agree.
    Raises TheoryError where the moment is 0, as for a constant.
    """
    act = activation(which, **params)
    if keep not in get_args(Keep):
        message = f"keep must be one of {', '.join(get_args(Keep))}, got {keep!r}"
        raise TheoryError(message, where="keep", code="bad-argument")
    moment = second_moment(act, 1.0) if keep == "second_moment" else slope_moment(act, 1.0)
    if moment > 0.0:
        return 1.0 / math.sqrt(moment)
    what = "is 0" if keep == "second_moment" else "has slope 0"
    message = f"{act.name} {what} almost everywhere: no gain makes up for that"
    raise TheoryError(message, where="gain", code="no-gain")


def torch_gain(which: Spelled, **params: Any) -> float | None:
    """Return torch.nn.init.calculate_gain of the activation, None for one that it does not know."""
    act = activation(which, **params)
    if act.name == "leaky_relu":
        slope = float(act.params["negative_slope"])
        return math.sqrt(2.0 / (1.0 + slope * slope))
    return _TORCH.get(act.name)
