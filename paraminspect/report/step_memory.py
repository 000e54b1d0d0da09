"""The memory of a training step and of inference: what is there all the time, and the moments when most is taken."""

from __future__ import annotations

from paraminspect.frozen import dataclass


@dataclass(frozen=True)
class MemoryPeak:
    """The moment of a phase when most memory is taken; `total` is all of it, what is there all the time included.

    `phase` is ``forward``, ``loss``, ``backward``, ``optimizer`` or ``inference``; `module` and `operation` say what
    had just run, in the backward the module whose backward it was. `gradients` are those that are there already,
    `saved` what autograd keeps for the backward and still needs, `transient` is everything else.
    """

    phase: str
    module: str | None
    operation: str | None
    gradients: int
    saved: int
    transient: int
    total: int


@dataclass(frozen=True)
class StepMemory:
    """Bytes by the storages that hold them, each counted once; null is what was not measured.

    `parameters`, `buffers`, `inputs`, `others` (plain tensors of the model, and what the forward read elsewhere),
    `optimizer_state` and `master_weights` are there all the time. `gradients` and `saved` are all of them, when the
    backward is over and when it begins; of `saved` the share `saved_unseen` is kept in places that autograd's hooks do
    not reach. `peaks` are the largest moments of the phases of a training step, the second or a later one, with
    gradients set to None before it, and `step` is the largest of them::

        step.total = parameters + buffers + inputs + others + optimizer_state + master_weights
                     + step.gradients + step.saved + step.transient

    `inference` is a forward in eval mode that records no graph: its total has parameters, buffers, inputs, others and
    its own transient. `foreach` says that the optimizer takes all parameters at once, as it does on an accelerator. On
    the `device` ``meta`` attention is one fused operation, and dropout keeps a mask of one byte an element.
    """

    parameters: int
    buffers: int
    inputs: int
    others: int
    optimizer: str
    optimizer_state: int | None = None
    master_weights: int | None = None
    gradients: int | None = None
    saved: int | None = None
    saved_unseen: int | None = None
    peaks: tuple[MemoryPeak, ...] = ()
    step: MemoryPeak | None = None
    inference: MemoryPeak | None = None
    device: str = "cpu"
    foreach: bool = False


@dataclass(frozen=True)
class Fits:
    """The largest batch that fits into `limit` bytes, 0 where not even a batch of 1 does, and the `bytes` it takes.

    `next_batch` is the smallest that was tried and is too large. `inference` says that it is not a training step.
    """

    limit: int
    batch: int
    bytes: int | None
    next_batch: int | None
    next_bytes: int | None
    inference: bool = False
