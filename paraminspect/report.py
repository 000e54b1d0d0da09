"""What an inspection found, as frozen plain values: the only thing that passes from analysis to output.

The field names and their order are the JSON report, version 1. Within a version fields may be added;
none is renamed, removed or given another type.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

SCHEMA = "paraminspect.report"
VERSION = 1

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


@dataclass(frozen=True)
class Gradient:
    """Say what gradient reached a parameter; the figures are null where no gradient was computed.

    `status` is one of ``ok``, ``zero``, ``nonfinite``, ``frozen``, ``unused`` (the forward never read it),
    ``disconnected`` (read, but the loss does not depend on it), ``not-run``, ``unknown`` (it arrives, but a meta
    tensor holds no numbers).
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


@dataclass(frozen=True)
class Init:
    """Name the scheme that set a parameter and the moments it should have.

    `scheme` is ``default`` for what the layer's own constructor did. `fan_in` and `fan_out` are the fans the
    scheme's formula used, null where it uses none. `overridden` are the earlier rules that this one replaced.
    `expected_low` and `expected_high` bound the values, null where nothing does. `notes` say what the figures do not:
    rows set to zero again, a weight set through its parametrisation, two rules for one Parameter, fans that mislead.
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


@dataclass(frozen=True)
class RuleApplied:
    """Say what one rule of initialisation came to: how many tensors it filled, and how many no later rule filled."""

    rule: str
    where: str
    matched: int
    kept: int


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
class Parameter:
    """Describe one tensor of the model: a parameter, a buffer, or a tensor nothing registers.

    A row of the kind ``computed`` is a weight that a parametrisation computes from parameters, filled through it.
    `persistent` is null but for a buffer: does state_dict hold it? `note` says what a name does not: where a forgotten
    tensor hangs, which weight a stored one computes. `digest` are the first 16 hex digits of SHA-256 over a line
    ``dtype shape``, as ``float32 3x4``, and the elements in C order, little-endian; null where they are not known.
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


@dataclass(frozen=True)
class Totals:
    """Add up the model: parameters counted once each, `as_named` counts every name of a shared one again."""

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


@dataclass(frozen=True)
class Sharing:
    """List the names that share, and how; `modules` are the owners, `same_module` when they are one object.

    `numel` and `bytes` are what is shared: of one tensor, or of the memory in common. `verdict` on a tie is ``intact``,
    ``broken`` (declared, but not one Parameter), ``missing`` (a declared name does not exist) or ``undeclared``; null
    where there is no tie to judge. `repair` is the line of PyTorch that makes a half or broken tie a true one.
    `origin` is who declared a tie that is broken or missing, `missing` the names that do not exist. `storage_bytes` is
    the size of the one storage that all of them lie in, null where there are several.
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
class ForwardError:
    """Say what raised: `phase` is ``forward``, ``loss`` or ``backward``; `module` the innermost one of a forward."""

    module: str
    message: str
    phase: str = "forward"


@dataclass(frozen=True)
class Forward:
    """Record the one forward pass: what went in, what came out, the loss.

    `loss` is null where it is not finite or not known; `loss_finite` tells the two apart. `origin` says who chose the
    input: ``--input``, ``example_input_array``, ``dummy_inputs``, ``inferred``, ``given``; null for a spec's own.
    """

    input: tuple[TensorInfo, ...]
    output: tuple[TensorInfo, ...] = ()
    loss: float | None = None
    loss_name: str | None = None
    backward: bool = False
    error: ForwardError | None = None
    loss_finite: bool | None = None
    origin: str | None = None


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


@dataclass(frozen=True)
class LayerOut:
    """Summarise what a module returned."""

    mean: float | None = None
    rms: float | None = None
    min: Number | None = None
    max: Number | None = None
    nan: int | None = None
    inf: int | None = None


@dataclass(frozen=True)
class LayerGrad:
    """Summarise the gradient that arrived at what a module returned."""

    rms: float | None = None


@dataclass(frozen=True)
class LayerExpected:
    """Hold what theory predicts for a layer, null where it does not reach."""

    out_rms: float | None = None
    grad_rms: float | None = None
    dead: float | None = None


@dataclass(frozen=True)
class Layer:
    """Follow one call of one module, in order of execution."""

    index: int
    module: str
    type: str
    out: LayerOut
    grad: LayerGrad
    expected: LayerExpected = LayerExpected()
    dead: float | None = None
    saturated: float | None = None
    cosine: float | None = None


@dataclass(frozen=True)
class Verdict:
    """Hold a measured value against the expected one; `tolerance` follows from the finite size.

    `where` names the parameter, or the scheme that is compared; `figure` is what was measured: ``mean``, ``std``,
    ``bounds``, ``factor``. `measured` is null where there is no finite number.
    """

    about: str
    verdict: str
    measured: float | None
    expected: float | None = None
    tolerance: float | None = None
    where: str | None = None
    figure: str | None = None


@dataclass(frozen=True)
class Finding:
    """Name what a rule found, and where."""

    rule: str
    severity: str
    where: str
    message: str


@dataclass(frozen=True)
class Failure:
    """One entry of `errors`: the machine-readable twin of the message on stderr."""

    code: str
    message: str
    where: str


@dataclass(frozen=True)
class SignalMoments:
    """Hold the mean and the rms of a tensor's elements, over all seeds."""

    mean: float | None = None
    rms: float | None = None


