"""Fan-in and fan-out as torch counts them, and where that count misleads."""

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


def misleading_fans(module_type: str, name: str, *, groups: int = 1) -> str | None:
    """Say how torch's fans differ from what the layer computes, or return None where they agree.

    `module_type` is the class name (``ConvTranspose2d``), `name` the parameter's own (``weight``, with or without
    the path before it), `groups` those of a convolution.
    """
    parameter = name.rpartition(".")[2]
    if "weight" not in parameter:
        return None
    if module_type.startswith("ConvTranspose"):
        return "a transposed convolution stores (in, out, kernel): torch's fan_in and fan_out are swapped"
    if module_type.startswith("Conv") and groups > 1:
        return f"with groups={groups} an input feeds 1/{groups} of the outputs: torch's fan_out is {groups} times that"
    if module_type == "Bilinear":
        return "a Bilinear weight is (out, in1, in2): torch takes in2 for a kernel, so fan_out is out · in2"
    if parameter == "in_proj_weight":
        return "in_proj_weight stacks the query, key and value matrices: torch's fan_out is 3 times that of each"
    if module_type in ("Embedding", "EmbeddingBag"):
        return "an embedding is a table (rows, width) that is looked up, not multiplied: its fans mean little"
    gates = STACKED.get(module_type, 1)
    if gates > 1 and not parameter.startswith("weight_hr"):
        return f"{parameter} stacks {gates} gates: torch's fan_out is {gates} times that of each"
    return None
