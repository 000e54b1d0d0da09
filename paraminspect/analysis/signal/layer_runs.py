"""The layers of a model, each with the nodes that ran it in every seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from paraminspect.analysis.signal.effects import ProductEffect
from paraminspect.analysis.signal.figures import Figures
from paraminspect.analysis.signal.graph import Node, Row
from paraminspect.analysis.signal.trace import Trace
from paraminspect.frozen import dataclass

_COUNTED = ("weighted", "sum")


@dataclass(frozen=True)
class LayerRuns:
    """One layer in every seed; `depth` where it is on the spine. `asked` are the seeds that theory was asked about."""

    nodes: tuple[Node, ...]
    depth: int | None
    asked: tuple[bool, ...]

    @property
    def first(self) -> Row:
        """Return the row of the first seed."""
        return _row(self.nodes[0])

    @property
    def rows(self) -> tuple[Row, ...]:
        """Return the row of each seed."""
        return tuple(map(_row, self.nodes))

    @property
    def width(self) -> int | None:
        """Return the number of units."""
        return self.first.width or None

    @property
    def reads_out(self) -> bool:
        """Tell whether this only multiplies by weights."""
        return self.first.kind == "weighted" and self.first.activation is None

    @property
    def silent(self) -> bool:
        """Tell whether this is a readout of zeros, through which no gradient comes back."""
        effect = self.nodes[0].effect
        return self.reads_out and isinstance(effect, ProductEffect) and effect.weight.second == 0

    @property
    def is_dense(self) -> bool:
        """Tell whether this multiplies by one matrix, with no place of a kernel that padding leaves out."""
        effect = self.nodes[0].effect
        return isinstance(effect, ProductEffect) and not effect.connections.taps

    def seconds(self, pick: Callable[[Row], Figures]) -> list[float | None]:
        """Return a second moment of each seed, None also where elements are not finite."""
        return [None if pick(row).nonfinite else pick(row).second for row in self.rows]

    def forward(self) -> list[float | None]:
        """Return the second moment of what the layer returned, before an activation."""
        return self.seconds(lambda row: row.pre)

    def backward(self) -> list[float | None]:
        """Return the squared norm of the gradient: it changes by χ per layer, whatever the widths."""
        grads = self.seconds(lambda row: row.grad)
        return [None if g is None else g * row.elements for g, row in zip(grads, self.rows, strict=True)]

    def expected(self, figure: Callable[[Node], float | None]) -> float | None:
        """Return a figure that theory gives, as the mean over the seeds that it was asked for."""
        return mean([figure(node) for node, asked in zip(self.nodes, self.asked, strict=True) if asked])

    def expected_norm(self) -> float | None:
        """Return the squared norm of the gradient that theory gives."""
        found = self.expected(lambda node: node.expected_gradient)
        return None if found is None else found * self.first.elements

    def active(self) -> list[Node]:
        """Return the nodes of the activation in the seeds that theory was asked for."""
        pairs = zip(self.rows, self.asked, strict=True)
        return [row.activated for row, asked in pairs if asked and row.activated is not None]


def _row(node: Node) -> Row:
    assert node.row is not None
    return node.row


def layers_of(traces: Sequence[Trace]) -> list[LayerRuns]:
    """Line the rows of all seeds up, and number the places at which the signal is judged."""
    spine = _places(traces[0].graph.spine())
    asked = tuple(trace.expected for trace in traces)
    columns = zip(*([node for node in trace.graph.nodes if node.row is not None] for trace in traces), strict=True)
    found, depth = [], 0
    for nodes in columns:
        depth += nodes[0] in spine
        found.append(LayerRuns(nodes, depth if nodes[0] in spine else None, asked))
    return found


def _places(spine: Sequence[Node]) -> set[Node]:
    """Return one place for every weight and every sum that all paths run through: what it hands on to the next.

    That is what it returned, or the norm behind a weight, since a convolution in front of its BatchNorm may have any
    scale. Of conv, BatchNorm, ReLU, conv, BatchNorm, ReLU, Linear these are the two BatchNorms and the Linear.
    """
    places: list[Node] = []
    for node in spine:
        if node.row is None:
            continue
        if node.row.kind in _COUNTED:
            places.append(node)
        elif node.row.kind == "norm" and places and _row(places[-1]).kind != "sum":
            places[-1] = node
    return {*places}


def without_readout(spine: Sequence[LayerRuns]) -> list[LayerRuns]:
    """Leave the last layer out if it only reads the result: its scale is often meant to be another one."""
    return [*spine[:-1]] if len(spine) > 2 and spine[-1].reads_out else [*spine]


def widths_of(layers: Sequence[LayerRuns]) -> list[int]:
    """Return the widths that are known."""
    return [layer.width for layer in layers if layer.width]


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean, None where a value is missing or there is none."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None


def ratio(start: Sequence[float | None], end: Sequence[float | None]) -> float | None:
    """Return the geometric mean over the seeds of one figure over another, None where one is 0 or missing."""
    logs = [math.log(other) - math.log(one) for one, other in zip(start, end, strict=True) if one and other]
    return math.exp(math.fsum(logs) / len(logs)) if logs and len(logs) == len(start) else None
