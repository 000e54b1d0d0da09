"""What theory says of one place in a network, and of what a weight was drawn from. Numbers only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from paraminspect.frozen import dataclass

Field = float | npt.NDArray[np.float64]
"""One number for a whole tensor, or an array of one for each place of its feature maps, which the borders set apart."""

_DIGITS = 4  # relative to the largest: places that differ by less are taken together
_EVEN = 1e-9


@dataclass(frozen=True)
class Law:
    """Hold mean and second moment of what the elements of a weight or a bias were drawn from.

    `error` is the relative standard error of `second` where both were measured, 0 where the distribution is known.
    `uniform` says that it is a uniform distribution: what a weight adds up is normal all the same, a bias is not.
    """

    mean: float
    second: float
    error: float = 0.0
    uniform: bool = False

    @property
    def variance(self) -> float:
        """Return the variance."""
        return max(self.second - self.mean**2, 0.0)


@dataclass(frozen=True)
class State:
    """Hold what is expected at one place: second moment `q`, mean `m`, mean product `k` of two samples' elements.

    `k` is None where it is not known. `gaussian` says that a unit's value, over random weights and biases, is normal,
    but for a part of variance `uniform` that uniform biases add. `constant` is the part of `q` that the last biases put
    there, the same for every sample. An input drawn from N(0, 1) has q = 1, m = 0 and, samples being independent,
    k = 0.
    """

    q: Field
    m: Field = 0.0
    k: Field | None = None
    gaussian: bool = False
    constant: float = 0.0
    uniform: float = 0.0

    def pooled(self) -> State:
        """Return the state with one number for all places, the mean over them, in the place of each field."""
        if isinstance(self.q, float) and isinstance(self.m, float) and (self.k is None or isinstance(self.k, float)):
            return self
        k = None if self.k is None else mean_of(self.k)
        return State(mean_of(self.q), mean_of(self.m), k, self.gaussian, self.constant, self.uniform)


def mean_of(field: Field) -> float:
    """Return the mean over the places."""
    return field if isinstance(field, float) else float(np.mean(field))


def evened(field: Field) -> Field:
    """Return one number for a field whose places are equal but for rounding, else the field as it is."""
    if isinstance(field, float):
        return field
    low, high = float(field.min()), float(field.max())
    return high if high - low <= _EVEN * abs(high) else field


def everywhere(function: Callable[..., float], *fields: Field) -> Field:
    """Apply a function of numbers to fields, once for each of the places that differ."""
    if all(isinstance(field, float) for field in fields):
        return float(function(*fields))
    spread: list[Any] = [*np.broadcast_arrays(*fields)]
    scales = [float(np.abs(one).max()) or 1.0 for one in spread]
    flat = np.stack([np.round(one / scale, _DIGITS) * scale for one, scale in zip(spread, scales, strict=True)])
    different, places = np.unique(flat.reshape(len(spread), -1), axis=1, return_inverse=True)
    found = np.array([function(*map(float, one)) for one in different.T])
    return found[places.reshape(-1)].reshape(spread[0].shape)
