"""Follow the signal from operation to operation while a forward runs: what each did, what it returned.

The signal is whatever is computed from the model's input. Torch tells a `TorchFunctionMode` of every function that
Python calls; those with an argument that carries the signal become nodes of a graph. Take ``relu(x @ w.T + b)`` with
x of shape (2, 4) and w of (3, 4), that is ``nn.Linear(4, 3)`` and ``nn.ReLU``:

=============  ============  =======================================================  ========================
called         node          effect, what theory makes of second moments              row of the report
=============  ============  =======================================================  ========================
(the input)    0             measured: E x² = 1/3 for uniform numbers in [0, 1)       none
linear         1, from 0     ProductEffect: E z² = 4 · E w² · E x² + E b²             new: module ``0``, width 3
relu           2, from 1     ActivationEffect: E y² = E z² / 2 if z has mean 0        that one: its activation
=============  ============  =======================================================  ========================

A call goes through these steps: `_arriving` looks up which arguments carry the signal (tensors are known by id, as long
as they live and nobody writes to them); the function runs; `read` says in the words of `operations` what it did; one
method each turns that into a node with an `Effect`, measures the output, and, where the function is a layer of its own,
opens a row. What theory has no word for becomes an opaque node: expectations begin anew there, from what was measured.
Figures that cost more (cosines, ranks) are taken of what a layer passes on, after its activation: so a row stays
`_pending` until the next call tells whether an activation follows.

Everything that looks runs with the mode switched off (`_watching`). An error while looking ends the signal's way there,
and leaves the forward alone.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from paraminspect.analysis.passes.failing_module import reason
from paraminspect.analysis.passes.operands import name_of
from paraminspect.analysis.passes.running_modules import Running
from paraminspect.analysis.signal import figures as measure, operations as ops
from paraminspect.analysis.signal.effects import (
    ActivationEffect,
    DropoutEffect,
    Effect,
    IdentityEffect,
    NormEffect,
    ProductEffect,
    ScaleEffect,
    ShiftEffect,
    SumEffect,
    is_rectifier,
)
from paraminspect.analysis.signal.graph import Graph, Node, Row
from paraminspect.analysis.signal.recognise import ACTIVATIONS, TorchCall, bare_name, read
from paraminspect.analysis.signal.sample_axis import SampleAxis, axis_after, axis_of, taken_along
from paraminspect.analysis.signal.states import Law
from paraminspect.analysis.signal.symmetry import Symmetry
from paraminspect.analysis.signal.weights import Weights, version
from paraminspect.modules.nested_tensors import argument_tensors

_ZERO: Final = Law(0.0, 0.0)
_ONE: Final = Law(1.0, 1.0)
_OPAQUE: Final = Effect()
_CHANNELS_FIRST: Final = ("batch_norm", "instance_norm", "group_norm")
_OUTPUTS: Final = {
    "lstm": ("output", "h_n", "c_n"),
    "lstm_cell": ("h_1", "c_1"),
    **dict.fromkeys(("gru", "rnn_tanh", "rnn_relu"), ("output", "h_n")),
    "multi_head_attention_forward": ("attn_output", "attn_output_weights"),
}
"""What torch's documentation calls the outputs of layers that have several."""
_SHOWS: Final = {"T", "mT", "H", "mH", "data"}  # attributes that hold the elements
_HOOKS: Final = {Tensor.register_hook, Tensor.retain_grad}  # what they do in a backward, they do in every one
_DIFFERENTIABLE: Final = {
    *("__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__", "__truediv__", "__getitem__", "__matmul__"),
    *("add", "sub", "rsub", "mul", "div", "cat", "concat", "stack", "pad", "interpolate", "normalize", "expand"),
    *("chunk", "split", "unbind", "narrow", "select", "repeat", "unfold", "avg_pool2d", "max_pool2d", "matmul", "mean"),
    *("sum", "index_select", "gather", "index_add", "scatter_add"),
}
"""The names of functions without a word in theory whose result is recorded where one of their inputs is."""
_ERRORS: Final = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)

Before = dict[int, Node]
"""The nodes of the arguments of a call that carry the signal, by the id of the tensor."""


