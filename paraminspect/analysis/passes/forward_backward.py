"""One forward and one backward: the loss, what each layer returned, what gradient arrived, who read which parameter."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from paraminspect.analysis.passes.failing_module import explain
from paraminspect.analysis.passes.ledger import Ledger
from paraminspect.analysis.passes.losses import compute_loss, why_constant
from paraminspect.analysis.passes.operands import DispatchReader
from paraminspect.analysis.passes.running_modules import LayerCall, Watch
from paraminspect.analysis.statistics.batched import Queue
from paraminspect.isolation.torch_state import eager, recording, room
from paraminspect.modules.nested_tensors import dtype_name, tensors_in
from paraminspect.modules.subject import Batch, Loss
from paraminspect.modules.walk import Walk, registered, walk
from paraminspect.report import ForwardError, Layer, Values


@dataclass
class ForwardBackward:
    """What the two passes left behind. `error` is set when the forward, the loss or the backward raised.

    `gradients` are the figures of what arrived at each parameter, by its id; `constant` says why the loss could only be
    what it is, see `analysis.constant`.
    """

    output: Any = None
    loss: Tensor | None = None
    backward: bool = False
    error: ForwardError | None = None
    calls: list[LayerCall] = field(default_factory=list)
    ledger: Ledger | None = None
    gradients: dict[int, Values | None] = field(default_factory=dict)
    constant: str | None = None
    nodes: list[Any] = field(default_factory=list)  # last: see Watch.nodes

    def layers(self) -> tuple[Layer, ...]:
        """Return the calls in order of execution."""
        return tuple(Layer(i, call.module, call.type, call.out, call.grad) for i, call in enumerate(self.calls))


@recording()
def run_passes(
    module: nn.Module,
    batch: Batch,
    loss: Loss,
    *,
    follow: tuple[Tensor, ...] = (),
    backward: bool = True,
    contain: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> ForwardBackward:
    """Run the forward, the loss and (unless told otherwise) the backward.

    `follow` are the parameters whose uses the ledger keeps apart; `contain` wraps whatever runs the module's code.
    Gradients accumulate in ``.grad`` as ever. What is compiled runs eagerly.
    What raises is no exception here, save KeyboardInterrupt: `ForwardBackward.error` says in which phase, and names the
    innermost module.
    """
    modules = walk(module)
    watch = Watch(modules)
    ledger = Ledger(_parameters(modules), follow, watch)
    passes = ForwardBackward(ledger=ledger, calls=watch.calls, nodes=watch.nodes)
    phase = "forward"
    try:
        with eager(), room(), watch.active():
            with contain(), _noting_scripts(modules, ledger), ledger:
                passes.output = module(*batch.args, **batch.kwargs)
            phase = "loss"
            with ledger:
                passes.loss = compute_loss(loss, passes.output)
            passes.constant = why_constant(loss, passes.output)
            phase = "backward"
            if backward and passes.loss.requires_grad:
                others = [leaf for leaf in leaves_of(passes.loss) if id(leaf) not in ledger.parameters]
                with contain(), watch.gather(), grads_put_aside(others), ledger:
                    _run_backward(passes.loss)
                passes.backward = True
            elif backward and any(parameter.requires_grad for parameter in ledger.parameters.values()):
                passes.error = ForwardError("", _nothing_to_differentiate(passes.output), phase)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the user's code may exit
        passes.error = explain(error, watch.blamed(error), phase)
    finally:
        ledger.close()
        watch.forget()
    if passes.backward:
        passes.gradients = _measure_gradients(passes, ledger, watch.queue)
    return passes


def _measure_gradients(passes: ForwardBackward, ledger: Ledger, queue: Queue) -> dict[int, Values | None]:
    found: dict[int, Values | None] = {}
    for key, parameter in ledger.parameters.items():
        grad = arrived(parameter, passes)
        if grad is not None:
            queue.measure(grad, partial(found.__setitem__, key))
    queue.flush()
    return found


def _parameters(modules: Walk) -> Iterator[Tensor]:
    for _, module in modules.once():
        yield from (parameter for _, parameter in registered(module, "_parameters"))


def _nothing_to_differentiate(output: Any) -> str:
    found = ", ".join(f"{dtype_name(tensor.dtype)} {tuple(tensor.shape)}" for tensor in tensors_in(output)[:3])
    return f"the loss depends on no parameter; the output is {found}, without a graph"


def _run_backward(loss: Tensor) -> None:
    """Run ``loss.backward()``, which itself would suspend the ledger: a checkpoint recomputes under its eyes."""
    if loss.numel() != 1:
        raise RuntimeError(f"the loss must be a single number, got shape {tuple(loss.shape)}")
    engine = torch.autograd.Variable._execution_engine
    start = torch.ones_like(loss)
    engine.run_backward((loss,), (start,), False, False, (), allow_unreachable=True, accumulate_grad=True)


@contextlib.contextmanager
def _noting_scripts(modules: Walk, ledger: Ledger) -> Iterator[None]:
    """Note also what TorchScript reads, where there is any: every operation costs more."""
    if any(issubclass(type(child), torch.jit.ScriptModule) for _, child in modules.once()):
        with DispatchReader(ledger.parameters, ledger.read):
            yield
    else:
        yield


def loss_value(loss: Tensor | None) -> float | None:
    """Return a loss as a number, None when it is unknown (meta) or was not reached."""
    return None if loss is None or loss.is_meta else float(loss.detach().item())


def arrived(parameter: Tensor, passes: ForwardBackward) -> Tensor | None:
    """Return ``.grad``, or what was there before a hook of the user's dropped it."""
    account = passes.ledger.accounts.get(id(parameter)) if passes.ledger else None
    return account.received if parameter.grad is None and account else parameter.grad


def reads(passes: ForwardBackward) -> set[int]:
    """Return the ids of the parameters that the forward read."""
    return passes.ledger.read if passes.ledger else set()


@contextlib.contextmanager
def grads_put_aside(leaves: Iterable[Tensor]) -> Iterator[None]:
    """Take the `.grad` of every leaf away, and put it back afterwards in the place of what a backward wrote there.

    A backward writes to every leaf, also to those of nobody who asked: inputs, parameters of other modules.
    """
    before = [(leaf, leaf.grad) for leaf in {id(leaf): leaf for leaf in leaves}.values()]
    for leaf, _ in before:
        leaf.grad = None
    try:
        yield
    finally:
        for leaf, grad in before:
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
