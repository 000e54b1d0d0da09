"""Gradients that are 0 because every path to the loss multiplies by a weight that is 0 still, and will not stay so.

A residual branch often ends in a weight that starts at 0 (the last norm of a ResNet block, the gate of a ReZero block):
its own gradient is not 0, but all before it in the branch get 0 until it has moved. That is no fault, where a ReLU that
is off for every sample is one. Three things are asked of a gradient of 0 before it is said to be behind a zero weight:

1. The weight itself gets a gradient, so that it moves (or it is behind another one that does).
2. In autograd's graph every path from the loss to the parameter crosses an edge that such a weight multiplies: with a
   random gradient the node returns 0 there, and with random numbers in the weight's place it does not.
3. With random numbers in the place of these weights, in the backward alone, a gradient gets from there to the
   parameter, see `gradient_reach`. The forward is as it was, so what is dead in it is still dead.

What such a weight made 0 counts as the weight does: squeeze and excitation multiplies its gates by the 0 that a last
norm of gain 0 returns, and takes its input from the mean of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from paraminspect.analysis.passes.gradient_reach import LEAF, passed_on, reach, saved_by, saved_names
from paraminspect.analysis.passes.rounding import BIASES, DRAWN, repeated
from paraminspect.isolation.torch_state import eager, recording, room
from paraminspect.modules.nested_tensors import leaves_among, nodes_of

_COPIES = ("ToCopy", "T", "View", "UnsafeView", "Transpose", "Alias", "Expand", "Unsqueeze", "Squeeze", "Permute")
_SAME = {f"{name}Backward0" for name in (*_COPIES, "Clone", "ReshapeAlias")}
_MEANS = ("Mean", "Sum", "AvgPool2D", "AdaptiveAvgPool2D", "AdaptiveAvgPool3D", "Div", "NativeDropout")
_Crossings = set[tuple[Any, int]]
_ZERO_STAYS = _SAME | {f"{name}Backward{overload}" for name in _MEANS for overload in (0, 1)}


@recording()
def behind_zero_weights(
    value: Tensor,
    zero: Sequence[Tensor],
    weights: Sequence[Tensor],
    contain: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> frozenset[int]:
    """Return the ids of those parameters in `zero`, whose gradient is 0, that are behind a weight that is.

    `weights` are parameters of zeros that get a gradient. The graph behind the loss `value` must still be whole: nodes
    of it are run again. What raises is no exception here, save KeyboardInterrupt: nothing is told then.
    """
    try:
        with eager(), room(), contain():
            graph = nodes_of(value)
            with torch._C.DisableTorchFunction():  # what looks writes nothing
                saved = _Saved(graph, [*weights, *(one for one in zero if not one.any())])
            try:
                return _explained(value, zero, weights, saved)
            finally:
                saved.let_go()
    except KeyboardInterrupt:
        raise
    except BaseException:  # the user's code may exit
        return frozenset()


def may_multiply_by(zeros: Sequence[Tensor], graph: Iterable[Any]) -> bool:
    """Tell whether a node of a graph reads one of some parameters of zeros as more than a bias."""
    return bool(zeros) and any(BIASES.get(node.name(), ())[:1] != (place,) for node, place in _reading(graph, zeros))


def _explained(value: Tensor, zero: Sequence[Tensor], weights: Sequence[Tensor], saved: _Saved) -> frozenset[int]:
    """Ask again as long as weights are found that get their gradient once others have moved."""
    found: set[int] = set()
    saved.moving = {id(weight) for weight in weights}
    while True:
        new = set(_with_gradient(value, [one for one in zero if id(one) not in found], saved))
        found |= new
        later = (new & saved.keys) - saved.moving
        if not later:
            return frozenset(found)
        saved.moving |= later


def _with_gradient(value: Tensor, parameters: Sequence[Tensor], saved: _Saved) -> Iterator[int]:
    """Yield the ids of the parameters whose gradient is not 0 once random numbers are in the weights' place.

    Another backward runs, one for all of them, only for those of which the nodes alone do not tell it.
    """
    with torch._C.DisableTorchFunction():  # as above
        crossings = _crossings(saved)
        outside = _reached(value, crossings)
        with saved.replaced():
            sure, undecided = reach((node.next_functions[at] for node, at in crossings if node in outside), outside)
    behind = {id(leaf) for node in undecided for leaf in leaves_among(nodes_of(node, outside))} - sure
    left = [one for one in parameters if id(one) in behind]
    with saved.replaced():
        grads = torch.autograd.grad(value, left, retain_graph=True, allow_unused=True) if left else ()
    yield from (id(one) for one in parameters if id(one) in sure)
    yield from (id(one) for one, grad in zip(left, grads, strict=True) if grad is not None and bool(grad.any()))


@dataclass
class _SavedWeight:
    """What autograd saved; where it is a zero weight, or a view or copy of one, also numbers to put in its place."""

    tensor: Tensor | None = None
    key: int | None = None
    random: Tensor | None = None

    def pack(self, tensor: Tensor) -> _SavedWeight:
        """Take a tensor in, when autograd hands it over."""
        self.tensor = tensor.detach()
        return self


class _Known:
    """Know some parameters again in what autograd has saved: as themselves, in a view, in a copy of another dtype."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self.parameters = [*parameters]
        self.ids = {id(one) for one in self.parameters}
        self._storages = {one.untyped_storage().data_ptr(): id(one) for one in self.parameters}

    def key(self, tensor: Tensor) -> int | None:
        """Return the id of the parameter, None where it is no such one."""
        if not tensor.is_floating_point() or not tensor.numel():
            return None
        key = self._storages.get(tensor.untyped_storage().data_ptr())
        if key is not None:
            return key
        node = _through(tensor.grad_fn, _SAME)
        leaf = id(node.variable) if node is not None and node.name() == LEAF else None
        if leaf in self.ids:
            return leaf
        maker = self.maker(tensor.grad_fn)
        return None if maker is None or tensor.any() else maker

    def maker(self, node: Any) -> int | None:
        """Return the id of the parameter that what a node returned was multiplied by, or its mean was."""
        node = _through(node, _ZERO_STAYS)
        read = [_read_through(following) for following, _ in node.next_functions] if node is not None else []
        return next((one for one in read if one in self.ids), None)


