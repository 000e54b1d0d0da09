"""One forward and one backward under the eyes of what measures the modules: their calls, their work, their memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from paraminspect.analysis.layers.constant_values import ConstantValues
from paraminspect.analysis.layers.flop_counter import FlopCounter, Work
from paraminspect.analysis.layers.fused_kernels import fused_kernels
from paraminspect.analysis.layers.layer_calls import LayerCalls, ModuleCalls
from paraminspect.analysis.layers.live_memory import LiveStorages, Timeline
from paraminspect.analysis.layers.repeated_results import RepeatedResults, UnknownNumbers
from paraminspect.analysis.layers.saved_tensors import SavedTensors, saved_bytes
from paraminspect.analysis.passes.failing_module import explain, explain_forward
from paraminspect.analysis.passes.losses import compute_loss
from paraminspect.analysis.passes.running_modules import Running
from paraminspect.isolation.torch_state import eager, recording, room
from paraminspect.modules.nested_tensors import tensors_in
from paraminspect.modules.subject import Batch, Loss
from paraminspect.modules.walk import Walk
from paraminspect.report import ForwardError


@dataclass
class LayerRun:
    """What the passes left behind, by the id of each module.

    `failed` is the module that raised, `error` what and in which phase. `saved` are the bytes that autograd keeps for
    the backward, None where that was not measured. `note` says why there was no backward though nothing failed.
    `results` are like those that a further forward would have.
    """

    calls: dict[int, ModuleCalls] = field(default_factory=dict)
    forward: Work = field(default_factory=Work)
    backward: Work = field(default_factory=Work)
    output: Any = None
    loss: Tensor | None = None
    ran_forward: bool = False
    ran_backward: bool = False
    error: ForwardError | None = None
    failed: int | None = None
    saved: dict[int | None, int] | None = None
    note: str = ""
    timeline: Timeline | None = None
    results: RepeatedResults | None = None


@recording()
def run_layers(
    module: nn.Module,
    modules: Walk,
    batch: Batch,
    loss: Loss,
    known: Sequence[Tensor],
    *,
    backward: bool,
    contain: Callable[[], AbstractContextManager[None]],
) -> LayerRun:
    """Run the forward, the loss and (unless told otherwise) the backward; what raises is `LayerRun.error`.

    `known` are the tensors whose memory is there all the time, the model's and the input's. `contain` wraps whatever
    runs the module's code. A loss that depends on no parameter has no backward.
    """
    calls = LayerCalls(modules)
    counter = FlopCounter(calls)
    storages = LiveStorages(known, lambda: calls.module)
    run = LayerRun(calls.of, counter.forward, counter.backward, results=storages.results)
    phase = "forward"
    try:
        with eager(), room(), calls.active(), fused_kernels(), _constants(known):
            storages.begin("forward", counter)
            with contain(), storages, SavedTensors(storages):
                run.output = module(*batch.args, **batch.kwargs)
            run.ran_forward = True
            if backward:
                phase = "loss"
                storages.begin("loss")
                with storages, SavedTensors(storages):
                    run.loss = _loss(loss, run)
            storages.became("output", (run.loss, *tensors_in(run.output)))
            if run.loss is not None and run.loss.requires_grad:
                phase = "backward"
                calls.in_backward = True
                storages.begin("backward", counter)
                with contain(), storages:
                    run.loss.backward()  # type: ignore[no-untyped-call]  # torch's
                run.ran_backward = True
            storages.became("model", known)
            storages.became("gradient", (tensor.grad for tensor in known if tensor.is_leaf))
            run.timeline = storages.finish()
            run.saved = saved_bytes(run.timeline)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the user's code may exit
        frame = calls.blamed(error)
        run.failed = id(frame.module) if frame else None
        of_forward = phase == "forward"
        run.error = explain_forward(error, frame, module, batch) if of_forward else explain(error, frame, phase)
        operation = storages.needed_value(error)
        if operation is not None:
            message = f"{operation} needs values, and tensors on the meta device hold none: run it on a real device"
            run.error = replace(run.error, message=f"{message}, --device cpu ({run.error.message})")
    finally:
        calls.forget()
    return run


def _loss(loss: Loss, run: LayerRun) -> Tensor | None:
    """Return the loss; None, with a note, where the output has nothing that torch's own sum or mean could take."""
    floats = [one for one in tensors_in(run.output) if one.is_floating_point() or one.is_complex()]
    if loss.function is None and not floats:
        run.note = "no backward: the output holds no tensor of floating-point numbers"
        return None
    found = compute_loss(loss, run.output)
    if not found.requires_grad:
        run.note = "no backward: the loss depends on no parameter that requires grad"
    return found


def _constants(known: Sequence[Tensor]) -> AbstractContextManager[object]:
    """Return what knows values on the meta device, where the model is there."""
    return ConstantValues() if any(one.is_meta for one in known) else contextlib.nullcontext()


def run_inference(
    module: nn.Module,
    modules: Walk,
    batch: Batch,
    known: Sequence[Tensor],
    contain: Callable[[], AbstractContextManager[None]],
    results: RepeatedResults | None = None,
) -> Timeline | None:
    """Run a forward in eval mode that records no graph, for the memory that it takes; None where it raises.

    With `results` of a run before, what is known but for its numbers is not computed; UnknownNumbers is raised when
    that cannot be told from a forward in earnest, or when this one fails.
    """
    running = Running(modules)
    storages = LiveStorages(known, lambda: id(running.stack[-1].module) if running.stack else None, results)
    storages.begin("inference")
    try:
        with eager(), room(), running.active(), fused_kernels(), _constants(known), contain(), torch.no_grad():
            module.eval()
            with storages:
                output = module(*batch.args, **batch.kwargs)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the user's code may exit
        if results is not None and results.repeated:
            raise UnknownNumbers from error
        return None
    finally:
        running.forget()
    storages.became("model", known)
    timeline = storages.finish()
    del output
    return timeline
