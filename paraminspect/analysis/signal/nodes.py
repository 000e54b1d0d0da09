"""The operations that a forward ran on the signal, in order: a graph of small records, which holds no tensor."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import torch

from paraminspect.analysis.signal.effects import Effect, Normalised
from paraminspect.analysis.signal.figures import UNKNOWN, Figures
from paraminspect.analysis.signal.states import Field, State, mean_of
from paraminspect.report import SignalHistogram


@dataclass(eq=False)
class Row:
    """One layer as it will be shown: what an operation returned, and what its activation made of that.

    `kind` is ``weighted``, ``sum``, ``norm``, ``activation`` or ``other``; `parameter` the id of its weight.
    `gradient_anchored` says that the gradient expected is the one that was measured.
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


@dataclass(eq=False)
class Node:
    """One operation, or an input of the model: `inputs` come before it in order of execution.

    `row` is the layer that starts here, `ends` the one whose activation this is. `weight` is the id of the weights it
    multiplies by, if theory takes them for random ones of mean 0; `fresh` says that these took no part before. `cut`
    says that autograd did not record it. `state` and `gradient` are what is expected; where theory does not reach,
    `measured` and the `cosine` between samples stand in: then it is `anchored`. `unknown` names an operation without
    weights that theory has no word for.
    """

    index: int
    effect: Effect
    inputs: tuple[Node, ...] = field(repr=False)
    elements: int
    measured: Figures = UNKNOWN
    cosine: float | None = None
    row: Row | None = None
    ends: Row | None = field(default=None, repr=False)
    weight: int | None = None
    fresh: bool = False
    cut: bool = False
    state: State | None = None
    anchored: bool = False
    unknown: str = ""
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
        while node is not None and not node.opaque and not isinstance(node.effect, Normalised):
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