class _Saved:
    """The zero weights that the nodes of a graph have saved: they can be replaced in the backward.

    `readers` are the nodes, each with the ids of the weights that it saved; `moving` the weights that are replaced.
    """

    def __init__(self, graph: Iterable[Any], weights: Iterable[Tensor]) -> None:
        known = _Known(weights)
        self.keys = known.ids
        self.moving: set[int] = set()
        self.readers: dict[Any, set[int | None]] = {}
        self._replace = False
        generator = torch.Generator().manual_seed(0)
        graph = [*graph]
        makers = (node for node in graph if any(known.maker(following) for following, _ in node.next_functions))
        for node in (*(node for node, _ in _reading(graph, known.parameters)), *makers):
            if node not in self.readers:
                self.readers[node] = {held.key for held in self._hold(node, known, generator)}

    def let_go(self) -> None:
        """Hold no node any longer: its hooks hold us, and that is a cycle nothing would collect."""
        self.readers.clear()

    def _hold(self, node: Any, known: _Known, generator: torch.Generator) -> Iterator[_SavedWeight]:
        """Put ourselves in the place of what a node has saved, but for what a checkpoint computes anew."""
        for raw, name, at in saved_by(node):
            held = _SavedWeight()
            try:
                raw.register_hooks(held.pack, self._unpack)
            except RuntimeError:  # it has hooks already, or holds nothing
                continue
            saved = getattr(node, name)
            tensor = saved if at is None else saved[at]
            key = known.key(tensor)
            if key is not None:
                drawn = torch.randn(min(tensor.numel(), DRAWN), generator=generator).to(tensor.device, tensor.dtype)
                held.key, held.random = key, repeated(drawn, tensor.shape)
                yield held

    def _unpack(self, held: _SavedWeight) -> Tensor:
        """Return a tensor to the backward."""
        is_replaced = self._replace and held.random is not None and held.key in self.moving
        return held.random if is_replaced else held.tensor  # type: ignore[return-value]  # as just asked

    @contextlib.contextmanager
    def replaced(self) -> Iterator[None]:
        """Put random numbers in the place of the weights that move."""
        self._replace = True
        try:
            yield
        finally:
            self._replace = False


def _reading(graph: Iterable[Any], parameters: Iterable[Tensor]) -> Iterator[tuple[Any, int]]:
    """Yield the nodes that have saved tensors and read one of some parameters, each with the place of that one."""
    ids = {id(one) for one in parameters}
    for node in graph:
        if saved_names(node):
            for place, (following, _) in enumerate(node.next_functions):
                if following is not None and _read_through(following) in ids:
                    yield node, place


def _through(node: Any, kinds: Collection[str]) -> Any:
    """Return the node of autograd's graph behind nodes of some kinds, which take one tensor each."""
    while node is not None and node.name() in kinds:
        node = node.next_functions[0][0]
    return node


def _read_through(node: Any) -> int | None:
    """Return the id of the leaf that a node shows: as it is, in a view, in a copy."""
    while node is not None and node.name() != LEAF:
        following = node.next_functions
        node = following[0][0] if len(following) == 1 and not saved_names(node) else None
    return None if node is None else id(node.variable)


def _crossings(saved: _Saved) -> _Crossings:
    """Return the edges, as a node and the number of its input, that a zero weight multiplies."""
    return {(node, at) for node, keys in saved.readers.items() if keys & saved.moving for at in _blocked(node, saved)}


def _blocked(node: Any, saved: _Saved) -> set[int]:
    """Return the inputs that get 0 for a random gradient, and something else once the weight is random."""
    now = passed_on(node)
    with saved.replaced():
        then = passed_on(node)
    return set() if now is None or then is None else {*then} - {*now}


def _reached(value: Tensor, crossings: _Crossings) -> set[Any]:
    """Return the nodes that some path leads to which crosses no such edge."""
    todo, seen = [value.grad_fn], set()
    while todo:
        node: Any = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        todo += [to for at, (to, _) in enumerate(node.next_functions) if (node, at) not in crossings]
    return seen
