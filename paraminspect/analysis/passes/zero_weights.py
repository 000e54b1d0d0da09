"""Gradients that are 0 because every path to the loss multiplies by a weight that is 0 still, and will not stay so.

A residual branch often ends in a weight that starts at 0 (the last norm of a ResNet block, the gate of a ReZero block):
its own gradient is not 0, but all before it in the branch get 0 until it has moved. That is no fault, where a ReLU that
is off for every sample is one. Three things are asked of a gradient of 0 before it is said to be behind a zero weight:

1. The weight itself gets a gradient, so that it moves (or it is behind another one that does).
2. In autograd's graph every path from the loss to the parameter crosses an edge that such a weight multiplies: with a
   random gradient the node returns 0 there, and with random numbers in the weight's place it does not.
3. With random numbers in the place of these weights, in the backward alone, the gradient is not 0. The forward is as it
   was, so what is dead in it is still dead.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from paraminspect.analysis.passes.forward_backward import grads_put_aside
from paraminspect.analysis.passes.losses import compute_loss
from paraminspect.isolation.torch_state import eager, room
from paraminspect.modules.nested_tensors import leaves_among, nodes_of
from paraminspect.modules.subject import Batch, Loss

_LEAF = "torch::autograd::AccumulateGrad"
_COPIES = ("ToCopy", "T", "View", "UnsafeView", "Transpose", "Alias", "Expand", "Unsqueeze", "Squeeze", "Permute")
_SAME = {f"{name}Backward0" for name in (*_COPIES, "Clone", "ReshapeAlias")}


def behind_zero_weights(
    module: nn.Module,
    batch: Batch,
    loss: Loss,
    zero: Sequence[Tensor],
    weights: Sequence[Tensor],
    contain: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> frozenset[int]:
    """Return the ids of those parameters in `zero`, whose gradient is 0, that are behind a weight that is.

    `weights` are parameters of zeros that get a gradient. The forward runs again; what raises is no exception here,
    save KeyboardInterrupt: nothing is told then.
    """
    held = [tensor for tensor in [*zero, *weights] if tensor.is_leaf]
    try:
        with eager(), room(), grads_put_aside(held), contain():
            saved = _Saved([*weights, *(one for one in zero if not one.any())])
            with torch.autograd.graph.saved_tensors_hooks(saved.pack, saved.unpack):
                value = compute_loss(loss, module(*batch.args, **batch.kwargs))
            return _explained(value, zero, weights, saved)
    except KeyboardInterrupt:
        raise
    except BaseException:  # the user's code may exit
        return frozenset()


def _explained(value: Tensor, zero: Sequence[Tensor], weights: Sequence[Tensor], saved: _Saved) -> frozenset[int]:
    """Ask again as long as weights are found that get their gradient once others have moved."""
    graph = nodes_of(value)
    connected = {id(leaf) for leaf in leaves_among(graph)}
    found: dict[int, Tensor] = {}
    saved.moving = {id(weight) for weight in weights}
    while True:
        reached = _reached(value, _crossings(graph, saved))
        asked = [one for one in zero if id(one) in connected - reached - set(found)]
        new = {id(one): one for one in _with_gradient(value, asked, saved)}
        found |= new
        later = {key for key in new if key in saved.keys} - saved.moving
        if not later:
            return frozenset(found)
        saved.moving |= later


def _with_gradient(value: Tensor, parameters: Sequence[Tensor], saved: _Saved) -> list[Tensor]:
    """Return the parameters whose gradient is not 0 once random numbers are in the weights' place."""
    if not parameters:
        return []
    with saved.replaced():  # one backward for all of them: a model has as many as it has layers
        grads = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    pairs = zip(parameters, grads, strict=True)
    return [one for one, grad in pairs if grad is not None and bool(grad.any())]


class _ZeroWeight(NamedTuple):
    """A zero weight, or a view or copy of one, as autograd saved it; `random` are numbers to put in its place."""

    key: int
    tensor: Tensor
    random: Tensor