class Tracer(TorchFunctionMode):
    """Build the graph of what a forward does to its inputs; measure every tensor as soon as it is there.

    `thorough` also asks for what costs more: cosines, ranks, symmetric units; `histograms` for those of each layer.
    `roots` are where the signal's way begins, for the gradient; `lost` says where it could not be followed any further,
    and why; `reused` are the modules whose weights took part more than once. `samples` is their number in the batch,
    None where nobody knows.

    Where the input requires no gradient, `tells_all` says whether one that does would have been followed alike: its way
    to the first weights is one that a gradient passes, and no layer lies on it. `listens` to the gradients that arrive.
    """

    def __init__(
        self,
        running: Running,
        weights: Weights,
        thorough: bool,
        histograms: bool,
        grad_fns: list[Any] | None = None,
    ) -> None:
        super().__init__()
        self.graph = Graph(uses=weights.uses)
        self.roots: list[GradientEdge] = []
        self.lost: str | None = None
        self.reused: dict[str, None] = {}
        self.samples: int | None = None
        self.tells_all = True
        self.listens = True
        self._recording = True
        self._axis: SampleAxis | None = None  # of the node that is to be added
        self._unrecorded: set[Node] = set()  # of real numbers, on the way from the input to the first weights
        self._running = running
        self._weights = weights
        self._thorough = thorough
        self._histograms = histograms
        self._nodes: dict[int, tuple[weakref.ref[Tensor], Node, int]] = {}
        self._pending: tuple[Node, Row, Tensor, measure.InDouble] | None = None
        self.symmetry = Symmetry()
        self._grad_fns = [] if grad_fns is None else grad_fns  # see Watch.nodes: let go from the last to the first

    def start(self, tensor: Tensor) -> Node:
        """Let a tensor be an input of the model."""
        self.samples = tensor.shape[0] if tensor.dim() > 1 else None
        self._axis = axis_of(tensor, 0, self.samples) if self.samples else None
        node = self._add(_OPAQUE, (), tensor)
        if tensor.is_floating_point():
            if not tensor.requires_grad:
                self._unrecorded.add(node)
            doubles = measure.InDouble(tensor)
            node.measured, node.cosine = measure.figures(tensor, doubles), _cosine(node, tensor, doubles)
            if tensor.requires_grad:
                self.roots.append(get_gradient_edge(tensor))
        return node

    def node_of(self, tensor: Any) -> Node | None:
        """Return the node of a tensor that carries the signal; an opaque one if something wrote to it unseen."""
        found = self._nodes.get(id(tensor))
        if found is None or found[0]() is not tensor or not isinstance(tensor, Tensor):
            return None
        _, node, seen = found
        if seen == version(tensor):
            return node
        self._axis = node.axis
        changed = self._add(_OPAQUE, (node,), tensor)
        if node in self._unrecorded:
            self._unrecorded.add(changed)
        doubles = measure.InDouble(tensor)
        changed.measured, changed.cosine = measure.figures(tensor, doubles), _cosine(changed, tensor, doubles)
        return changed

    def finish(self) -> None:
        """Measure what the forward left to be measured."""
        with self._watching("the output"):
            self._measure_pending()

    def forget(self) -> None:
        """Hold no tensor, and no part of autograd's graph, any longer."""
        nodes = self._grad_fns
        self.let_go()
        while nodes:
            nodes.pop()

    def let_go(self) -> None:
        """Hold no tensor any longer, and listen to no gradient."""
        self._grad_fns = []  # see Watch.let_go
        self._pending = None
        self._nodes.clear()
        self._unrecorded.clear()
        self.roots.clear()
        self.listens = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        before: Before = {}
        recorded = False
        self._recording = torch.is_grad_enabled()
        self.tells_all &= func not in _HOOKS
        with self._watching(func):
            before, recorded = self._arriving(func, (*args, *kwargs.values()))
        output = func(*args, **kwargs)
        with self._watching(func):
            if before:
                self._follow(
                    TorchCall(func, args, kwargs, before.__contains__, self._weights.owns), before, recorded, output
                )
            elif isinstance(output, Tensor):
                self._weights.note_view(func, args, output)
        return output

    @contextlib.contextmanager
    def _watching(self, func: Callable[..., Any] | str) -> Iterator[None]:
        """Look unseen by autograd and by ourselves; at what cannot be looked at, the way of the signal ends."""
        with torch._C.DisableTorchFunction(), torch.no_grad():  # in this order: modes hear of the other too
            try:
                yield
            except _ERRORS as error:
                name = func if isinstance(func, str) else name_of(func)
                self.lost = f"{name} in {self._running.current or 'the model'}: {reason(error)}"
                self._nodes.clear()

    def _arriving(self, func: Callable[..., Any], arguments: Iterable[Any]) -> tuple[Before, bool]:
        """Return what carries the signal among the arguments, and whether autograd has a record of any of it."""
        # Whatever comes after a layer but its activation proves it complete: its dearer figures are taken now, before
        # an operation in place can change them.
        found = {id(tensor): (tensor, node) for tensor in argument_tensors(arguments) if (node := self.node_of(tensor))}
        if found and self._pending and not (bare_name(func) in ACTIVATIONS and id(self._pending[2]) in found):
            self._measure_pending()
        return {key: node for key, (_, node) in found.items()}, any(one.requires_grad for one, _ in found.values())

    def _follow(self, call: TorchCall, before: Before, recorded: bool, output: Any) -> None:
        """Add a node for every tensor of real numbers that an operation on the signal returned."""
        if getattr(call.func, "__name__", "") == "__get__" and name_of(call.func) not in _SHOWS:
            return
        self._settle_samples(call, before)
        outputs = [*argument_tensors([output])]
        names = _OUTPUTS.get(name_of(call.func), ()) if len(outputs) > 1 else ()
        for at, one in enumerate(outputs):
            done = read(call, one) if one is output else None
            if not _is_signal(one, done):
                continue
            self._axis = self._axis_after(call, before, one, at)
            node = self._known(done, before, one) or self._opaque(call, before, one)
            if node.row is not None and at < len(names):
                node.row.output = names[at]
            node.cut = recorded and not one.requires_grad
            if not recorded and not one.requires_grad:
                self.tells_all &= self._passes_gradient(call, node, before, one)
            if one.requires_grad and not recorded:
                self.roots.append(get_gradient_edge(one))  # the gradient goes no further back than here

    def _known(self, done: ops.Operation | None, before: Before, output: Tensor) -> Node | None:
        """Add the node, and the row, of an operation on one part of the signal, or of a sum; None for any other.

        Two parts of the signal may be multiplied with each other, as in attention: theory has no word for that.
        """
        if isinstance(done, ops.Sum):
            return self._sum(done, before, output)
        if done is None or id(done.data) not in before or (len(before) > 1 and not isinstance(done, ops.Same)):
            return None
        source = before[id(done.data)]
        if isinstance(done, ops.Weighted):
            return self._weighted(done, source, output)
        if isinstance(done, ops.Elementwise):
            return self._activation(done, source, output)
        if isinstance(done, ops.Norm):
            return self._norm(done, source, output)
        return self._add(self._effect(done), (source,), output)

    def _passes_gradient(self, call: TorchCall, node: Node, before: Before, output: Tensor) -> bool:
        """Tell whether autograd would have recorded an operation without weights, had its input required a gradient.

        What is computed from whole numbers alone has no gradient whatever the input.
        """
        if self._unrecorded.isdisjoint(before.values()):
            return True
        self._unrecorded.add(node)
        known = not node.opaque or bare_name(call.func) in _DIFFERENTIABLE
        return known and node.row is None and output.is_floating_point() and self._recording

    # --- the samples -------------------------------------------------------------------------------------------

    def _axis_after(self, call: TorchCall, before: Before, output: Tensor, at: int) -> SampleAxis | None:
        known = {key: node.axis for key, node in before.items() if node.axis is not None}
        return axis_after(call, known, output, at, self.samples)

    def _settle_samples(self, call: TorchCall, before: Before) -> None:
        """Believe a recurrent layer or an attention which dimension counts the samples; drop what was thought before.

        An input of (7, 2, 16) is taken for 7 samples at first; nn.LSTM says that they are 2 sequences of length 7.
        """
        taken = taken_along(call)
        if taken is None:
            return
        tensor, dim = taken
        axis = before[id(tensor)].axis
        count = 0 if dim is None else tensor.shape[dim]
        if axis.dim == dim if axis else count == self.samples:
            return
        self.samples = count if count > 1 else None  # one alone is a sequence without a batch
        for node in self.graph.nodes:
            node.axis = node.cosine = None
            if node.row is not None:
                node.row.cosine = node.row.rank = None

    # --- one operation each ------------------------------------------------------------------------------------

    def _effect(self, done: ops.Same | ops.Shift | ops.Scaling | ops.Dropout) -> Effect:
        if isinstance(done, ops.Same):
            return IdentityEffect(done.places, self._axis is not None)
        if isinstance(done, ops.Shift):
            return ShiftEffect(self._weights.law(done.bias, _ZERO))
        if isinstance(done, ops.Dropout):
            return DropoutEffect(done.p)
        by = done.factor
        return ScaleEffect(self._weights.law(by, _ONE) if isinstance(by, Tensor) else Law(by, by * by))

    def _weighted(self, done: ops.Weighted, source: Node, output: Tensor) -> Node:
        """Begin a layer: a product with weights, which is opaque where theory cannot take these for random ones."""
        own, law = self._weights.owner(done.weight), self._weights.law(done.weight, _ZERO)
        random = self._weights.note_use(done.weight, done.rows)
        bias = self._weights.law(done.bias, _ZERO)
        if self._axis and self._axis.dim == done.units:
            self._axis = None  # the samples were added up
        effect = ProductEffect(law, bias, done.connections, self._axis is not None) if random else _OPAQUE
        node = self._add(effect, (source,), output)
        uses = self._weights.uses[id(own)]
        if random and law.mean == 0:
            node.weight, node.fresh = id(own), uses <= 1
        if uses > 1:
            self.reused[self._running.current] = None
        row = self._row(node, output, "weighted", width=done.width, units=done.units)
        row.parameter, row.fan_in, row.grouped = id(own), done.fan_in, done.grouped
        if self._thorough and done.rows is not None:
            self.symmetry.note_layer(node, row, done.rows, done.bias)
        return node

    def _norm(self, done: ops.Norm, source: Node, output: Tensor) -> Node:
        laws = self._weights.law(done.weight, _ONE), self._weights.law(done.bias, _ZERO)
        even = measure.even(done.data, done.size, done.centred, done.eps)
        node = self._add(NormEffect(done.centred, done.size, done.eps, even, *laws), (source,), output)
        row = self._row(node, output, "norm", width=output.shape[-1], units=output.dim() - 1)
        row.parameter = None if done.weight is None else id(self._weights.owner(done.weight))
        return node

    def _sum(self, done: ops.Sum, before: Before, output: Tensor) -> Node:
        """Join two branches, as a residual block does; its units lie where those of the layers before it do."""
        one, other = before[id(done.first)], before[id(done.second)]
        node = self._add(SumEffect(done.factor), (one, other), output)
        base = _base(one).row or _base(other).row
        units = base.units if base and base.units is not None and base.units < output.dim() else output.dim() - 1
        self._row(node, output, "sum", width=output.shape[units] if output.dim() else None, units=units)
        return node

    def _activation(self, done: ops.Elementwise, source: Node, output: Tensor) -> Node:
        """Complete the row of the layer before; give a function that follows no layer, or a second one, its own row."""
        node = self._add(ActivationEffect(done.name, dict(done.params)), (source,), output)
        base = _base(source, through=IdentityEffect)
        row = base.row if base.elements == node.elements else None
        if row is None or row.activation is not None:
            self._measure_pending()
            row = self._row(node, output, "activation", units=output.dim() - 1)
        row.activation, row.activated, node.ends = str(done), node, row
        doubles = measure.InDouble(output)
        row.out = node.measured = measure.figures(output, doubles)
        units = row.units if row.units is not None and row.units < output.dim() else output.dim() - 1
        row.dead = measure.dead_share(output, units) if is_rectifier(done.name, done.params) else None
        row.saturated = measure.saturated_share(output, done.name, done.params)
        if self._histograms:
            row.out_histogram = measure.histogram(output)
        self._pending = node, row, output, doubles
        self._measure_pending()
        return node

    def _opaque(self, call: TorchCall, before: Before, output: Tensor) -> Node:
        """Take what came out as measured: a row if parameters took part, as in batch_norm, else none."""
        node = self._add(_OPAQUE, tuple(dict.fromkeys(before.values())), output)
        doubles = measure.InDouble(output)
        arguments = argument_tensors((*call.args, *call.kwargs.values()))
        if self._weights.note_read(arguments) and output.dim():
            norm = name_of(call.func) in _CHANNELS_FIRST
            units = 1 if norm and output.dim() > 1 else output.dim() - 1
            self._row(node, output, "norm" if norm else "other", width=output.shape[units], units=units)
        else:
            node.measured = measure.figures(output, doubles)
            node.unknown = name_of(call.func), self._running.current
        if node.row is None or not self._thorough:
            node.cosine = _cosine(node, output, doubles)
        return node

    # --- nodes and rows ----------------------------------------------------------------------------------------

    def _add(self, effect: Effect, inputs: tuple[Node, ...], output: Tensor) -> Node:
        """Append a node, and remember by the id of its tensor, weakly, which tensor carries it in which version."""
        node = Node(len(self.graph.nodes), effect, inputs, output.numel(), self._axis)
        for before in inputs:
            before.consumers.append(node)
        self.graph.nodes.append(node)
        self._nodes[id(output)] = weakref.ref(output, partial(self._drop, id(output), node)), node, version(output)
        return node

    def _drop(self, key: int, node: Node, _: Any) -> None:
        """Forget a tensor that is gone, unless another one has its id by now."""
        found = self._nodes.get(key)
        if found is not None and found[1] is node:
            del self._nodes[key]

    def _row(self, node: Node, output: Tensor, kind: str, *, width: int | None = None, units: int) -> Row:
        self._measure_pending()  # another output of the same operation
        frame = self._running.stack[-1] if self._running.stack else None
        name = type(frame.module).__name__ if frame and kind != "sum" else kind
        row = node.row = Row(frame.name if frame else "", name, kind, width=width, units=units)
        row.elements, row.dtype = output.numel(), output.dtype
        doubles = measure.InDouble(output)
        row.pre = row.out = node.measured = measure.figures(output, doubles)
        if self._histograms:
            row.pre_histogram = measure.histogram(output)
        self._pending = node, row, output, doubles
        if output.requires_grad:
            self._await(output, node, row)
        return row

    def _measure_pending(self) -> None:
        """Take the figures that cost more of what the last layer passes on, its activation if it has one."""
        if self._pending is not None and self._thorough:
            node, row, output, doubles = self._pending
            row.cosine = node.cosine = _cosine(node, output, doubles)
            row.rank = _rank(node, output, doubles)
        self._pending = None

    def _await(self, output: Tensor, node: Node, row: Row) -> None:
        """Arrange to measure the gradient that arrives at what a layer returned."""

        def note(grad: Tensor | None) -> None:
            if grad is not None and self.listens:
                with torch._C.DisableTorchFunction(), torch.no_grad():
                    row.grad = measure.second_moment(grad)
                    self.symmetry.note_gradient(node, row, grad)

        output.register_hook(note)  # type: ignore[no-untyped-call]  # torch's
        self._grad_fns.append(output.grad_fn)


def _cosine(node: Node, output: Tensor, doubles: measure.InDouble) -> float | None:
    """Return the mean cosine between the samples, where it is known which they are."""
    if node.axis is None:
        return None
    first = node.axis.first(output)
    return measure.cosine(first, doubles if first is output else None)


def _rank(node: Node, output: Tensor, doubles: measure.InDouble) -> float | None:
    """Return the effective rank of the samples, where it is known which they are."""
    if node.axis is None:
        return None
    first = node.axis.first(output)
    return measure.effective_rank(first, doubles if first is output else None)


def _base(node: Node, through: type[Effect] | None = None) -> Node:
    """Return where a chain of operations on one tensor began: at a layer, an input, or what theory has no word for."""
    while node.row is None and len(node.inputs) == 1 and not node.opaque:
        if through is not None and type(node.effect) is not through:
            break
        node = node.inputs[0]
    return node


def _is_signal(tensor: Tensor, done: ops.Operation | None) -> bool:
    """Tell whether the signal goes on in a tensor: in real numbers, or in whole ones that only change their shape."""
    whole = isinstance(done, ops.Same) and not tensor.is_complex()
    return (tensor.is_floating_point() or whole) and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
