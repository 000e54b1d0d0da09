"""Fan-in and fan-out as torch counts them."""

from __future__ import annotations

import math
from typing import Final

STACKED: Final = {
    "RNN": 1,
    "RNNCell": 1,
    "GRU": 3,
    "GRUCell": 3,
    "LSTM": 4,
    "LSTMCell": 4,
}
"""How many gates the weights of each recurrent layer stack along dimension 0."""


def fan_in_and_fan_out(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (fan_in, fan_out) of a weight of shape (out, in, *kernel).

    The rule of ``torch.nn.init._calculate_fan_in_and_fan_out``: fan_in = in · kernel size, fan_out = out · kernel
    size. Raises ValueError below two dimensions, as torch does.
    """
    if len(shape) < 2:
        raise ValueError(f"a fan needs at least 2 dimensions; got shape {shape}")
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


MODES: Final = ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")
"""The fans that a variance can be divided by; the averages are the arithmetic and the geometric one."""


def fan(shape: tuple[int, ...], mode: str) -> float:
    """Return the fan that `mode` names; raises ValueError below two dimensions."""
    fan_in, fan_out = fan_in_and_fan_out(shape)
    if mode == "fan_avg":
        return (fan_in + fan_out) / 2
    if mode == "fan_geo_avg":
        return math.sqrt(fan_in * fan_out)
    return fan_in if mode == "fan_in" else fan_out
