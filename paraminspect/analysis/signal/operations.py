"""What an operation does to the signal: the words that theory has for it, and how many products it adds up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from torch import Tensor

from paraminspect.analysis.signal.states import Field, evened, mean_of
from paraminspect.frozen import dataclass


@dataclass(frozen=True)
class Taps:
    """Say along one spatial dimension which of `size` places each tap of the kernel reads: `at`, a row for each place.

    What lies outside of [0, size) is padding. `turned` leads the other way, as a transposed convolution does.
    """

    at: npt.NDArray[np.int64]
    size: int
    turned: bool = False

    def spread(self, field: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
        """Add up along `axis` what the taps read."""
        before = np.moveaxis(field, axis, 0)
        after = np.zeros((self.size if self.turned else len(self.at), *before.shape[1:]))
        for tap in self.at.T:
            inside = (tap >= 0) & (tap < self.size)
            if self.turned:
                after[tap[inside]] += before[inside]
            else:
                after[inside] += before[tap[inside]]
        return np.moveaxis(after, 0, axis)

    @property
    def taken(self) -> int:
        """Return the number of places that the field has which `spread` takes."""
        return len(self.at) if self.turned else self.size


def taps(outer: int, inner: int, kernel: int, stride: int, padding: int, dilation: int) -> Taps:
    """Return the taps that read `inner` places from each of `outer`."""
    first = np.arange(outer)[:, None] * stride - padding
    return Taps(first + np.arange(kernel)[None, :] * dilation, inner)


@dataclass(frozen=True)
class Connections:
    """Say how many products an element of the output adds up, and how many an element of the input goes into.

    `forward` and `backward` are these numbers for a matrix; for a convolution they are those of its channels alone, and
    `taps` says for each spatial dimension which places the kernel connects.
    """

    forward: float
    backward: float
    taps: Sequence[Taps] = ()

    def gathered(self, field: Field) -> Field:
        """Return what arrives at each place of the output when the products add up."""
        return _times(self.forward, field, self.taps)

    def returned(self, field: Field) -> Field:
        """Return what comes back to each place of the input."""
        return _times(self.backward, field, [replace(one, turned=not one.turned) for one in self.taps])


def _times(channels: float, field: Field, taps: Sequence[Taps]) -> Field:
    if not taps:
        return channels * mean_of(field)
    places = tuple(one.taken for one in taps)
    found = np.broadcast_to(np.asarray(field if np.shape(field) == places else mean_of(field)), places)
    for axis, one in enumerate(taps):
        found = one.spread(found, axis)
    return evened(channels * found)


@dataclass(frozen=True)
class Same:
    """Show every element once: at its place if `places`."""

    data: Tensor
    places: bool


@dataclass(frozen=True)
class Weighted:
    """Multiply by a weight: ``linear``, a convolution, or a product with a matrix.

    `data` is what it multiplies. `fan_in` are the products that one unit adds up away from the borders (on average, in
    a transposed convolution). `units` is the dimension of its output that counts the units; they are the first
    dimension of `rows`, None where units with the same weights need not be alike: they may read different channels.
    """

    data: Tensor
    weight: Tensor
    bias: Tensor | None
    connections: Connections
    fan_in: int
    width: int
    units: int
    rows: Tensor | None
    grouped: bool = False


@dataclass(frozen=True)
class Elementwise:
    """Apply one function to every element, by the name that `paraminspect.theory` knows it by.

    `params` are those of its arguments that are not the usual ones.
    """

    data: Tensor
    name: str
    params: Mapping[str, float | str] = field(default_factory=dict)

    def __str__(self) -> str:
        return ":".join(filter(None, (self.name, ",".join(f"{key}={value}" for key, value in self.params.items()))))


@dataclass(frozen=True)
class Norm:
    """Normalise each sample over its last dimensions: to mean 0 and variance 1 if `centred`, else to rms 1."""

    data: Tensor
    centred: bool
    weight: Tensor | None
    bias: Tensor | None
    eps: float
    size: int


@dataclass(frozen=True)
class Sum:
    """Add two parts of the signal, the second one times `factor`."""

    first: Tensor
    second: Tensor
    factor: float = 1.0


@dataclass(frozen=True)
class Shift:
    """Add a parameter, the same for all samples."""

    data: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Scaling:
    """Multiply by a number, or by a parameter that has one for each unit."""

    data: Tensor
    factor: float | Tensor


@dataclass(frozen=True)
class Dropout:
    """Set each element to 0 with probability `p` and divide the others by 1 − p."""

    data: Tensor
    p: float


Operation = Same | Weighted | Elementwise | Norm | Sum | Shift | Scaling | Dropout


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
