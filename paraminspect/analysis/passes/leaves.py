"""Leaves that a backward would write to though they belong to nobody who asked: inputs, tensors of other modules."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor


@contextlib.contextmanager
def spared(loss: Tensor, own: set[int]) -> Iterator[None]:
    """Give every leaf that `loss` depends on its `.grad` back, save for those whose id is in `own`."""
    others = [leaf for leaf in leaves_of(loss) if id(leaf) not in own]
    before = [leaf.grad for leaf in others]
    for leaf in others:
        leaf.grad = None
    try:
        yield
    finally:
        for leaf, grad in zip(others, before, strict=True):
            leaf.grad = grad


def leaves_of(loss: Tensor) -> list[Tensor]:
    """Return the leaves that a backward from `loss` accumulates gradients in, each once."""
    if loss.grad_fn is None:
        return [loss] if loss.requires_grad else []
    found: dict[int, Tensor] = {}
    todo: list[Any] = [loss.grad_fn]
    seen = {loss.grad_fn}
    while todo:
        node = todo.pop()
        leaf = getattr(node, "variable", None)
        if isinstance(leaf, Tensor):
            found[id(leaf)] = leaf
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                todo.append(following)
    return list(found.values())
