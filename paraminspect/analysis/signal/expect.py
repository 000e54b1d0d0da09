"""Walk the graph of a forward with theory: second moments from the inputs on, gradients from the outputs back.

Where theory does not reach, what was measured stands in, and it goes on from there.
"""

from __future__ import annotations

from paraminspect.analysis.signal.effects import Added
from paraminspect.analysis.signal.nodes import Graph, Node
from paraminspect.analysis.signal.states import Field, State


def add_expectations(graph: Graph) -> None:
    """Set `state` and `gradient` of every node; `anchored` where the state is what was measured."""
    for node in graph.nodes:
        _forward(node)
    back = _Back(graph)
    for node in reversed(graph.towards(graph.outputs)):
        back.visit(node)


def _forward(node: Node) -> None:
    known = tuple(before.state for before in node.inputs if before.state is not None)
    if node.inputs and len(known) == len(node.inputs) and _independent(node):
        node.state = node.effect.forward(known)
    if node.state is None and node.measured.second is not None and not node.measured.nonfinite:
        q = node.measured.second
        k = None if node.cosine is None else node.cosine * q
        node.state, node.anchored = State(q, node.measured.mean or 0.0, k), True


def _independent(node: Node) -> bool:
    """Tell whether the two parts of a sum are: one of them ends in random weights that the other never met."""
    if not isinstance(node.effect, Added):
        return True
    if len(node.inputs) != 2:
        return False
    one, other = map(_beginning, node.inputs)
    later, earlier = (one, other) if one.index > other.index else (other, one)
    return later is not earlier and later.weight is not None and later.fresh


def _beginning(node: Node) -> Node:
    """Return where the chain of operations on one tensor that ends here began."""
    while node.weight is None and not node.opaque and len(node.inputs) == 1:
        node = node.inputs[0]
    return node


class _Back:
    """Add up what comes back to a node from everything that took it; what was measured stands in for what is not known.

    `_mixed` are the nodes from which the gradient comes back through random weights that it met nowhere else, and by no
    other way: it has nothing in common with what comes back elsewhere, and their squares add up.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._inside: set[Node] = set()
        self._mixed: set[Node] = set()

    def visit(self, node: Node) -> None:
        """Set the gradient of a node all of whose consumers were visited."""
        self._inside.add(node)
        consumers = [one for one in dict.fromkeys(node.consumers) if one in self._inside]
        if self._mixes(node, consumers):
            self._mixed.add(node)
        parts: list[Field | None] = [_share(node, consumer) for consumer in consumers]
        if sum(one not in self._mixed for one in consumers) > 1:
            parts = [None]
        if node in self._graph.cotangents:
            parts.append(self._graph.cotangents[node])
        node.gradient = _total(parts)
        if node.gradient is None and node.row is not None and node.row.grad.second is not None:
            node.gradient, node.row.gradient_anchored = node.row.grad.second, True

    def _mixes(self, node: Node, consumers: list[Node]) -> bool:
        if len(node.inputs) != 1:
            return False
        if node.weight is not None:
            return self._graph.uses.get(node.weight, 1) == 1
        return node not in self._graph.cotangents and bool(consumers) and self._mixed.issuperset(consumers)


def _share(node: Node, consumer: Node) -> Field | None:
    """Return what comes back to a node from one that took it, once."""
    if consumer.gradient is None or consumer.cut or consumer.inputs.count(node) > 1:
        return None
    states = tuple(before.state for before in consumer.inputs)
    return consumer.effect.backward(consumer.gradient, states)[consumer.inputs.index(node)]


def _total(parts: list[Field | None]) -> Field | None:
    if not parts:
        return None
    total: Field = 0.0
    for part in parts:
        if part is None:
            return None
        total = total + part
    return total
