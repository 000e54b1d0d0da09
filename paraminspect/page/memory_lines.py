"""What a step takes, in words: a sum whose parts are those of the moment when most memory is taken."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.page.parts import Line
from paraminspect.report import Fits, MemoryPeak, StepMemory
from paraminspect.text.escape import code, word
from paraminspect.text.numbers import format_bytes, size

_ACCELERATOR = (
    "meta tensors are taken to be an accelerator's: attention in one fused operation, dropout masks of one byte an "
    "element, adam and adamw on all parameters at once"
)


def fits_lines(fits: Fits) -> Iterator[Line]:
    """Yield the largest batch, and what it takes beside what there is."""
    what = "inference" if fits.inference else "a training step"
    if fits.batch:
        yield "fits", f"batch {fits.batch:,}: {what} takes {fits.bytes or 0:,} of {size(fits.limit)}"
    else:
        yield "fits", f"no batch: {what} does not fit into {size(fits.limit)}"
    if fits.next_batch is not None and fits.next_bytes is not None:
        yield "fits", f"batch {fits.next_batch:,} would take {size(fits.next_bytes)}"


def memory_lines(memory: StepMemory | None) -> Iterator[Line]:
    """Yield the memory of a training step, when that is and what else comes near it, and that of inference."""
    if memory is None:
        return
    if memory.step is not None:
        yield "step", f"{size(memory.step.total)} = {_sum(memory, memory.step, _training(memory, memory.step))}"
        yield "step", _moments(memory, memory.step)
    elif memory.saved is not None:
        yield "saved", f"{size(memory.saved)} would be kept for a backward"
    if memory.saved_unseen:
        yield (
            "saved",
            f"{size(memory.saved_unseen)} are kept where autograd's hooks do not reach, by the graph all the same",
        )
    if memory.inference is not None:
        yield "inference", f"{size(memory.inference.total)} = {_sum(memory, memory.inference, [])}"
    if memory.device == "meta":
        yield "memory", _ACCELERATOR


def _training(memory: StepMemory, peak: MemoryPeak) -> list[tuple[str, int]]:
    masters = memory.master_weights or 0
    return [
        ("master weights", masters),
        ("gradients", peak.gradients),
        (memory.optimizer, memory.optimizer_state or 0),
        ("saved", peak.saved),
    ]


def _sum(memory: StepMemory, peak: MemoryPeak, more: list[tuple[str, int]]) -> str:
    """Return ``parameters 8 + gradients 8 + transient 4``, without what is 0."""
    parts = [("parameters", memory.parameters), ("buffers", memory.buffers), ("others", memory.others)]
    parts += [("input", memory.inputs), *more, ("transient", peak.transient)]
    return " + ".join(f"{name} {count:,}" for name, count in parts if count)


def _moments(memory: StepMemory, peak: MemoryPeak) -> str:
    """Say when most is taken, how much all gradients and all that is saved take, and what the optimizer's step does."""
    texts = [f"most {_when(memory, peak)}"]
    if memory.gradients is not None and peak.gradients < memory.gradients:
        texts.append(f"all gradients {format_bytes(memory.gradients)}")
    if memory.saved is not None and peak.saved < memory.saved:
        texts.append(f"all that is saved {format_bytes(memory.saved)}")
    others = [one for one in memory.peaks if one is not peak and one.phase in ("backward", "optimizer")]
    texts += [f"{_when(memory, one)} {format_bytes(one.total)}" for one in others]
    return "; ".join(texts)


def _when(memory: StepMemory, peak: MemoryPeak) -> str:
    if peak.phase == "optimizer":
        return f"in the step of {word(memory.optimizer)}"
    where = " of the loss" if peak.phase == "backward" else ""
    if peak.module is not None:
        where = f" of {code(peak.module) or 'the model itself'}"
    what = f", {code(peak.operation)}" if peak.operation else ""
    return f"in the {peak.phase}{where}{what}"
