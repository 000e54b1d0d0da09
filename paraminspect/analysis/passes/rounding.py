"""Which gradients are rounding: what is left where terms cancel that are 0 together in exact arithmetic.

The sum after a softmax is 1 whatever its weights are, and a bias before a BatchNorm is subtracted again: both have a
gradient of 0, and autograd returns 1e-8. A vanishing gradient of 1e-10 is none of these: every digit of it is right.
What tells them apart is the size of the terms. While the backward runs, each node of autograd's graph is asked how
large what it received was, and how large what it returned:

====================  ========  ========  ===================  ==========================================
node                  received  returned  with signs at random  conclusion
====================  ========  ========  ===================  ==========================================
SumBackward0          1         1         (not asked)          nothing cancels
SoftmaxBackward0      1         3e-8      0.35                 terms of .35 cancel to 3e-8: all rounding
AddmmBackward0        3e-8      5e-8      (not asked)          as much rounding as what was received
SigmoidBackward0      1         1e-6      1e-6                 the slope is small, and nothing cancels
====================  ========  ========  ===================  ==========================================

Where little comes back, the node is run again with the signs of what it received drawn at random: terms that cancelled
no longer do. An error of eps times these terms is the least that the arithmetic could make. It is handed on with the
gradient, in proportion; where gradients of several nodes meet, errors add up, and if these gradients cancel, their
own rounding counts too.
"""

from __future__ import annotations

import math
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

Grads = tuple[Tensor | None, ...]
_LITTLE, _AT_MOST = 1e4, 0.1  # times eps, and at most: what is less, beside its terms, may be what cancellation left
_CANCELLED = 10.0  # times as large as what is left: terms that only differ in size do not come to that
_ERRORS = 8.0  # times eps: the error of a term, which took a few steps itself
_MOST = 4.0  # times a gradient: an error that is larger tells no more
_COPIES = {*("TBackward0", "ViewBackward0", "UnsafeViewBackward0", "TransposeBackward0", "AliasBackward0")}
# At which place a bias is, and in which dimension of the output its elements count.
BIASES = {
    "AddmmBackward0": (0, -1),
    "NativeLayerNormBackward0": (2, -1),
    "ConvolutionBackward0": (2, 1),
    "NativeBatchNormBackward0": (2, 1),
    "NativeGroupNormBackward0": (2, 1),
}
_LEAF = "torch::autograd::AccumulateGrad"


class _Contribution(NamedTuple):
    """What a node returned to another: at which of that one's places, how large at most, how far off, in which eps."""

    place: int
    size: float
    error: float
    eps: float


class _KnownSize(NamedTuple):
    """The largest magnitude of a gradient, as long as it lives and nobody writes to it."""

    tensor: weakref.ref[Tensor]
    version: int
    largest: float


