"""The memory of a training step, and of a forward alone, from what a run of each allocated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace

from torch import Tensor

from paraminspect.analysis.layers.layer_run import LayerRun, run_inference
from paraminspect.analysis.layers.live_memory import Timeline, storages_of
from paraminspect.analysis.layers.memory_peaks import Residents, inference_peak, residents, training_peaks
from paraminspect.analysis.layers.module_tree import modules_of
from paraminspect.analysis.layers.optimizer_memory import RULES, optimizer_memory
from paraminspect.analysis.layers.repeated_results import UnknownNumbers
from paraminspect.analysis.layers.saved_tensors import kept
from paraminspect.errors import UserError, did_you_mean
from paraminspect.experiments.measured import Measured
from paraminspect.frozen import dataclass
from paraminspect.modules.nested_tensors import tensors_in
from paraminspect.modules.subject import Batch
from paraminspect.modules.walk import Walk
from paraminspect.report import StepMemory

Contain = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class Training:
    """What a step is made with: the optimizer, and whether it works on float32 copies of the weights."""

    optimizer: str = "adamw"
    master_weights: bool = False


def training_with(optimizer: str, master_weights: bool) -> Training:
    """Return how a step is made. Raises UserError for an optimizer whose memory is not known."""
    if optimizer not in RULES:
        hint = did_you_mean(optimizer, RULES) or f"known: {', '.join(RULES)}"
        raise UserError(f"unknown value {optimizer!r}", where="optimizer", hint=hint, code="bad-option")
    return Training(optimizer, master_weights)


def tensors_there(measured: Measured, batch: Batch) -> tuple[Tensor, ...]:
    """Return the tensors whose memory is there all the time: the model's, then the input's."""
    return (*(entry.tensor for entry in measured.scope.whole.entries), *_given(batch))


def memory_of_step(
    run: LayerRun, measured: Measured, batch: Batch, training: Training, contain: Contain, reads: Callable[[], bool]
) -> StepMemory | None:
    """Return what a step takes, and what a forward in eval mode does, which is run here; None where the run failed.

    Of a run without a backward only what would be kept for one is known. The gradients are where the run left them.
    `reads` tells whether a forward has looked at numbers past torch's operations.
    """
    if run.timeline is None:
        return None
    modules = modules_of(measured.scope.whole)
    names: dict[int | None, str] = {id(module): path for path, module in modules.once()}
    there = residents(measured.scope.whole.entries, _given(batch), run.timeline.outside)
    saved = [*kept(run.timeline)]
    memory = StepMemory(
        parameters=there.parameters,
        buffers=there.buffers,
        inputs=there.inputs,
        others=there.others,
        optimizer=training.optimizer,
        saved=sum(one.size for one in saved),
        saved_unseen=sum(one.size for one in saved if not one.saved),
        device=_device(measured),
    )
    if run.ran_backward:
        memory = _with_step(memory, run, measured, there, training, names)
    alone = _inference(run, measured, modules, batch, contain, reads)
    return memory if alone is None else replace(memory, inference=inference_peak(alone, there, names))


def _inference(
    run: LayerRun, measured: Measured, modules: Walk, batch: Batch, contain: Contain, reads: Callable[[], bool]
) -> Timeline | None:
    """Run a forward in eval mode: in earnest only where its numbers matter."""
    known = tensors_there(measured, batch)
    if run.results is not None and run.results.enabled and not reads():
        try:
            found = run_inference(measured.subject.module, modules, batch, known, contain, run.results)
            if not (run.results.repeated and reads()):
                return found
        except UnknownNumbers:
            pass
    return run_inference(measured.subject.module, modules, batch, known, contain)


def _with_step(
    memory: StepMemory,
    run: LayerRun,
    measured: Measured,
    there: Residents,
    training: Training,
    names: Mapping[int | None, str],
) -> StepMemory:
    assert run.timeline is not None
    parameters = [entry.tensor for entry in measured.scope.whole.of_kind("parameter") if entry.tensor.grad is not None]
    foreach = memory.device != "cpu"  # what torch's optimizers do by themselves
    optimizer = optimizer_memory(parameters, training.optimizer, foreach, training.master_weights)
    peaks = training_peaks(run.timeline, there, optimizer, names)
    return replace(
        memory,
        gradients=_bytes(tensor.grad for tensor in parameters),
        optimizer_state=optimizer.state,
        master_weights=optimizer.masters,
        foreach=foreach,
        peaks=peaks,
        step=max(peaks, key=lambda one: one.total),
    )


def _given(batch: Batch) -> list[Tensor]:
    return [tensor for one in batch.given for tensor in tensors_in(one.value)]


def _bytes(tensors: Iterable[Tensor | None]) -> int:
    found = {storage._cdata: storage for one in tensors if one is not None for storage in storages_of(one)}
    return sum(storage.nbytes() for storage in found.values())


def _device(measured: Measured) -> str:
    first = next((entry.tensor for entry in measured.scope.whole.of_kind("parameter")), None)
    return "cpu" if first is None else first.device.type
