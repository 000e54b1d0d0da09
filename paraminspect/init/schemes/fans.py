"""Fan-in and fan-out as torch counts them, off the shape alone, and the weights for which that misleads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from paraminspect.init.schemes.scheme import Shape

if TYPE_CHECKING:
    from torch import nn

STACKED: Final = {
    "RNN": 1,
    "RNNCell": 1,
    "GRU": 3,
    "GRUCell": 3,
    "LSTM": 4,
    "LSTMCell": 4,
}
"""How many gates the weights of each recurrent layer stack along dimension 0."""


def fan_in_and_fan_out(shape: Shape) -> tuple[int, int]:
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


def fan(shape: Shape, mode: str) -> float:
    """Return the fan that `mode` names; raises ValueError below two dimensions."""
    fan_in, fan_out = fan_in_and_fan_out(shape)
    if mode == "fan_avg":
        return (fan_in + fan_out) / 2
    if mode == "fan_geo_avg":
        return math.sqrt(fan_in * fan_out)
    return fan_in if mode == "fan_in" else fan_out


# --- weights that are not (out, in, *kernel) ---------------------------------------------------------------------


def fan_caveat(owner: nn.Module, leaf: str, shape: Shape) -> str:
    """Say which fan torch counts for ``owner.leaf`` and what the true one is; nothing where the two agree.

    The true fan_in is how many products one output element sums, the true fan_out how many output elements one input
    element reaches, borders aside.
    """
    from torch import nn
    from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

    if len(shape) < 2 or 0 in shape:
        return ""
    if isinstance(owner, _ConvTransposeNd):
        return _transposed(owner, shape) if leaf == "weight" else ""
    if isinstance(owner, _ConvNd):
        return _grouped(owner.groups, shape) if leaf == "weight" else ""
    if isinstance(owner, nn.Bilinear):
        return _bilinear(shape) if leaf == "weight" else ""
    if isinstance(owner, nn.Embedding | nn.EmbeddingBag):
        return _lookup(shape) if leaf == "weight" else ""
    if isinstance(owner, nn.MultiheadAttention):
        return _stacked(3, "projections", shape) if leaf == "in_proj_weight" else ""
    if isinstance(owner, nn.RNNBase | nn.RNNCellBase):
        gates = next((STACKED[base.__name__] for base in type(owner).__mro__ if base.__name__ in STACKED), 1)
        return _stacked(gates, "gates", shape) if leaf.startswith(("weight_ih", "weight_hh")) else ""
    return "" if isinstance(owner, nn.Linear) else _unknown(shape)


def _grouped(groups: int, shape: Shape) -> str:
    """Each group sees its own inputs alone: ``shape[1]`` is in/groups already, ``shape[0]`` counts all groups."""
    if groups == 1:
        return ""
    fan_out = fan_in_and_fan_out(shape)[1]
    return f"{groups} groups: torch counts fan_out {fan_out:,}, an input reaches {fan_out // groups:,}"


def _transposed(owner: nn.Module, shape: Shape) -> str:
    """Describe a weight (in, out/groups, *kernel), of which one output sees every stride-th kernel element."""
    fan_in, fan_out = fan_in_and_fan_out(shape)
    summed = fan_out / (owner.groups * math.prod(owner.stride))  # type: ignore[operator,arg-type]  # of every _ConvNd
    return (
        f"transposed: torch counts fan_in {fan_in:,} and fan_out {fan_out:,}, "
        f"an output sums {summed:,.10g} and an input reaches {fan_in:,}"
    )


def _bilinear(shape: Shape) -> str:
    out, first, second = shape
    return (
        f"bilinear: torch counts fan_out {out * second:,}, which the first input reaches, the second {out * first:,}; "
        f"fan_in {first * second:,} counts products of both inputs, torch's own default {first:,}"
    )


def _lookup(shape: Shape) -> str:
    fan_in, fan_out = fan_in_and_fan_out(shape)
    return (
        f"a lookup: torch counts fan_in {fan_in:,} and fan_out {fan_out:,}, an output is 1 element "
        f"and an index reaches {fan_in:,}"
    )


def _stacked(parts: int, what: str, shape: Shape) -> str:
    if parts == 1:
        return ""
    fan_out = fan_in_and_fan_out(shape)[1]
    return f"{parts} {what} stacked: torch counts fan_out {fan_out:,}, each has {fan_out // parts:,}"


def _unknown(shape: Shape) -> str:
    """Say how torch reads a weight that no layer of torch.nn uses: what its own module does with it is not known."""
    fan_in, fan_out = fan_in_and_fan_out(shape)
    if len(shape) > 2:
        return (
            f"no torch.nn layer owns it: torch takes {shape[2:]} for a kernel, fan_in {fan_in:,} and fan_out "
            f"{fan_out:,}; a stack of matrices has those of each"
        )
    if shape[0] == shape[1]:
        return ""
    return (
        f"no torch.nn layer owns it: torch counts fan_in {fan_in:,} and fan_out {fan_out:,}; "
        f"where x @ W uses it, fan_in is {fan_out:,} and fan_out {fan_in:,}"
    )
