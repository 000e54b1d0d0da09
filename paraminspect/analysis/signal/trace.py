"""Run a module and follow its signal: forward from the input, and a random cotangent back through it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import torch
from torch import Tensor, nn

from paraminspect.analysis.passes.failing_module import explain
from paraminspect.analysis.passes.forward_backward import grads_put_aside
from paraminspect.analysis.passes.losses import compute_loss
from paraminspect.analysis.passes.running_modules import Frame, Running
from paraminspect.analysis.signal.effects import ActivationEffect
from paraminspect.analysis.signal.graph import Graph, Node, Row, add_expectations
from paraminspect.analysis.signal.tracer import Tracer
from paraminspect.analysis.signal.weights import Distribution, Weights
from paraminspect.isolation.torch_state import eager, recording, room
from paraminspect.modules.nested_tensors import leaves_of, tensors_in
from paraminspect.modules.subject import Batch, Given, Loss
from paraminspect.modules.walk import Walk, join, registered, walk
from paraminspect.report import ForwardError

COTANGENT: Final = Loss("random")
NOT_REACHED: Final = "the signal could not be followed to the output"
_BATCHES: Final = 20  # of which a running mean keeps nine tenths, at the momentum of torch
_ENOUGH: Final = 16  # values a channel, below which the statistics of a batch are noise
_ALIKE: Final = 1 - 1e-12  # of the mean cosine between samples


@dataclass
class Trace:
    """What one run left: the graph of operations with their figures, the names of the weights, what went wrong.

    `calls` has one entry for every call of a childless module, in order: its path, and the node of what it returned.
    `loss` is the subject's own, on the same output. `doubt` says why no verdict should be built on this run. `guessed`
    says that theory took the moments that some weights have, no scheme being known; `reused` are the modules whose
    weights took part more than once.
    """

    graph: Graph = field(default_factory=Graph)
    names: dict[int, str] = field(default_factory=dict)
    calls: list[tuple[str, Node | None]] = field(default_factory=list)
    samples: int | None = None
    input_second: float | None = None
    loss: float | None = None
    error: ForwardError | None = None
    doubt: str = ""
    expected: bool = False
    guessed: bool = False
    reused: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)


class _Calls(Running):
    """Note also which node each call of a childless module returned."""

    def __init__(self, modules: Walk) -> None:
        super().__init__(modules)
        self.childless = {id(child) for _, child in modules.once() if not registered(child, "_modules")}
        self.found: list[tuple[str, Node | None]] = []
        self.node_of: Callable[[Tensor], Node | None] = lambda _: None

    def returned(self, running: Frame, output: object) -> None:
        """Note the node of the first tensor that carries the signal."""
        if id(running.module) in self.childless:
            self.found.append((running.name, first_node(output, self.node_of)))


def first_node(output: object, node_of: Callable[[Tensor], Node | None]) -> Node | None:
    """Return the node of the first tensor of an output that carries the signal."""
    with torch._C.DisableTorchFunction(), torch.no_grad():
        return next((node for node in map(node_of, tensors_in(output)) if node is not None), None)


@recording()
def follow(
    module: nn.Module,
    batch: Batch,
    loss: Loss | None,
    drawn: Mapping[int, Distribution],
    *,
    thorough: bool = True,
    histograms: bool = False,
    expect: bool = True,
    contain: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> Trace:
    """Run `module` on `batch`, then a random cotangent of norm 1 back through it.

    The cotangent is drawn from torch's global generator after the forward. `drawn` holds what each parameter was drawn
    from, by its id. No ``.grad`` is written, no hook stays. What raises is `Trace.error`, save KeyboardInterrupt.
    """
    modules = walk(module)
    named = named_parameters(modules)
    weights = Weights((parameter for _, parameter in named), drawn)
    running = _Calls(modules)
    tracer = Tracer(running, weights, thorough, histograms)
    running.node_of = tracer.node_of
    trace = Trace(tracer.graph, names_by_id(named), running.found)
    phase = "forward"
    try:
        batch = _start(batch, tracer, trace)
        with eager(), room(), running.active(), contain(), tracer:
            output = module(*batch.args, **batch.kwargs)
        tracer.finish()
        trace.doubt = doubt_of_norms(module, modules, trace.graph, tracer.samples)
        phase = "loss"
        if loss is not None:
            with torch.no_grad(), contain():
                trace.loss = _number(compute_loss(loss, output))
        phase = "backward"
        with room(), contain():
            _send_back(output, tracer, [parameter for _, parameter in named], trace)
        tracer.symmetry.settle()
        del output
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the user's code may exit
        trace.error = explain(error, running.blamed(error), phase)
    finally:
        running.forget()
        running.node_of = lambda _: None
        tracer.forget()
        weights.forget()
    if tracer.lost is not None:
        trace.notes.append(lost_note(tracer.lost))
    note_samples(tracer, trace)
    trace.guessed, trace.reused = weights.guessed, tuple(tracer.reused)
    if expect:
        add_expectations(trace.graph)
        trace.expected = True
    return trace


def keep_inside(trace: Trace, relative: Callable[[str], str | None]) -> None:
    """Keep the rows of one module, by their names as `relative` has them: None for a path that lies outside.

    Depth is counted along the way to the last of these rows, as if the module were all of the model. Expectations stay
    those of the whole.
    """
    nodes = trace.graph.nodes
    for node in nodes:
        node.row = _renamed(node.row, relative)
        path = relative(node.unknown[1]) if node.unknown else None
        node.unknown = (node.unknown[0], path) if node.unknown and path is not None else None
    trace.graph.outputs = [node for node in nodes if node.row is not None][-1:]
    trace.names = {key: name if (path := relative(name)) is None else path for key, name in trace.names.items()}
    trace.reused = tuple(path for name in trace.reused if (path := relative(name)) is not None)


def _renamed(row: Row | None, relative: Callable[[str], str | None]) -> Row | None:
    path = None if row is None else relative(row.module)
    if row is not None and path is not None:
        row.module = path
        return row
    return None


def lost_note(lost: str) -> str:
    """Say where the way of a signal ended."""
    return f"the signal could not be followed past {lost}"


def named_parameters(modules: Walk) -> list[tuple[str, Tensor]]:
    """Return every name of every parameter."""
    return [(join(path, name), p) for path, m in modules.once() for name, p in registered(m, "_parameters")]


def names_by_id(named: list[tuple[str, Tensor]]) -> dict[int, str]:
    """Return the first name of each parameter, by its id."""
    return {id(parameter): name for name, parameter in reversed(named)}


def _start(batch: Batch, tracer: Tracer, trace: Trace) -> Batch:
    """Let the first tensor with numbers be the signal: a copy that wants a gradient, and that may be written to."""
    for at, one in enumerate(batch.given):
        value = one.value
        if not isinstance(value, Tensor) or value.dtype is torch.bool:
            continue
        if value.is_floating_point():
            value = value.detach().clone().requires_grad_().clone()
        note_input(value, tracer, trace)
        return replace(batch, given=(*batch.given[:at], Given(value, one.name, one.sample), *batch.given[at + 1 :]))
    trace.notes.append("the input holds no tensor of numbers: there is no signal to follow")
    return batch


def note_input(value: Tensor, tracer: Tracer, trace: Trace) -> None:
    """Let a tensor be where the signal starts."""
    node = tracer.start(value)
    trace.input_second = node.measured.second


def note_samples(tracer: Tracer, trace: Trace) -> None:
    """Note how many samples there are, and what is wrong with the input: a layer may have told what they are."""
    trace.samples = tracer.samples
    trace.notes[:0] = [note for node in trace.graph.nodes[:1] for note in _doubts(node)]


def _doubts(start: Node) -> Iterator[str]:
    """Say what is wrong with an input for this purpose."""
    if start.measured.nonfinite:
        yield f"the input holds {start.measured.nonfinite:,} elements that are NaN or infinite"
    elif start.measured.second == 0:
        yield "the input is 0 everywhere"
    elif start.cosine is not None and start.cosine > _ALIKE:
        yield "all samples of the input are the same, up to a factor"


def doubt_of_norms(module: nn.Module, modules: Walk, graph: Graph, samples: int | None) -> str:
    """Say why the BatchNorms of a run make it unlike any step of training; nothing where they do not.

    A model in eval mode whose BatchNorms have seen few batches normalises little, and the statistics of a few numbers
    are no statistics: of two they leave ±1.
    """
    norms = {path: one for path, one in modules.once() if isinstance(one, nn.modules.batchnorm._BatchNorm)}
    if not module.training and any(map(_has_seen_little, norms.values())):
        return (
            "BatchNorm in eval mode has seen next to no batch, so it normalises little: judge the model in train mode"
        )
    live = {path for path, norm in norms.items() if norm.training or norm.running_mean is None}
    rows = [node.row for node in graph.nodes if node.row is not None and node.row.module in live and node.row.width]
    counts = {row.module: row.elements // row.width for row in rows if row.width and row.kind == "norm"}
    name = min(counts, key=lambda one: counts[one], default=None)
    if name is None or counts[name] >= _ENOUGH:
        return ""
    enough = f"a batch of {math.ceil(samples * _ENOUGH / counts[name]):,}" if samples else "a larger batch"
    few = f"the statistics of {name} are those of {counts[name]:,} values a channel"
    return f"{few}, fewer than {_ENOUGH}: pass {enough} with --input"


def _has_seen_little(norm: nn.Module) -> bool:
    batches = getattr(norm, "num_batches_tracked", None)
    return not norm.training and isinstance(batches, Tensor) and not batches.is_meta and int(batches) < _BATCHES


def _number(value: Tensor) -> float | None:
    return None if value.is_meta else float(value.detach().item())


def _send_back(output: object, tracer: Tracer, parameters: list[Tensor], trace: Trace) -> None:
    """Run the cotangent back as far as the signal's way goes; parameters get no gradient."""
    with torch._C.DisableTorchFunction(), torch.no_grad():
        reached = note_outputs(output, tracer, trace.graph)
    if not reached:
        trace.notes.append(NOT_REACHED)
        return
    start = compute_loss(COTANGENT, output)
    if not start.requires_grad or not tracer.roots:
        trace.notes.append("no gradient comes back: the output has no graph that leads to the input")
    elif _recomputes(start):
        with grads_put_aside((*leaves_of(start), *parameters)):
            start.backward()  # type: ignore[no-untyped-call]  # torch's
    else:
        torch.autograd.grad(start, tracer.roots, allow_unused=True)


