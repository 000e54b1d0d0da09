"""The tensors of a report: their values and gradients, how they were initialised, who shares what, who uses what."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Final

from paraminspect.frozen import dataclass

Number = float | int
Nested = Any  # a number, True/False, null, or a list of these: a tensor's elements as JSON has them


@dataclass(frozen=True)
class Values:
    """Summarise the elements of one tensor.

    `std` is the population value (correction 0), so ``mean**2 + std**2 == rms**2`` and one element has std 0.
    `nan` and `inf` are counted and left out of every other figure. `histogram` counts the finite elements in
    equal bins from `min` to `max` (of an evenly spaced sample when the tensor is large).
    """

    mean: float | None = None
    std: float | None = None
    rms: float | None = None
    min: Number | None = None
    max: Number | None = None
    l2: float | None = None
    zeros: int = 0
    nan: int = 0
    inf: int = 0
    histogram: tuple[int, ...] | None = None


BEHIND_ZERO: Final = "behind a zero weight"
"""The reason for a gradient of 0 that a weight of 0 stops on its way."""
NOT_ATTRIBUTED: Final = "(not attributed)"
"""The operation of a use that is what the known uses leave of a gradient."""
RETURNED_ASIDE: Final = "what it returned is handed on beside other tensors, and nothing reads it"
"""The reason for parts whose result the caller may take, or not: the last norm of a backbone, a pooler."""
UNDER_NO_GRAD: Final = "it ran under torch.no_grad()"
"""The reason for what may be meant to learn in another way: a teacher, an average of weights."""


@dataclass(frozen=True)
class Cause:
    """Name the first operation, and the module it ran in, whose output lost the graph though its inputs require it."""

    module: str
    op: str
    reason: str


@dataclass(frozen=True)
class Gradient:
    """Say what gradient reached a parameter; the figures are null where no gradient was computed.

    `rounding` is null but for a ``zero`` that is not exactly 0: how large an error rounding may have made of 0, which
    the gradient nowhere exceeds. So is that of the weights before a softmax whose outputs are added up.

    `status` is one of ``ok``, ``zero``, ``nonfinite``, ``frozen``, ``unused`` (the forward never read it),
    ``disconnected`` (read, but the loss does not depend on it), ``not-run``, ``unknown`` (it arrives, but a meta
    tensor holds no numbers). `cause` is why a parameter that was read is not reached, where that was found.
    `reason` is why a ``zero`` is none to worry about: ``behind a zero weight``, for every path to the loss multiplies
    by a weight that is 0 so far and gets a gradient itself.

    `seeds` is null unless there were several: then it counts them by their status, ``{"ok": 2, "unused": 3}``. `status`
    is ``ok`` if it is in any of them and ``nonfinite`` in none; the figures are of the first seed that has it.
    """

    status: str
    mean: float | None = None
    std: float | None = None
    rms: float | None = None
    min: Number | None = None
    max: Number | None = None
    l2: float | None = None
    zeros: int | None = None
    nan: int | None = None
    inf: int | None = None
    data: Nested = None
    text: str | None = None
    cause: Cause | None = None
    rounding: float | None = None
    reason: str | None = None
    seeds: dict[str, int] | None = None


@dataclass(frozen=True)
class Init:
    """Name the scheme that set a parameter and the moments it should have.

    `scheme` is ``default`` for what the layer's own constructor did, ``slices`` where `parts` say it each for itself.
    `fan_in` and `fan_out` are the fans the scheme's formula used, null where it uses none. `overridden` are the earlier
    rules that this one replaced.
    `expected_low` and `expected_high` bound the values, null where nothing does. `notes` say what the figures do not:
    rows set to zero again, a weight set through its parametrisation, two rules for one Parameter, fans that mislead.

    `recognised` is null where it is known what was done. Where only the values tell, it says whether they do:
    `distribution` is the answer in words, `scheme` ``unrecognised`` where there is none, and `notes` say why.
    `p_value` is that of the goodness-of-fit test, with all parameters of the distribution given; `confidence` is the
    share of the likelihood that it has among all that are known, and `also` are others that it may be as well.
    """

    scheme: str
    args: dict[str, Any] = field(default_factory=dict)
    expected_mean: float | None = None
    expected_std: float | None = None
    fan_in: int | None = None
    fan_out: int | None = None
    rule: str | None = None
    overridden: tuple[str, ...] = ()
    expected_low: float | None = None
    expected_high: float | None = None
    notes: tuple[str, ...] = ()
    recognised: bool | None = None
    distribution: str | None = None
    confidence: float | None = None
    p_value: float | None = None
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class RuleApplied:
    """Say what one rule of initialisation came to: how many tensors it filled, and how many no later rule filled.

    `meta` of those that it filled are on the meta device, where there is nothing to fill.
    Of ``--scheme``, which is for the weights that mix inputs, and of ``--bias`` it also has the names of what is called
    weight or bias and was left as it was: `norms` are those of normalisation layers, `others` are weights that act on
    one element each.
    """

    rule: str
    where: str
    matched: int
    kept: int
    meta: int = 0
    norms: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Initialisation:
    """Sum up what the rules did.

    With `seed_per_parameter` every parameter they filled has random numbers of its own, which follow from the seed and
    its name alone. `digest` stands for all parameters of the model, see `Parameter.digest`: the first 16 hex digits of
    SHA-256 over a line ``name digest`` for each in the order of the model, the digests in full; null where one is.
    `saved` is the file that the state_dict was written to. The command `init` alone has both.
    """

    rules: tuple[RuleApplied, ...] = ()
    seed_per_parameter: bool = False
    digest: str | None = None
    saved: str | None = None


@dataclass(frozen=True)
class ParameterPart:
    """Describe a slice of a parameter: a gate or a projection stacked in it, or rows that a rule filled by themselves.

    It is `start` to `stop` along dimension `dim`; `name` is ``forget``, ``query``, ``padding``, or empty. The parts of
    a parameter make up all of it, and its elements are counted there and nowhere else.
    """

    name: str
    dim: int
    start: int
    stop: int
    shape: tuple[int, ...]
    numel: int
    values: Values | None = None
    gradient: Gradient | None = None
    init: Init | None = None
    before: Values | None = None

    @property
    def label(self) -> str:
        """Return the part as it stands behind the name of its parameter: ``[forget]``, ``[0:16]``, ``[:, 0:16]``."""
        return f"[{self.name}]" if self.name else f"[{':, ' * self.dim}{self.start}:{self.stop}]"


@dataclass(frozen=True)
class Parameter:
    """Describe one tensor of the model: a parameter, a buffer, or a tensor nothing registers.

    A row of the kind ``computed`` is a weight that a parametrisation computes from parameters, filled through it; one
    of the kind ``constant`` a plain attribute that needs no gradient, such as a table, a mask or a stored example.
    `persistent` is null but for a buffer: does state_dict hold it? `note` says what a name does not: where a forgotten
    tensor hangs, which weight a stored one computes. `digest` are the first 16 hex digits of SHA-256 over a line
    ``dtype shape``, as ``float32 3x4``, and the elements in C order, little-endian; null where they are not known.
    `parts` are its gates or projections, where they are asked for, and the slices that rules filled; else empty.
    """

    name: str
    aliases: tuple[str, ...]
    module: str
    module_type: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    numel: int | None
    bytes: int | None
    device: str
    requires_grad: bool
    identity: int
    storage: int | None
    values: Values | None = None
    gradient: Gradient | None = None
    init: Init | None = None
    before: Values | None = None
    data: Nested = None
    text: str | None = None
    note: str | None = None
    persistent: bool | None = None
    digest: str | None = None
    parts: tuple[ParameterPart, ...] = ()


@dataclass(frozen=True)
class Totals:
    """Add up the model: parameters counted once each, `as_named` counts every name of a shared one again.

    The command `summary` alone measures the work and the memory of a step, see `TreeLayer`; null is not known.
    """

    parameters: int = 0
    trainable: int = 0
    frozen: int = 0
    as_named: int = 0
    bytes: int = 0
    buffers: int = 0
    buffer_bytes: int = 0
    unregistered: int = 0
    unknown: int = 0
    shown: int = 0
    constants: int = 0
    macs: int | None = None
    flops: int | None = None
    flops_backward: int | None = None
    saved_bytes: int | None = None
    step_bytes: int | None = None


@dataclass(frozen=True)
class Sharing:
    """List the names that share, and how; `modules` are the owners, `same_module` when they are one object.

    `numel` and `bytes` are what is shared: of one tensor, or of the memory in common. `verdict` on a tie is ``intact``,
    ``broken`` (declared, but not one Parameter), ``missing`` (a declared name does not exist) or ``undeclared``; null
    where there is no tie to judge. `repair` is the line of PyTorch that makes a half or broken tie a true one.
    `origin` is who declared a tie that is broken or missing, or would have declared one that is not; `missing` the
    names that do not exist. `storage_bytes` is the size of the one storage that all of them lie in, null where there
    are several. `module_names` are those of the outermost module that is one object under as many names, where that is
    why the tensor has its own: ``enc``, ``dec`` of ``enc.fc.weight`` and ``dec.fc.weight``; `module_type` is its class.
    """

    kind: str
    names: tuple[str, ...]
    numel: int | None
    bytes: int | None
    modules: tuple[str, ...] = ()
    same_module: bool = False
    declared: bool = False
    verdict: str | None = None
    repair: str | None = None
    origin: str | None = None
    missing: tuple[str, ...] = ()
    storage_bytes: int | None = None
    module_names: tuple[str, ...] = ()
    module_type: str | None = None


@dataclass(frozen=True)
class TensorInfo:
    """Describe an input or an output of the forward."""

    name: str | None
    shape: tuple[int, ...]
    dtype: str
    device: str
    sample: str | None = None
    data: Nested = None
    text: str | None = None


@dataclass(frozen=True)
class Use:
    """Record one operation that read a parameter, and the gradient that this use alone contributed.

    `op` is ``(not attributed)`` for what the gradient holds beyond the uses that were seen.
    """

    parameter: str
    module: str
    op: str
    index: int
    gradient: Gradient
