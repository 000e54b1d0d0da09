"""Convolutions, and transposed ones, read from the arguments of torch's functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from torch import Tensor

from paraminspect.analysis.signal.connections import Connections, Taps, taps
from paraminspect.analysis.signal.operations import Weighted

PLAIN: Final = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
TRANSPOSED: Final = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")


def convolution(given: dict[str, Any], output: Tensor) -> Weighted:
    """Read a convolution: its weight is (out, in / groups, kernel)."""
    data, weight, groups = given["input"], given["weight"], given.get("groups", 1)
    spatial = weight.dim() - 2
    connections = Connections(weight.shape[1], weight.shape[0] // groups, _taps(given, output, data, weight))
    return Weighted(
        data,
        weight,
        given.get("bias"),
        connections,
        fan_in=weight.shape[1] * math.prod(weight.shape[2:]),
        width=weight.shape[0],
        units=output.dim() - spatial - 1,
        rows=weight if groups == 1 else None,
        grouped=groups != 1,
    )


def transposed(given: dict[str, Any], output: Tensor) -> Weighted:
    """Read a transposed convolution: its weight is (in, out / groups, kernel), its taps those of the plain one."""
    data, weight, groups = given["input"], given["weight"], given.get("groups", 1)
    spatial = weight.dim() - 2
    found = [Taps(one.at, one.size, turned=True) for one in _taps(given, data, output, weight)]
    channels = weight.shape[0] // groups
    places = math.prod(data.shape[-spatial:]) / max(math.prod(output.shape[-spatial:]), 1)
    return Weighted(
        data,
        weight,
        given.get("bias"),
        Connections(channels, weight.shape[1], found),
        fan_in=max(round(channels * math.prod(weight.shape[2:]) * places), 1),
        width=weight.shape[1] * groups,
        units=output.dim() - spatial - 1,
        rows=weight.transpose(0, 1) if groups == 1 else None,
        grouped=groups != 1,
    )


def _taps(given: dict[str, Any], outer: Tensor, inner: Tensor, weight: Tensor) -> list[Taps]:
    """Return what the kernel connects along each spatial dimension; a transposed convolution has the sides swapped."""
    kernel = weight.shape[2:]
    spatial = len(kernel)
    stride, dilation = (_each(given.get(key, 1), spatial) for key in ("stride", "dilation"))
    padding = given.get("padding", 0)
    if isinstance(padding, str):
        total = [spread * (size - 1) for spread, size in zip(dilation, kernel, strict=True)]
        padding = [one // 2 if padding == "same" else 0 for one in total]
    sizes = zip(outer.shape[-spatial:], inner.shape[-spatial:], kernel, strict=True)
    settings = zip(stride, _each(padding, spatial), dilation, strict=True)
    return [taps(*size, *setting) for size, setting in zip(sizes, settings, strict=True)]


def _each(value: int | Sequence[int], count: int) -> list[int]:
    """Return one number for each dimension: torch takes one for all."""
    found = [value] * count if isinstance(value, int) else [*value]
    return found * count if len(found) == 1 else found