@dataclass(frozen=True)
class SignalExpected:
    """Hold what theory gives one layer of the signal, null where it does not reach.

    `forward` and `backward` are the factors of the second moments, see `SignalLayer`.
    """

    pre: SignalMoments = SignalMoments()
    out: SignalMoments = SignalMoments()
    grad_rms: float | None = None
    forward: float | None = None
    backward: float | None = None
    dead: float | None = None
    saturated: float | None = None
    cosine: float | None = None


@dataclass(frozen=True)
class SignalHistogram:
    """Count a layer's elements in equal bins from `low` to `high`."""

    low: float
    high: float
    counts: tuple[int, ...]


@dataclass(frozen=True)
class SignalLayer:
    """Follow the signal through one operation, and through the activation that takes what it returned.

    `type` is the class of the module that ran it, or what it does: ``sum`` for a residual one. `depth` counts, from 1,
    the operations that every path from input to output runs through and that have weights or are sums; it is null for
    the others. `pre` is what the operation returned, `out` what the activation made of it (the same where there is
    none), `grad_rms` the rms of the gradient that arrived at `pre`. `forward` is the second moment of `pre` over that
    of the depth before, `backward` the second moment of the gradient at `pre` over that of the depth after; each has
    `tolerance`, the widest that ln factor may stray in a net of this width. `dead` is the share of units that are off
    for the whole batch, `saturated` the share of elements where the activation is flat, `symmetric` how many units
    have the weights and the bias of an earlier one; `cosine` is the mean one between the activations of two samples,
    `rank` their effective rank (Roy & Vetterli 2007), of the first 64 samples where there are more.
    """

    index: int
    module: str
    type: str
    depth: int | None = None
    activation: str | None = None
    parameter: str | None = None
    fan_in: int | None = None
    width: int | None = None
    pre: SignalMoments = SignalMoments()
    out: SignalMoments = SignalMoments()
    grad_rms: float | None = None
    forward: float | None = None
    backward: float | None = None
    tolerance: float | None = None
    dead: float | None = None
    saturated: float | None = None
    symmetric: int | None = None
    cosine: float | None = None
    rank: float | None = None
    nonfinite: int = 0
    expected: SignalExpected = SignalExpected()
    pre_histogram: SignalHistogram | None = None
    out_histogram: SignalHistogram | None = None
    note: str | None = None


@dataclass(frozen=True)
class Course:
    """Judge the signal's way through depth in one direction.

    `verdict` is ``steady``, ``vanishing``, ``exploding``, ``dead`` (exactly 0 from some depth on), ``nonfinite`` or
    ``unknown`` (too shallow, or not followed); `law` is ``exponential``, ``power law`` or ``constant``, null where the
    depth is too small to tell. `factor` is the geometric mean per layer of the factors of second moments, `expected`
    what theory gives, `low` and `high` the band around 1 in which a healthy net of these widths stays. `exponent` is
    the power of the depth where the law is one. `first` and `last` are the rms at the first and the last depth that
    the signal comes to, of a gradient the norm. `leaves` is the depth at which the rms, relative to the one it started
    with, leaves [1e-3, 1e3]: measured where `extrapolated` is false.
    """

    verdict: str = "unknown"
    law: str | None = None
    factor: float | None = None
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    exponent: float | None = None
    first: float | None = None
    last: float | None = None
    leaves: int | None = None
    extrapolated: bool = False


