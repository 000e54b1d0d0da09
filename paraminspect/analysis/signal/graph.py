"""The operations that a forward ran on the signal, in order, and what theory expects along them."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass, field

import torch

from paraminspect.analysis.signal.effects import NO_ANSWER, Effect, NormEffect, SumEffect
from paraminspect.analysis.signal.figures import UNKNOWN, Figures
from paraminspect.analysis.signal.sample_axis import SampleAxis
from paraminspect.analysis.signal.states import Field, State, mean_of
from paraminspect.report import SignalHistogram


@dataclass(eq=False)
class Row:
    """One layer as it will be shown: what an operation returned, and what its activation made of that.

    `kind` is ``weighted``, ``sum``, ``norm``, ``activation`` or ``other``; `parameter` the id of its weight.
    `gradient_anchored` says that the gradient expected is the one that was measured. `output` is what torch calls this
    one of several outputs, ``h_n``.
    """

    module: str
    type: str
    kind: str
    parameter: int | None = None
    fan_in: int | None = None
    width: int | None = None
    units: int | None = None
    grouped: bool = False
    dtype: torch.dtype = torch.float32
    pre: Figures = UNKNOWN
    out: Figures = UNKNOWN
    grad: Figures = UNKNOWN
    elements: int = 0
    activation: str | None = None
    activated: Node | None = field(default=None, repr=False)
    gradient_anchored: bool = False
    dead: float | None = None
    saturated: float | None = None
    symmetric: int | None = None
    cosine: float | None = None
    rank: float | None = None
    pre_histogram: SignalHistogram | None = None
    out_histogram: SignalHistogram | None = None
    output: str | None = None


@dataclass(eq=False)
class Node:
    """One operation, or an input of the model: `inputs` come before it in order of execution.

    `axis` says where the samples lie in what it returned, None where nobody knows.

    `row` is the layer that starts here, `ends` the one whose activation this is. `weight` is the id of the weights it
    multiplies by, if theory takes them for random ones of mean 0; `fresh` says that these took no part before. `cut`
    says that autograd did not record it. `state` and `gradient` are what is expected; where theory does not reach,
    `measured` and the `cosine` between samples stand in: then it is `anchored`. `unknown` names an operation without
    weights that theory has no word for, and the module that ran it.
    """

    index: int
    effect: Effect
    inputs: tuple[Node, ...] = field(repr=False)
    elements: int
    axis: SampleAxis | None = field(default=None, repr=False)
    measured: Figures = UNKNOWN
    cosine: float | None = None
    row: Row | None = None
    ends: Row | None = field(default=None, repr=False)
    weight: int | None = None
    fresh: bool = False
    cut: bool = False
    state: State | None = None
    anchored: bool = False
    unknown: tuple[str, str] | None = None
    gradient: Field | None = None
    consumers: list[Node] = field(default_factory=list, repr=False)

    @property
    def opaque(self) -> bool:
        """Tell whether theory has no word for the operation."""
        return type(self.effect) is Effect

    @property
    def expected(self) -> State | None:
        """Return what theory gives, over all places; None where it does not reach."""
        return None if self.anchored or self.state is None else self.state.pooled()

    @property
    def expected_q(self) -> float | None:
        """Return the second moment that theory gives."""
        return None if self.expected is None else mean_of(self.expected.q)

    @property
    def expected_mean(self) -> float | None:
        """Return the mean that theory gives."""
        return None if self.expected is None else mean_of(self.expected.m)

    @property
    def expected_cosine(self) -> float | None:
        """Return the cosine between two samples that theory gives."""
        found = self.expected
        if found is None or found.k is None or mean_of(found.q) == 0:
            return None
        return mean_of(found.k) / mean_of(found.q)

    @property
    def expected_gradient(self) -> float | None:
        """Return the second moment of the gradient, per element, that theory gives."""
        if self.gradient is None or (self.row is not None and self.row.gradient_anchored):
            return None
        return mean_of(self.gradient)


@dataclass(eq=False)
class Graph:
    """All nodes in order of execution; `outputs` are what the model returned, the first one the main one.

    `cotangents` are the second moments of what the backward starts with. `uses` counts by the id of a weight the
    operations that multiplied by it.
    """

    nodes: list[Node] = field(default_factory=list)
    outputs: list[Node] = field(default_factory=list)
    cotangents: dict[Node, float] = field(default_factory=dict)
    uses: dict[int, int] = field(default_factory=dict)

    def towards(self, outputs: Collection[Node]) -> list[Node]:
        """Return the nodes that lie on a path from an input of the model to these outputs, in order."""
        wanted: set[Node] = set()
        todo = [*outputs]
        while todo:
            node = todo.pop()
            if node not in wanted:
                wanted.add(node)
                todo += node.inputs
        return [node for node in self.nodes if node in wanted]

    def ends_in_weights(self) -> bool:
        """Tell whether the main output is what weights returned, and the gradient of any loss a random one before them.

        A norm after them takes the sum of its output out of every gradient.
        """
        node = self.outputs[0] if self.outputs else None
        while node is not None and not node.opaque and not isinstance(node.effect, NormEffect):
            if node.weight is not None:
                return True
            node = node.inputs[0] if len(node.inputs) == 1 else None
        return False

    def spine(self) -> list[Node]:
        """Return the nodes that every path from input to main output runs through, in order.

        A node is one of them when no edge of the graph leads from before it to after it.
        """
        inside = self.towards(self.outputs[:1])
        last = {before: at for at, node in enumerate(inside) for before in node.inputs}
        found, open_until = [], -1
        for at, node in enumerate(inside):
            if open_until <= at:
                found.append(node)
            open_until = max(open_until, last.get(node, at))
        return found


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
        with contextlib.suppress(*NO_ANSWER):
            node.state = node.effect.forward(known)
    if node.state is None and node.measured.second is not None and not node.measured.nonfinite:
        q = node.measured.second
        k = None if node.cosine is None else node.cosine * q
        node.state, node.anchored = State(q, node.measured.mean or 0.0, k), True


def _independent(node: Node) -> bool:
    """Tell whether the two parts of a sum are: one of them ends in random weights that the other never met."""
    if not isinstance(node.effect, SumEffect):
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
    with contextlib.suppress(*NO_ANSWER):
        return consumer.effect.backward(consumer.gradient, states)[consumer.inputs.index(node)]
    return None


def _total(parts: list[Field | None]) -> Field | None:
    if not parts:
        return None
    total: Field = 0.0
    for part in parts:
        if part is None:
            return None
        total = total + part
    return total
