"""The tree of modules of a report: shapes, parameters, multiply-adds and memory of each, as `summary` shows them."""

from __future__ import annotations

from paraminspect.frozen import dataclass
from paraminspect.report.layer_signal import Layer


@dataclass(frozen=True)
class LayerTensor:
    """One tensor that a module took or returned.

    `name` is its place there: empty where it is alone, ``[0]``, ``logits``, ``keys[0]``, or the keyword it came by.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class OwnedElsewhere:
    """A parameter under a name that is not its first: it is counted where it goes by `owner`."""

    name: str
    owner: str
    numel: int | None


@dataclass(frozen=True)
class Uncounted:
    """An operation that multiplies and adds, for which there is no formula: how often it ran in which modules."""

    op: str
    calls: int
    modules: tuple[str, ...] = ()


@dataclass(frozen=True)
class TreeLayer(Layer):
    """One module of the tree, in the order of ``named_modules``; `index` is its place there.

    What begins with ``own_`` is that of the module itself, and adds up over all rows to the totals; what has the same
    name without it includes the modules below. A parameter is counted on the module that holds it under its first name,
    `elsewhere` names those that are counted on another row. `aliases` are further names of the same module object.

    `calls` is how often it ran in the forward, null where no forward was run; `inputs` and `outputs` are those of the
    first call, `varied` says that those of a later one had other shapes. `flops` are those of the forward,
    `flops_backward` those of the backward, what a checkpoint computes again included; `macs` are multiply-adds, half
    the flops. Only operations that multiply and add count, matrix products, convolutions and attention: an elementwise
    operation, a normalisation, a sum has none. `uncounted` is how many calls of operations without a formula there were
    in the module itself. `saved_bytes` is what autograd keeps for the backward, parameters and inputs of the model left
    out. Null is unknown, never 0.

    `forgotten` says why no module registers this one, null where one does; `unregistered` counts the elements of its
    own tensors that are in no ``parameters()`` for that. `failed` marks the module whose forward raised, and
    `used_elsewhere` one that was not called though a gradient reached a parameter of its own: another module reads it.
    `called_below` tells that a module below it ran, though itself it may be a mere container.
    """

    parent: str | None = None
    depth: int = 0
    aliases: tuple[str, ...] = ()
    extra_repr: str = ""
    calls: int | None = None
    inputs: tuple[LayerTensor, ...] | None = None
    outputs: tuple[LayerTensor, ...] | None = None
    varied: bool = False
    own_parameters: int | None = 0
    parameters: int | None = 0
    own_trainable: int | None = 0
    trainable: int | None = 0
    own_bytes: int | None = 0
    bytes: int | None = 0
    own_buffers: int | None = 0
    buffers: int | None = 0
    own_buffer_bytes: int | None = 0
    buffer_bytes: int | None = 0
    elsewhere: tuple[OwnedElsewhere, ...] = ()
    own_macs: int | None = None
    macs: int | None = None
    own_flops: int | None = None
    flops: int | None = None
    own_flops_backward: int | None = None
    flops_backward: int | None = None
    uncounted: int = 0
    own_saved_bytes: int | None = None
    saved_bytes: int | None = None
    forgotten: str | None = None
    unregistered: int = 0
    failed: bool = False
    used_elsewhere: bool = False
    called_below: bool = False
