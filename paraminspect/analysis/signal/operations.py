"""What an operation does to the signal: the words that theory has for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from paraminspect.analysis.signal.connections import Connections


@dataclass(frozen=True)
class Same:
    """Show every element once: at its place if `places`; dimension 0 counts the same samples if `samples`."""

    data: Tensor
    places: bool
    samples: bool


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
class Activation:
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
class Scale:
    """Multiply by a number, or by a parameter that has one for each unit."""

    data: Tensor
    factor: float | Tensor


@dataclass(frozen=True)
class Dropout:
    """Set each element to 0 with probability `p` and divide the others by 1 − p."""

    data: Tensor
    p: float


Operation = Same | Weighted | Activation | Norm | Sum | Shift | Scale | Dropout
