"""How far a gradient other than 0 gets in autograd's graph, told without running back through all of it.

A node is run on its own, with random numbers for the gradient that arrives: where it returns 0, none gets through. What
takes most of the time of a backward is not run at all: a product of random numbers is 0 only where a factor is, and
what moves numbers to other places or adds them up always returns some.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence, Set
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import checkpoint

from paraminspect.analysis.passes.rounding import DRAWN, repeated

LEAF = "torch::autograd::AccumulateGrad"
_OWN = torch.autograd.function.BackwardCFunction  # of the user's: it must not run on its own
# What the gradient of each input of a product is multiplied by, as the node has saved it.
_FACTORS: dict[str, tuple[str | None, ...]] = {
    "ConvolutionBackward0": ("weight", "input", None),
    "AddmmBackward0": (None, "mat2", "mat1"),
    "MmBackward0": ("mat2", "self"),
    "BmmBackward0": ("mat2", "self"),
}
_MOVES = ("T", "Transpose", "Permute", "View", "UnsafeView", "ReshapeAlias", "Alias", "Clone", "ToCopy", "Neg")
_LAYS_OUT = ("Unsqueeze", "Squeeze", "Expand", "Cat", "Stack", "Split", "SplitWithSizes", "Unbind", "Select", "Slice")
_ADDS = ("Add", "Sub", "Sum", "Mean")
_ALWAYS = {f"{name}Backward{overload}" for name in (*_MOVES, *_LAYS_OUT, *_ADDS) for overload in (0, 1)}


class Reach(NamedTuple):
    """The ids of the leaves that a gradient gets to, and the nodes of which that is not known."""

    leaves: set[int]
    undecided: list[Any]


def reach(edges: Iterable[tuple[Any, int]], outside: Set[Any]) -> Reach:
    """Follow a gradient from some edges, each a node and the place that it arrives at; not to what is `outside`."""
    todo, seen = [*edges], set()
    found = Reach(set(), [])
    while todo:
        node, place = todo.pop()
        if node is None or node in outside or (node, place) in seen:
            continue
        seen.add((node, place))
        if node.name() == LEAF:
            found.leaves.add(id(node.variable))
            continue
        passing = passed_on(node, place)
        if passing is None:
            found.undecided.append(node)
        else:
            todo += [node.next_functions[at] for at in passing]
    return found


def passed_on(node: Any, place: int | None = None) -> list[int] | None:
    """Return the inputs of a node that get something other than 0; None where the node cannot be run on its own.

    A gradient arrives at one place of it, at all of them where none is named.
    """
    name, following = node.name(), node.next_functions
    if name in _ALWAYS:
        return [*range(len(following))]
    if isinstance(node, _OWN) or _computes_anew(node):
        return None
    if name in _FACTORS:
        factors = enumerate(_FACTORS[name])
        return [at for at, one in factors if following[at][0] is not None and (one is None or _saved(node, one))]
    given = [_random(one) if place in (None, at) else None for at, one in enumerate(node._input_metadata)]
    try:
        returned = node(*given)
    except RuntimeError:  # it has to have a gradient at every place
        return None
    every: Sequence[Tensor | None] = returned if isinstance(returned, tuple) else (returned,)
    return [at for at, one in enumerate(every) if one is not None and _has_some(one)]


def saved_by(node: Any) -> Iterator[tuple[Any, str, int | None]]:
    """Yield what a node has saved: autograd's own object for each, the attribute that has the tensor, its place."""
    for name in saved_names(node):
        # A Function of the user's has `_raw_saved_tensors` and `saved_tensors`, a node of torch's a pair for each.
        shown = "saved_tensors" if isinstance(node, _OWN) else name.removeprefix("_raw")
        raw = getattr(node, name)
        if isinstance(raw, tuple | list):
            yield from ((one, shown, at) for at, one in enumerate(raw))
        elif raw is not None:
            yield raw, shown, None


_names_by_type: dict[type, tuple[str, ...]] = {}


def saved_names(node: Any) -> tuple[str, ...]:
    """Return the attributes of a node that have what it saved; all nodes of an operation have the same."""
    kind = type(node)
    if kind not in _names_by_type:
        _names_by_type[kind] = tuple(name for name in dir(kind) if name.startswith("_raw_saved_"))
    return _names_by_type[kind]


def _computes_anew(node: Any) -> bool:
    """Tell whether a checkpoint would run its part of the forward again for what a node has saved."""
    hooks = (getattr(raw, "unpack_hook", None) for raw, _, _ in saved_by(node))
    return any(getattr(hook, "__module__", "") == checkpoint.__name__ for hook in hooks)


def _saved(node: Any, name: str) -> bool:
    return _has_some(getattr(node, f"_saved_{name}"))


def _has_some(tensor: Tensor) -> bool:
    """Tell whether any element is not 0: of most tensors the first one tells it."""
    first = tensor[(0,) * tensor.dim()] if tensor.numel() else tensor
    return bool(first.any()) or bool(tensor.any())


def _random(like: Any) -> Tensor:
    count = math.prod(like.shape)
    return repeated(_numbers()[:count].to(like.device, like.dtype), like.shape)


@cache
def _numbers() -> Tensor:
    return torch.randn(DRAWN, generator=torch.Generator().manual_seed(0))
