"""The weights that take part: what they were drawn from, which parameter they show, and where they were used before."""

from __future__ import annotations

import math
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from paraminspect.analysis.signal.figures import figures
from paraminspect.analysis.signal.operations import Same
from paraminspect.analysis.signal.recognise import TorchCall, read
from paraminspect.analysis.signal.states import Law

_SIGMAS: Final = 5.0  # a measured mean counts as 0 within so many standard errors
_FLAT: Final = 2.1  # kurtosis: below it a distribution is taken for a uniform one, which has 1.8; a normal one has 3
_FEW: Final = 16  # elements: of fewer no kurtosis is told

Layout = tuple[torch.Size, tuple[int, ...], int | torch.SymInt]


def version(tensor: Tensor) -> int:
    """Return how often a tensor was written to; one of inference mode does not say."""
    return -1 if tensor.is_inference() else tensor._version


class Distribution(Protocol):
    """The distribution that a parameter was drawn from, as far as it matters here."""

    @property
    def mean(self) -> float | None:
        """Return the mean, None where it is not known."""

    @property
    def std(self) -> float | None:
        """Return the standard deviation, None where it is not known."""

    @property
    def kurtosis(self) -> float | None:
        """Return the fourth standardised moment, None where it is not known."""


class Weights:
    """Know the parameters of a module, and what shows their elements.

    `guessed` says that the distribution of one was taken from its own elements; `uses` counts, by the id of the
    parameter, the operations that multiplied the signal by it.
    """

    def __init__(self, parameters: Iterable[Tensor], drawn: Mapping[int, Distribution]) -> None:
        self.guessed = False
        self.uses: Counter[int] = Counter()
        self._parameters = {id(parameter): parameter for parameter in parameters}
        self._drawn = drawn
        self._views: dict[int, tuple[weakref.ref[Tensor], Tensor]] = {}
        self._laws: dict[tuple[int, int], Law] = {}
        self._layouts: dict[int, Layout | None] = {}

    def forget(self) -> None:
        """Hold no tensor any longer."""
        self._parameters.clear()
        self._views.clear()

    def owns(self, tensor: Any) -> bool:
        """Tell whether this is a parameter, or shows the elements of one."""
        return id(tensor) in self._parameters or self._shown(tensor) is not None

    def owner(self, weight: Tensor) -> Tensor:
        """Return the parameter whose elements a weight shows: `w` for ``w.t()``.

        A parameter is its own, and so is a weight that was computed, as by a parametrisation.
        """
        shown = self._shown(weight)
        return weight if shown is None else shown

    def note_view(self, func: Callable[..., Any], args: tuple[Any, ...], output: Tensor) -> None:
        """Remember what shows the elements of a parameter in another shape: ``w.t()``."""
        first = args[0] if args else None
        if not isinstance(first, Tensor) or output is first or not self.owns(first):
            return
        if isinstance(read(TorchCall(func, args, {}, self._parameters.__contains__, self.owns), output), Same):
            self._views[id(output)] = weakref.ref(output), self.owner(first)

    def note_use(self, weight: Tensor, rows: Tensor | None) -> bool:
        """Count a use of a weight; tell whether theory can take it for one of independent weights.

        It can where every use before had the same units: a layer that is called again (Chen, Pennington & Schoenholz
        2018), but not a transposed one, nor an embedding.
        """
        own = self.owner(weight)
        if id(own) not in self._parameters:
            return True
        as_used = rows if rows is not None else weight
        layout = as_used.shape, as_used.stride(), as_used.storage_offset()
        self.uses[id(own)] += 1
        return self._layouts.setdefault(id(own), layout) == layout

    def note_read(self, tensors: Iterable[Tensor]) -> bool:
        """Tell whether some are parameters, read in a way that theory has no word for."""
        found = [id(self.owner(one)) for one in tensors if self.owns(one)]
        for key in found:
            self._layouts[key] = None
        return bool(found)

    def law(self, tensor: Tensor | None, missing: Law) -> Law:
        """Return mean and second moment of what a weight or a bias was drawn from, `missing` where there is none."""
        if tensor is None:
            return missing
        own = self.owner(tensor)
        if id(own) not in self._parameters:
            return self._measured(own)
        key = id(own), version(own)
        if key not in self._laws:
            self._laws[key] = self._known(own) or self._measured(own)
        return self._laws[key]

    def _shown(self, tensor: Any) -> Tensor | None:
        found = self._views.get(id(tensor))
        return found[1] if found is not None and found[0]() is tensor else None

    def _known(self, own: Tensor) -> Law | None:
        drawn = self._drawn.get(id(own))
        if drawn is None or drawn.mean is None or drawn.std is None:
            return None
        flat = drawn.kurtosis is not None and drawn.kurtosis < _FLAT
        return Law(drawn.mean, drawn.mean**2 + drawn.std**2, uniform=flat)

    def _measured(self, own: Tensor) -> Law:
        """Take the moments that the elements have; a mean that chance explains is 0."""
        self.guessed = True
        found, count = figures(own), max(own.numel(), 1)
        if found.nonfinite or found.mean is None or found.second is None:
            return Law(math.nan, math.nan)  # of which nothing is known
        mean, second = found.mean, found.second
        variance = max(second - mean**2, 0.0)
        flat = own.dim() == 1 and count >= _FEW and variance > 0 and _kurtosis(own, mean, variance) < _FLAT
        mean = 0.0 if mean**2 <= _SIGMAS**2 * variance / count else mean
        return Law(mean, second, (2.0 / count) ** 0.5 if variance > 0 else 0.0, flat)


def _kurtosis(vector: Tensor, mean: float, variance: float) -> float:
    standard = (vector.detach().to(torch.float64) - mean) / variance**0.5
    return float((standard**4).mean())
