"""One forward and one backward: the loss, what each layer returned, who read which parameter, what gradient arrived.

`run_passes` leaves a `ForwardBackward` behind; `gradient_of`, `uses_of` and `verdicts_of` make a report's rows of it.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from paraminspect.analysis.inventory import TensorEntry
from paraminspect.analysis.passes.contributions import NOTHING, dense, largest, peak, summarise, with_status
from paraminspect.analysis.passes.failing_module import explain, explain_forward
from paraminspect.analysis.passes.ledger import Ledger, Record
from paraminspect.analysis.passes.losses import compute_loss, why_constant
from paraminspect.analysis.passes.operands import DispatchReader
from paraminspect.analysis.passes.rounding import Rounding
from paraminspect.analysis.passes.running_modules import Companion, LayerCall, Watch
from paraminspect.analysis.passes.zero_weights import may_multiply_by
from paraminspect.analysis.statistics.batched import Queue
from paraminspect.analysis.statistics.contents import numbers_of
from paraminspect.isolation.phases import enter
from paraminspect.isolation.torch_state import eager, recording, room
from paraminspect.modules.nested_tensors import dtype_name, leaves_among, leaves_of, nodes_of, tensors_in
from paraminspect.modules.subject import Batch, Loss
from paraminspect.modules.walk import Walk, registered, walk
from paraminspect.report import (
    BEHIND_ZERO,
    NOT_ATTRIBUTED,
    Cause,
    ForwardError,
    Gradient,
    Layer,
    Use,
    Values,
    Verdict,
)

_OVERWRITES = ("ZeroBackward", "FillBackward", "CopyBackwards", "CopySlices")
_ROUNDS = ("RoundBackward", "FloorBackward", "CeilBackward", "TruncBackward", "SignBackward")
_DRAWS = ("BernoulliBackward", "PoissonBackward", "NormalBackward")


@dataclass
class ForwardBackward:
    """What the two passes left behind. `error` is set when the forward, the loss or the backward raised.

    `gradients` are the figures of what arrived at each parameter, by its id; `constant` says why the loss could only be
    what it is, see `why_constant`. `leaves` are those of the graph; `stops` tells that operations in it let nothing
    but 0 through: values are written over in place, rounded, drawn; `kept` that another backward can run through it,
    where a weight of zeros may explain gradients of 0. A diagnosis adds the `causes` of missing gradients,
    by the parameter's id, the leaves that are `unregistered`, `notes`, and by their ids the parameters `behind_zero`.
    `norms` has for each BatchNorm that was called several times how far the statistics of its inputs are apart, see
    `SharedNorms`; `unsaved` are the names of buffers that are state and that no state_dict has.
    """

    output: Any = None
    loss: Tensor | None = None
    backward: bool = False
    error: ForwardError | None = None
    calls: list[LayerCall] = field(default_factory=list)
    ledger: Ledger | None = None
    gradients: dict[int, Values | None] = field(default_factory=dict)
    constant: str | None = None
    leaves: tuple[Tensor, ...] = ()
    stops: bool = False
    kept: bool = False
    causes: dict[int, Cause] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unregistered: tuple[TensorEntry, ...] = ()
    behind_zero: frozenset[int] = frozenset()
    rounding: Rounding = field(default_factory=Rounding)
    norms: dict[str, float] = field(default_factory=dict)
    unsaved: tuple[str, ...] = ()
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
    zeros: tuple[Tensor, ...] = (),
    backward: bool = True,
    contain: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    companion: Companion | None = None,
) -> ForwardBackward:
    """Run the forward, the loss and (unless told otherwise) the backward.

    `follow` are the parameters whose uses the ledger keeps apart, `zeros` those that hold nothing but zeros, `contain`
    wraps whatever runs the module's code. A `companion` follows the same forward.
    Gradients accumulate in ``.grad`` as ever. What is compiled runs eagerly.
    What raises is no exception here, save KeyboardInterrupt: `ForwardBackward.error` says in which phase, and names the
    innermost module.
    """
    modules = walk(module)
    watch = Watch(modules, companion)
    rounding = Rounding()
    ledger = Ledger(_parameters(modules), follow, watch, rounding)
    passes = ForwardBackward(ledger=ledger, calls=watch.calls, rounding=rounding, nodes=watch.nodes)
    passes.norms = watch.norms.factors
    enter(phase := "forward")
    start = torch._C._autograd._get_sequence_nr()
    try:
        with eager(), room(), watch.active():
            beside = (companion.begin(modules, watch, batch) if companion else None) or contextlib.nullcontext()
            with contain(), _noting_scripts(modules, ledger), ledger, beside:
                passes.output = module(*batch.args, **batch.kwargs)
            if companion is not None:
                companion.ended(passes.output, contain)
            enter(phase := "loss")
            with ledger:
                passes.loss = compute_loss(loss, passes.output)
            passes.constant = why_constant(loss, passes.output)
            enter(phase := "backward")
            graph = nodes_of(passes.loss)
            passes.leaves = tuple(leaves_among(graph) if graph else leaves_of(passes.loss))
            passes.stops = any(type(node).__name__.startswith((*_OVERWRITES, *_ROUNDS, *_DRAWS)) for node in graph)
            if backward and passes.loss.requires_grad:
                # What was computed before the forward is the user's: a second backward may need what it has saved.
                older = any(node._sequence_nr() < start for node in graph)
                passes.kept = may_multiply_by(zeros, graph)
                others = [leaf for leaf in passes.leaves if id(leaf) not in ledger.parameters]
                rounding.watch(graph)
                with contain(), watch.gather(), grads_put_aside(others), ledger:
                    _run_backward(passes.loss, keep_graph=older or passes.kept)
                passes.backward = True
            elif backward and any(parameter.requires_grad for parameter in ledger.parameters.values()):
                passes.error = ForwardError("", _nothing_to_differentiate(passes.output), phase)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the user's code may exit
        frame = watch.blamed(error)
        of_forward = phase == "forward"
        passes.error = explain_forward(error, frame, module, batch) if of_forward else explain(error, frame, phase)
    finally:
        rounding.close()
        ledger.close()
        watch.let_go(rounding.nodes)
    enter("statistics of the gradients")
    if passes.backward:
        passes.gradients = _measure_gradients(passes, ledger, watch.queue)
    return passes


def _measure_gradients(passes: ForwardBackward, ledger: Ledger, queue: Queue) -> dict[int, Values | None]:
    found: dict[int, Values | None] = {}
    for key, parameter in ledger.parameters.items():
        grad = arrived(parameter, passes)
        account = ledger.accounts.get(key)
        if account is not None and account.knows(grad):
            found[key] = account.figures
        elif grad is not None:
            queue.measure(grad, partial(found.__setitem__, key))
    queue.flush()
    return found


def _parameters(modules: Walk) -> Iterator[Tensor]:
    for _, module in modules.once():
        yield from (parameter for _, parameter in registered(module, "_parameters"))


def _nothing_to_differentiate(output: Any) -> str:
    found = ", ".join(f"{dtype_name(tensor.dtype)} {tuple(tensor.shape)}" for tensor in tensors_in(output)[:3])
    return f"the loss depends on no parameter; the output is {found}, without a graph"


def _run_backward(loss: Tensor, keep_graph: bool) -> None:
    """Run ``loss.backward()``, which itself would suspend the ledger: a checkpoint recomputes under its eyes."""
    if loss.numel() != 1:
        raise RuntimeError(f"the loss must be a single number, got shape {tuple(loss.shape)}")
    engine = torch.autograd.Variable._execution_engine
    start = torch.ones_like(loss)
    engine.run_backward((loss,), (start,), keep_graph, False, (), allow_unreachable=True, accumulate_grad=True)


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


def gradient_of(parameter: Tensor, passes: ForwardBackward | None, wanted: bool = False) -> Gradient:
    """Return the status and the figures of ``parameter.grad`` after the passes.

    `wanted` adds the elements themselves, if they are few.
    """
    found = _gradient_of(parameter, passes, wanted)
    if passes and found.status == "zero" and found.rounding is None and id(parameter) in passes.behind_zero:
        found = replace(found, reason=BEHIND_ZERO)
    cause = passes.causes.get(id(parameter)) if passes else None
    return replace(found, cause=cause) if cause and found.status != "ok" else found


def _gradient_of(parameter: Tensor, passes: ForwardBackward | None, wanted: bool) -> Gradient:
    if not parameter.requires_grad:
        return Gradient("frozen")
    if passes is None or not passes.backward:
        return Gradient(_without_backward(parameter, passes))
    grad = arrived(parameter, passes)
    if grad is None:
        return Gradient("disconnected" if id(parameter) in reads(passes) else "unused")
    if id(parameter) not in passes.gradients:
        return summarise(grad, wanted)
    shown = numbers_of(dense(grad)) if wanted else NOTHING
    values = passes.gradients[id(parameter)]
    return with_status(values, grad.numel(), shown, passes.rounding.error_of(parameter, peak(values)))


def _without_backward(parameter: Tensor, passes: ForwardBackward | None) -> str:
    """Tell a loss that depends on no parameter from a backward that was not asked for or not reached."""
    reached = passes is not None and passes.loss is not None and not passes.loss.requires_grad
    if passes is None or not reached:
        return "not-run"
    return "disconnected" if id(parameter) in reads(passes) else "unused"


def uses_of(passes: ForwardBackward, names: dict[int, str], wanted: bool = True) -> tuple[Use, ...]:
    """Return the ledger: one entry per use, in order of execution, with that use's own gradient.

    What a parameter's gradient holds beyond its uses comes last. `names` maps the id of each parameter to the name it
    is reported under; `wanted` adds the elements of small gradients.
    """
    if passes.ledger is None:
        return ()
    records = enumerate(passes.ledger.records)
    uses = [_use(record, index, passes, names, wanted) for index, record in records if id(record.parameter) in names]
    rests = enumerate(_rests(passes.ledger, passes, names), start=len(passes.ledger.records))
    return (*uses, *(Use(name, "", NOT_ATTRIBUTED, index, summarise(rest, wanted)) for index, (name, rest) in rests))


def verdicts_of(passes: ForwardBackward, names: dict[int, str]) -> tuple[Verdict, ...]:
    """Hold the sum of the uses against the gradient, for parameters with several uses or with more than their sum.

    `measured` is the largest difference; `tolerance` what rounding may account for. A parameter that a gradient
    reached, though no use of it was seen, is ``unseen``.
    """
    if passes.ledger is None or not passes.backward:
        return ()
    uses = Counter(id(record.parameter) for record in passes.ledger.records if record.gradient is not None)
    seen = {id(record.parameter) for record in passes.ledger.records}
    rests = dict(_rests(passes.ledger, passes, names))
    found = []
    for key, name in names.items():
        account = passes.ledger.accounts.get(key)
        if name in rests:
            measured = account.difference if account else largest(rests[name])
            tolerance = account.tolerance if account else 0.0
            verdict = "not attributed" if key in seen else "unseen"
            found.append(Verdict("ledger", verdict, measured or 0.0, 0.0, tolerance, name))
        elif account is not None and uses[key] > 1 and account.compared:
            found.append(Verdict("ledger", "reconciles", account.difference, 0.0, account.tolerance, name))
    return tuple(found)


def _rests(ledger: Ledger, passes: ForwardBackward, names: dict[int, str]) -> Iterator[tuple[str, Tensor]]:
    """Yield what the gradients of followed parameters hold beyond their uses: everything, where no use was seen."""
    for key, name in names.items():
        if key in ledger.followed and passes.backward:
            account = ledger.accounts.get(key)
            rest = account.rest if account else ledger.parameters[key].grad
            if rest is not None:
                yield name, rest


def _use(record: Record, index: int, passes: ForwardBackward, names: dict[int, str], wanted: bool) -> Use:
    found = record.gradient if passes.backward else None
    if found is None:
        status = gradient_of(record.parameter, passes).status
        found = Gradient(status if status in ("frozen", "not-run") else "disconnected")
    elif wanted and record.elements is not None:
        shown = numbers_of(record.elements)
        found = replace(found, data=shown.data, text=shown.text)
    return Use(names[id(record.parameter)], record.module, record.op, index, found)