class Rounding:
    """Follow the error of every gradient through a backward, from the loss to the leaves."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []  # held: a node is known by its Python object
        self._leaves: dict[int, Any] = {}
        self._handles: list[Any] = []
        self._received: dict[Any, list[_Contribution]] = defaultdict(list)
        self._sizes: dict[int, _KnownSize] = {}

    def watch(self, graph: Iterable[Any]) -> None:
        """Have every node of a graph call `_note` with what it received and what it returned."""
        for node in graph:
            if node.name() == _LEAF:
                self._leaves[id(node.variable)] = node
            else:
                self._handles.append(node.register_hook(self._hook(len(self.nodes))))
            self.nodes.append(node)

    def error_at(self, node: Any, arrived: float) -> float:
        """Return how far off an element of the gradient may be that arrived at a node, `arrived` being the largest."""
        received = self._received.get(node, ())
        if len(received) == 1:
            return received[0].error
        by_place: dict[int, list[_Contribution]] = defaultdict(list)
        for one in received:
            by_place[one.place].append(one)
        return max((_error_of_sum(found, arrived) for found in by_place.values()), default=0.0)

    def error_of(self, leaf: Tensor, arrived: float) -> float:
        """Return the same for what arrived at a leaf: an input, a parameter."""
        node = self._leaves.get(id(leaf))
        return 0.0 if node is None else self.error_at(node, arrived)

    def close(self) -> None:
        """Take the hooks away, and with them the cycles through autograd's nodes that nothing would collect."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._sizes.clear()

    def _hook(self, at: int) -> Callable[[Grads, Grads], None]:
        def note(returned: Grads, received: Grads) -> None:
            try:
                with torch._C.DisableTorchFunction():
                    self._note(self.nodes[at], returned, received)
            except Exception:  # what cannot be measured (a subclass, no numbers) is taken to be right
                return

        return note

    def _note(self, node: Any, returned: Grads, received: Grads) -> None:
        """Note the contributions of a node, each with the error that comes with what it received."""
        arrived, copies = max(map(self._largest, received)), node.name() in _COPIES
        share = min(self.error_at(node, arrived) / arrived, _MOST) if arrived > 0 else 0.0
        again: _Again | None = None
        for index, (grad, (following, place)) in enumerate(zip(returned, node.next_functions, strict=False)):
            if grad is None or following is None or grad.layout is not torch.strided:
                continue
            shape = torch.Size(following._input_metadata[place].shape)
            eps, same = _eps(grad.dtype), grad.shape == shape
            size = arrived if copies else self._largest(grad if same else grad.sum_to_size(shape))
            if same:  # else autograd sums it up too: what arrives is another tensor
                self._sizes[id(grad)] = _KnownSize(weakref.ref(grad), grad._version, size)
            error = share * size
            if share < 1 and 0 < size < arrived * min(_LITTLE * eps, _AT_MOST):
                again = again or _Again(node, received)
                terms = _terms_of_sum(node, index, grad, shape, received) or again.largest(index)
                if terms > _CANCELLED * size:
                    error = (share + _ERRORS * eps) * terms
            self._received[following].append(_Contribution(place, size, error, eps))

    def _largest(self, grad: Tensor | None) -> float:
        """Return the largest magnitude: what one node returned is most often what another receives, untouched."""
        known = self._sizes.get(id(grad))
        if known is not None and grad is not None and known.tensor() is grad and known.version == grad._version:
            return known.largest
        return _largest(grad)


@cache
def _eps(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps


def _error_of_sum(found: Sequence[_Contribution], arrived: float) -> float:
    """Return the error of a sum: that of its terms, which are independent, and its own where they cancel."""
    error = math.hypot(*(one.error for one in found))
    terms, eps = sum(one.size for one in found), max(one.eps for one in found)
    if len(found) > 1 and arrived < terms * min(_LITTLE * eps, _AT_MOST):
        error = max(error, _ERRORS * eps * terms)
    return error


def _largest(grad: Tensor | None) -> float:
    """Return the largest magnitude, NaN where there is a NaN."""
    if grad is None or grad.numel() == 0:
        return 0.0
    low, high = torch.aminmax(torch.view_as_real(grad) if grad.is_complex() else grad)
    return max(-low.item(), high.item())


def _terms_of_sum(node: Any, index: int, grad: Tensor, shape: torch.Size, received: Grads) -> float:
    """Return the largest Σ|term| where a node only adds up what it received, as for a bias; else 0.

    Other than by random signs the terms do not average out: their errors may have a cause in common, that of a mean.
    """
    if grad.shape != shape:
        return _largest(grad.abs().sum_to_size(shape))
    place, channels = BIASES.get(node.name(), (None, -1))
    if index != place or received[0] is None:
        return 0.0
    return _largest(received[0].abs().transpose(channels, -1).sum_to_size(grad.shape))


class _Again:
    """What a node of torch's returns for what it received, once each element's sign is drawn at random."""

    def __init__(self, node: Any, received: Grads) -> None:
        self._node, self._received = node, received
        self._returned: Grads | None = None

    def largest(self, index: int) -> float:
        """Return the largest element; 0 for a node of the user's, whose backward must not run twice."""
        if isinstance(self._node, torch.autograd.function.BackwardCFunction):
            return 0.0
        if self._returned is None:
            generator = torch.Generator().manual_seed(0)
            returned = self._node(*[None if one is None else one * _signs(one, generator) for one in self._received])
            self._returned = returned if isinstance(returned, tuple) else (returned,)
        return _largest(self._returned[index])


def _signs(grad: Tensor, generator: torch.Generator) -> Tensor:
    return (torch.randint(0, 2, grad.shape, generator=generator, device="cpu") * 2 - 1).to(grad.device, grad.dtype)
