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

Most nodes have no error to hand on and cancel nothing. Then one element of what they returned tells that it is not
little, and no size is looked for. Nodes that rearrange what they receive, or take each element times its slope, leave
the proportion as it is: where nothing else meets what they hand on, they are not asked at all.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from paraminspect.analysis.passes.measuring_queues import PlainMemory, is_plain

Grads = tuple[Tensor | None, ...]
_LITTLE, _AT_MOST = 1e4, 0.1  # times eps, and at most: what is less, beside its terms, may be what cancellation left
_CANCELLED = 10.0  # times as large as what is left: terms that only differ in size do not come to that
_ERRORS = 8.0  # times eps: the error of a term, which took a few steps itself
_MOST = 4.0  # times a gradient: an error that is larger tells no more
_COPIES = {*("TBackward0", "ViewBackward0", "UnsafeViewBackward0", "TransposeBackward0", "AliasBackward0")}
# What these return is what they received, in another order or each element times a slope: no terms are added.
_PASS_ON = _COPIES | {
    *("PermuteBackward0", "ReshapeAliasBackward0", "UnsqueezeBackward0", "SqueezeBackward0", "SqueezeBackward1"),
    *("CloneBackward0", "NegBackward0", "ReluBackward0", "LeakyReluBackward0", "EluBackward0", "GeluBackward0"),
    *("SiluBackward0", "MishBackward0", "TanhBackward0", "SigmoidBackward0", "SoftplusBackward0", "HardtanhBackward0"),
    *("HardswishBackward0", "HardsigmoidBackward0", "ExpBackward0", "LogBackward0", "SqrtBackward0", "RsqrtBackward0"),
}
DRAWN = 65_537  # random numbers at most: a prime, so that no dimension is a multiple of it
_SHORT = 8192  # elements: up to here torch needs fewer calls
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


