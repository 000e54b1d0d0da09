"""One forward and one backward under the eyes of what measures the modules: their calls, their work, their memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from paraminspect.analysis.layers.flop_counter import FlopCounter, Work
from paraminspect.analysis.layers.layer_calls import LayerCalls, ModuleCalls
from paraminspect.analysis.passes.failing_module import explain
from paraminspect.analysis.passes.losses import compute_loss
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


@recording()
def run_layers(
    module: nn.Module,
    modules: Walk,
    batch: Batch,
    loss: Loss,
    *,
    backward: bool = True,
    contain: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> LayerRun:
    """Run the forward, the loss and (unless told otherwise) the backward; what raises is `LayerRun.error`.

    `contain` wraps whatever runs the module's code. A loss that depends on no parameter has no backward.
    """
    calls = LayerCalls(modules)
    counter = FlopCounter(calls)
    run = LayerRun(calls.of, counter.forward, counter.backward)
    phase = "forward"
    try:
        with eager(), room(), calls.active():
            with contain(), counter:
                run.output = module(*batch.args, **batch.kwargs)
            run.ran_forward = True
            if backward:
                phase = "loss"
                run.loss = _loss(loss, run)
            if run.loss is not None and run.loss.requires_grad:
                phase = "backward"
                calls.in_backward = True
                with contain(), counter:
                    run.loss.backward()  # type: ignore[no-untyped-call]  # torch's
                run.ran_backward = True
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the user's code may exit
        frame = calls.blamed(error)
        run.failed = id(frame.module) if frame else None
        run.error = explain(error, frame, phase)
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
