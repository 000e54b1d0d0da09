"""When a training step, or a forward alone, takes most memory, and what that is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from paraminspect.analysis.inventory import TensorEntry
from paraminspect.analysis.layers.live_memory import Allocation, Timeline, storages_of
from paraminspect.analysis.layers.optimizer_memory import OptimizerMemory
from paraminspect.analysis.layers.saved_tensors import kept
from paraminspect.report import MemoryPeak


@dataclass(frozen=True)
class Residents:
    """Bytes of what is there before, during and after a run, each storage counted once."""

    parameters: int = 0
    buffers: int = 0
    inputs: int = 0
    others: int = 0

    @property
    def total(self) -> int:
        """Return all of them."""
        return self.parameters + self.buffers + self.inputs + self.others


def residents(entries: Iterable[TensorEntry], inputs: Iterable[Tensor], outside: int) -> Residents:
    """Count the storages of a model's tensors and of its inputs; `outside` are those that a run read elsewhere."""
    seen: dict[int, torch.UntypedStorage] = {}
    held = {"parameter": 0, "buffer": 0, "input": 0}
    others = outside
    tensors = [(entry.kind, entry.tensor) for entry in entries if not entry.lazy]
    for kind, tensor in (*sorted(tensors, key=lambda one: one[0] != "parameter"), *(("input", one) for one in inputs)):
        for storage in storages_of(tensor):
            if storage._cdata not in seen:
                seen[storage._cdata] = storage
                if kind in held:
                    held[kind] += storage.nbytes()
                else:
                    others += storage.nbytes()
    return Residents(held["parameter"], held["buffer"], held["input"], others)


@dataclass
class _Moments:
    """A timeline, ready to be asked about one moment after the other."""

    timeline: Timeline
    resident: int
    names: Mapping[int | None, str]
    live: list[int] = field(init=False)
    kept: set[Allocation] = field(init=False)

    def __post_init__(self) -> None:
        self.live = self.timeline.live()
        self.kept = set(kept(self.timeline))

    def largest(self, phase: str) -> MemoryPeak:
        """Return the moment of a phase when most lives, the first of several."""
        span = self.timeline.span(phase)
        if not span:
            return MemoryPeak(phase, None, None, 0, 0, 0, self.resident)
        moment = max(span, key=self.live.__getitem__)
        born = [one for one in self.timeline.allocations if one.birth == moment]
        last = max(born, key=lambda one: one.size, default=None)
        module = self.names.get(last.module) if last else None
        return self.of(phase, self.timeline.at(moment), module, last.operation if last else None)

    def of(
        self, phase: str, alive: Iterable[Allocation], module: str | None, operation: str | None, taken: int = 0
    ) -> MemoryPeak:
        """Return what lives at a moment, and what is `taken` besides, by what it is for."""
        gradients = saved = transient = 0
        for one in alive:
            if one.holder == "gradient":
                gradients += one.size
            elif one.holder != "model":
                saved += one.size if one in self.kept else 0
                transient += 0 if one in self.kept else one.size
        transient += taken
        return MemoryPeak(
            phase, module, operation, gradients, saved, transient, self.resident + gradients + saved + transient
        )


def training_peaks(
    timeline: Timeline, there: Residents, optimizer: OptimizerMemory, names: Mapping[int | None, str]
) -> tuple[MemoryPeak, ...]:
    """Return the largest moments of forward, loss, backward and the optimizer's step; `names` maps ids to modules.

    While the optimizer steps, the output and the loss are still held, as they are in most scripts.
    """
    moments = _Moments(timeline, there.total + optimizer.state + optimizer.masters, names)
    left = (one for one in timeline.allocations if one.death is None)
    return (
        *(moments.largest(phase) for phase in ("forward", "loss", "backward")),
        moments.of("optimizer", left, None, None, optimizer.transient),
    )


def inference_peak(timeline: Timeline, there: Residents, names: Mapping[int | None, str]) -> MemoryPeak:
    """Return the largest moment of a forward that records no graph."""
    found = _Moments(timeline, there.total, names).largest("inference")
    return MemoryPeak(found.phase, found.module, found.operation, 0, 0, found.transient + found.saved, found.total)