def note_outputs(output: object, tracer: Tracer, graph: Graph) -> bool:
    """Note which nodes were returned, and the cotangent there; tell whether the signal has come so far."""
    returned = [tensor for tensor in tensors_in(output) if tensor.is_floating_point() or tensor.is_complex()]
    found = [(tensor, node) for tensor in returned if (node := tracer.node_of(tensor)) is not None]
    elements = sum(tensor.numel() for tensor in returned)
    graph.outputs = [node for _, node in found]
    if elements:
        graph.cotangents = {node: 1.0 / elements for tensor, node in found if tensor.requires_grad}
    return bool(found) and elements > 0


def _recomputes(start: Tensor) -> bool:
    """Tell whether a checkpoint of the reentrant kind took part, which allows nothing but a whole backward."""
    todo: list[Any] = [start.grad_fn]
    seen = set(todo)
    while todo:
        node = todo.pop()
        if type(node).__name__ == "CheckpointFunctionBackward":
            return True
        following = [one for one, _ in node.next_functions if one is not None and one not in seen]
        seen.update(following)
        todo += following
    return False


@dataclass(frozen=True)
class CallFigures:
    """Hold what is expected of what one call of `module` returned, None where theory does not reach; and its shares.

    `grad_rms` is the gradient's for a cotangent of norm 1. `dead`, `saturated` and `cosine` were measured.
    """

    module: str
    out_rms: float | None = None
    grad_rms: float | None = None
    expected_dead: float | None = None
    dead: float | None = None
    saturated: float | None = None
    cosine: float | None = None


def calls_of(trace: Trace) -> list[CallFigures]:
    """Return the figures of every call of a childless module, in order of execution."""
    return [CallFigures(name) if node is None else _figures(name, node, trace) for name, node in trace.calls]


def _figures(name: str, node: Node, trace: Trace) -> CallFigures:
    q, gradient, row = node.expected_q, node.expected_gradient, node.ends
    passed_on = row or (node.row if node.row is not None and node.row.activation is None else None)
    return CallFigures(
        name,
        out_rms=None if q is None else math.sqrt(q),
        grad_rms=None if gradient is None else math.sqrt(gradient),
        expected_dead=None if row is None else expected_dead(node, row, trace.samples),
        dead=row.dead if row else None,
        saturated=row.saturated if row else None,
        cosine=passed_on.cosine if passed_on else None,
    )


def expected_dead(node: Node, row: Row, samples: int | None) -> float | None:
    """Return the share of units that theory expects dead on the batch, where a unit has one value for each sample."""
    if not isinstance(node.effect, ActivationEffect) or samples is None or row.width is None:
        return None
    return node.effect.dead(node.inputs[0].state, samples) if row.elements == samples * row.width else None