class _Edge(NamedTuple):
    """Where what a node returned goes: to which of the places of which node, of what shape, and whether it is `alone`.

    Then nothing else arrives at that node, at no place of it.
    """

    node: Any
    place: int
    shape: torch.Size
    alone: bool


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
        self._edges: dict[Any, list[_Edge | None]] = {}
        self._before: dict[Any, Any] = {}  # which node passed on to a node what arrived there, and was not asked
        self._received: dict[Any, list[_Contribution]] = defaultdict(list)
        self._sizes: dict[int, _KnownSize] = {}

    def watch(self, graph: Sequence[Any]) -> None:
        """Have every node of a graph that may add to the errors call `_note` with what it received and returned."""
        self.nodes += graph
        following = [node.next_functions for node in graph]
        arrivals = Counter(node for edges in following for node, _ in edges)
        for node, edges in zip(graph, following, strict=True):
            name = node.name()
            if name == _LEAF:
                self._leaves[id(node.variable)] = node
            elif name in _PASS_ON and arrivals[node] == 1 and len(edges) == 1 and arrivals[edges[0][0]] == 1:
                self._before[edges[0][0]] = node
            else:
                self._edges[node] = [
                    None
                    if to is None
                    else _Edge(to, place, torch.Size(to._input_metadata[place].shape), arrivals[to] == 1)
                    for to, place in edges
                ]
                self._handles.append(node.register_hook(self._hook(node)))

    def error_at(self, node: Any, arrived: float) -> float:
        """Return how far off an element of the gradient may be that arrived at a node, `arrived` being the largest."""
        first = node
        while first in self._before:
            first = self._before[first]
        received = self._received.get(first, ())
        if first is not node:
            return _share(received[0].error, received[0].size) * arrived if received else 0.0
        if len(received) == 1:
            return received[0].error
        by_place: dict[int, list[_Contribution]] = defaultdict(list)
        for one in received:
            by_place[one.place].append(one)
        return max((_error_of_sum(found, arrived) for found in by_place.values()), default=0.0)

    def error_of(self, leaf: Tensor, arrived: float) -> float:
        """Return what `error_at` does for what arrived at a leaf: an input, a parameter."""
        node = self._leaves.get(id(leaf))
        return 0.0 if node is None else self.error_at(node, arrived)

    def close(self) -> None:
        """Take the hooks away, and with them the cycles through autograd's nodes that nothing would collect."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._edges.clear()
        self._sizes.clear()

    def _hook(self, node: Any) -> Callable[[Grads, Grads], None]:
        def note(returned: Grads, received: Grads) -> None:
            try:
                with torch._C.DisableTorchFunction():
                    self._note(node, returned, received)
            except Exception:  # what cannot be measured (a subclass, no numbers) is taken to be right
                return

        return note

    def _note(self, node: Any, returned: Grads, received: Grads) -> None:
        """Note the contributions of a node, each with the error that comes with what it received."""
        arrived = max(map(self._largest, received))
        share = _share(self.error_at(node, arrived), arrived)
        again: _Again | None = None
        for index, (grad, edge) in enumerate(zip(returned, self._edges[node], strict=False)):
            if grad is None or edge is None or grad.layout is not torch.strided:
                continue
            eps, same = _eps(grad.dtype), grad.shape == edge.shape
            little = arrived * min(_LITTLE * eps, _AT_MOST)
            if share == 0 and edge.alone and _one_of(grad, edge.shape, same) >= little:
                continue
            size = arrived if node.name() in _COPIES else self._largest(grad if same else grad.sum_to_size(edge.shape))
            if same:  # else autograd sums it up too: what arrives is another tensor
                self._sizes[id(grad)] = _KnownSize(weakref.ref(grad), grad._version, size)
            error = share * size
            if share < 1 and 0 < size < little:
                again = again or _Again(node, received)
                terms = _terms_of_sum(node, index, grad, edge.shape, received) or again.largest(index)
                if terms > _CANCELLED * size:
                    error = (share + _ERRORS * eps) * terms
            self._received[edge.node].append(_Contribution(edge.place, size, error, eps))

    def _largest(self, grad: Tensor | None) -> float:
        """Return the largest magnitude: what one node returned is most often what another receives, untouched."""
        known = self._sizes.get(id(grad))
        if known is not None and grad is not None and known.tensor() is grad and known.version == grad._version:
            return known.largest
        return _largest(grad)


def _share(error: float, size: float) -> float:
    return min(error / size, _MOST) if size > 0 else 0.0


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
    if grad.numel() > _SHORT and is_plain(grad):
        # As integers, patterns are in the order of magnitudes: the unsigned ones below 0, the signed ones above.
        words = np.asarray(PlainMemory(grad))
        below, above = np.maximum.reduce(words.view(np.uint32)), np.maximum.reduce(words.view(np.int32))
        one, other = abs(float(below.view(np.float32))), abs(float(above.view(np.float32)))
        return one if one > other or math.isnan(one) else other
    low, high = torch.aminmax(torch.view_as_real(grad) if grad.is_complex() else grad)
    return max(-low.item(), high.item())


def _one_of(grad: Tensor, shape: torch.Size, same: bool) -> float:
    """Return the magnitude of one element, read from memory, or half of one of the sums to a shape; 0 where unknown.

    The half, for torch may add up in another order.
    """
    if type(grad) is not Tensor or grad.dtype is not torch.float32 or not grad.is_cpu or not grad.numel():
        return 0.0
    if same:
        address = grad.data_ptr() if grad.untyped_storage().nbytes() else 0  # what was freed must not be read
        return abs(ctypes.c_float.from_address(address).value) if address else 0.0
    if not (is_plain(grad) and grad.is_contiguous() and grad.shape[grad.dim() - len(shape) :] == shape):
        return 0.0
    return 0.5 * abs(float(np.add.reduce(np.asarray(PlainMemory(grad))[:: shape.numel()])))


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
    drawn = torch.randint(0, 2, (min(grad.numel(), DRAWN),), generator=generator, device="cpu") * 2 - 1
    return repeated(drawn.to(grad.device, grad.dtype), grad.shape)


def repeated(numbers: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a shape full of the numbers, over and over: drawing as many as a layer returns takes longer than it."""
    count = math.prod(shape)
    return numbers.repeat(-(-count // max(numbers.numel(), 1)))[:count].view(tuple(shape))