@dataclass(frozen=True)
class Signal:
    """Follow the signal forward, and a random cotangent of norm 1 backward, through every layer, over `seeds` seeds.

    `input_rms` is that of the input. `regime` is ``ordered``, ``critical`` or ``chaotic``; `chi1` the factor of the
    gradient's second moment per layer that theory gives there (χ₁), `xi_q` and `xi_c` the depth scales of the second
    moment and of the correlation, null where the layers differ or theory does not reach. `fluctuation` is Σ 1/n over
    the widths. `notes` say what could not be followed.
    """

    seeds: int
    samples: int | None = None
    input_rms: float | None = None
    layers: tuple[SignalLayer, ...] = ()
    forward: Course = Course()
    backward: Course = Course()
    regime: str | None = None
    chi1: float | None = None
    xi_q: float | None = None
    xi_c: float | None = None
    fluctuation: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trial:
    """Hold how one scheme, at one width and depth of the model, carries the signal.

    `q_last` is the second moment of what the last layer returned, before an activation; `gradient_ratio` the norm of
    the gradient at the first layer over that at the last. `dead` and `saturated` are shares over all layers that can
    be. `loss` is the mean over seeds, `expected_loss` ln C where it is a classifier's. `unsteadiness` is what trials
    are ranked by, smaller is better: the sum of |ln factor| forward and backward; null where one of them is not known,
    or the trial failed, with `error`.
    """

    scheme: str
    width: int | None = None
    depth: int | None = None
    signal: Signal | None = None
    q_last: float | None = None
    gradient_ratio: float | None = None
    dead: float | None = None
    expected_dead: float | None = None
    saturated: float | None = None
    loss: float | None = None
    expected_loss: float | None = None
    unsteadiness: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class Slope:
    """Check one layer's coordinates across widths: the slope of ln rms against ln width, of what is called `figure`.

    `figure` is ``pre``, ``out`` or ``gradient``. `tolerance` follows from the widths and the seeds; `expected` is the
    slope that theory gives, null where it does not reach. Of `pre` and `out` it is 0 where the scheme suits any width.
    """

    scheme: str
    layer: str
    figure: str
    slope: float
    tolerance: float | None = None
    expected: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Set schemes side by side on the same model, input and seeds; `steadiest` is the best one, and why.

    The trials are in the order of the schemes, those of one scheme in the order of the widths or depths.
    """

    seeds: int
    trials: tuple[Trial, ...] = ()
    steadiest: str | None = None
    reason: str | None = None
    slopes: tuple[Slope, ...] = ()


@dataclass(frozen=True)
class Edit:
    """Prove that a change in place left gradients and graph alone.

    `gradients_unchanged` compares the bits of every `.grad`; `graph_unchanged` that each parameter is the same
    leaf object. The outputs are those of the same input before and after the change.
    """

    operation: str
    value: float
    parameters: tuple[str, ...]
    gradients_unchanged: bool | None
    graph_unchanged: bool
    output_before: TensorInfo | None = None
    output_after: TensorInfo | None = None
    loss_before: float | None = None
    loss_after: float | None = None


@dataclass(frozen=True)
class Source:
    """Say where the model came from: `kind` is ``spec``, ``module`` or ``checkpoint``."""

    kind: str
    name: str
    path: str | None = None


@dataclass(frozen=True)
class Environment:
    """Say what ran, where, in which dtype and from which seed."""

    paraminspect: str
    torch: str | None
    python: str
    device: str
    dtype: str
    seed: int | None


@dataclass(frozen=True)
class Model:
    """Name the module's class and print it as PyTorch does."""

    type: str
    repr: str


@dataclass(frozen=True)
class Report:
    """Everything one command found."""

    command: str
    source: Source
    environment: Environment
    model: Model | None = None
    parameters: tuple[Parameter, ...] = ()
    totals: Totals = Totals()
    sharing: tuple[Sharing, ...] = ()
    forward: Forward | None = None
    uses: tuple[Use, ...] = ()
    layers: tuple[Layer, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    findings: tuple[Finding, ...] = ()
    errors: tuple[Failure, ...] = ()
    edit: Edit | None = None
    notes: tuple[str, ...] = ()
    signal: Signal | None = None
    comparison: Comparison | None = None
    initialisation: Initialisation | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON report: plain dicts and lists, non-finite numbers as None, keys in a fixed order."""
        return {"schema": SCHEMA, "version": VERSION, **_plain(self)}


def _plain(value: Any) -> Any:
    """Turn dataclasses into dicts and tuples into lists; JSON has no NaN and no infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return {name: _plain(item) for name, item in vars(value).items()}
