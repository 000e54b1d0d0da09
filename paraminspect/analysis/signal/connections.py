"""How many products an operation with weights adds up: the same everywhere for a matrix, fewer at a padded border."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from paraminspect.analysis.signal.states import Field, evened, mean_of


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