class _Saved:
    """What autograd saves in a forward: zero weights are known again, and can be replaced in the backward."""

    def __init__(self, weights: Iterable[Tensor]) -> None:
        self._weights = [*weights]
        self.keys = {id(weight) for weight in self._weights}
        self.moving: set[int] = set()
        self.touched = False
        self._replace = False
        self._storages = {weight.untyped_storage().data_ptr(): id(weight) for weight in self._weights}
        self._generator = torch.Generator().manual_seed(0)

    def pack(self, tensor: Tensor) -> Any:
        """Keep a tensor for the backward, with what can be put in its place if it is a zero weight."""
        with torch.no_grad(), torch._C.DisableTorchFunction():
            key = self._key(tensor)
            if key is None:
                return tensor.detach()
            return _ZeroWeight(key, tensor.detach(), random_like(tensor.shape, tensor, self._generator))

    def unpack(self, held: Any) -> Tensor:
        """Return a tensor to the backward."""
        if not isinstance(held, _ZeroWeight):
            return held  # type: ignore[no-any-return]  # a tensor, see `pack`
        if held.key not in self.moving:
            return held.tensor
        self.touched = True
        return held.random if self._replace else held.tensor

    @contextlib.contextmanager
    def replaced(self) -> Iterator[None]:
        """Put random numbers in the place of the weights that move."""
        self._replace = True
        try:
            yield
        finally:
            self._replace = False

    def _key(self, tensor: Tensor) -> int | None:
        if not tensor.is_floating_point() or not tensor.numel():
            return None
        key = self._storages.get(tensor.untyped_storage().data_ptr())
        if key is not None:
            return key
        node = tensor.grad_fn
        while node is not None and node.name() in _SAME:
            node = node.next_functions[0][0]
        leaf = id(node.variable) if node is not None and node.name() == _LEAF else None  # type: ignore[attr-defined]  # a leaf's node has it
        return leaf if leaf in self.keys else None


def random_like(shape: Sequence[int], like: Any, generator: torch.Generator) -> Tensor:
    """Return random numbers in the dtype and on the device of something else."""
    return torch.randn(tuple(shape), generator=generator).to(like.device, like.dtype)


_Crossings = set[tuple[Any, int]]


def _crossings(graph: Sequence[Any], saved: _Saved) -> _Crossings:
    """Return the edges, as a node and the number of its input, that a zero weight multiplies."""
    generator = torch.Generator().manual_seed(1)
    return {(node, index) for node in graph if _reads_weight(node, saved) for index in _blocked(node, saved, generator)}


def _reads_weight(node: Any, saved: _Saved) -> bool:
    """Tell whether a node of torch's, not one of the user's, has saved a zero weight."""
    if isinstance(node, torch.autograd.function.BackwardCFunction):
        return False
    saved.touched = False
    for name in dir(node):
        if name.startswith("_saved_"):
            getattr(node, name)
    return saved.touched


def _blocked(node: Any, saved: _Saved, generator: torch.Generator) -> Iterator[int]:
    """Yield the inputs that get 0 for a random gradient, and something else once the weight is random."""
    grads = [random_like(one.shape, one, generator) for one in node._input_metadata]
    was = _returned(node, grads)
    with saved.replaced():
        would_be = _returned(node, grads)
    for index, (one, other) in enumerate(zip(was, would_be, strict=True)):
        if one is not None and other is not None and not one.any() and other.any():
            yield index


def _returned(node: Any, grads: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    found = node(*grads)
    return found if isinstance(found, tuple) else (found,)


def _reached(value: Tensor, crossings: _Crossings) -> set[int]:
    """Return the ids of the leaves that some path leads to which crosses no such edge."""
    todo, seen, leaves = [value.grad_fn], set(), set()
    while todo:
        node: Any = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name() == _LEAF:
            leaves.add(id(node.variable))
        todo += [to for at, (to, _) in enumerate(node.next_functions) if (node, at) not in crossings]
    return leaves
