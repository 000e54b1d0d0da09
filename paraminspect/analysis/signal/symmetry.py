"""Units that will learn the same: those with the same weights that get the same gradient.

Weights alone do not tell. The zeros of a branch that starts at nothing (ReZero, Fixup, LoRA's B) are the same in every
unit, but the next layer sends each another gradient; so do random weights behind a constant layer.
"""

from __future__ import annotations

from torch import Tensor

from paraminspect.analysis.signal.figures import equal_units, symmetric_units
from paraminspect.analysis.signal.graph import Node, Row


class Symmetry:
    """Note the layers with units that are alike, and what gradient comes back to these."""

    def __init__(self) -> None:
        self._alike: dict[int, Tensor] = {}
        self._uniform: set[int] = set()
        self._without_gradient: list[tuple[Node, Row, int]] = []

    def note_layer(self, node: Node, row: Row, weights: Tensor, bias: Tensor | None) -> None:
        """Note which units of a layer are alike; the `weights` of the units are the first dimension."""
        if self._alike and not weights.is_meta and weights.dim() > 1 and bool((weights == weights[:, :1]).all()):
            self._uniform.add(id(node))
        numbers = equal_units(weights, bias)
        if numbers is not None:
            self._alike[id(row)] = numbers
        elif not weights.is_meta:
            row.symmetric = 0

    def note_gradient(self, node: Node, row: Row, grad: Tensor) -> None:
        """Count the units whose gradient is the same too."""
        numbers = self._alike.get(id(row))
        if numbers is None or row.units is None or grad.shape[row.units] != numbers.numel():
            return
        row.symmetric = symmetric_units(numbers, grad, row.units)
        if not bool(grad.any()):
            self._without_gradient.append((node, row, row.symmetric))

    def settle(self) -> None:
        """Count units without a gradient only where the next layer does not tell them apart either, once it learns."""
        for node, row, count in self._without_gradient:
            following = _next_layers(node)
            alike = bool(following) and all(id(one) in self._uniform for one in following)
            row.symmetric = count if alike else 0
        self._without_gradient.clear()
        self._alike.clear()


def _next_layers(node: Node) -> list[Node]:
    """Return the first layers with weights that read what a node returned."""
    found: list[Node] = []
    todo, seen = [*node.consumers], set()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if one.row is not None and one.row.kind == "weighted":
            found.append(one)
        else:
            todo += one.consumers
    return found
