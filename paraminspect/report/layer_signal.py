"""The layers of a report: what each call of a module returned, and the signal that went through them."""

from __future__ import annotations

from paraminspect.frozen import dataclass
from paraminspect.report.tensors import Number


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
    grad_norm: float | None = None


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
    the weights and the sums that every path from input to output runs through, at what they hand on (a convolution's at
    the BatchNorm behind it); it is null for the others. `pre` is what the operation returned, `out` what the activation
    made of it (the same where there is none), `grad_rms` and `grad_norm` the rms and the norm of the gradient that
    arrived at `pre`. `forward` is the second moment of `pre` (rms²) over that of the depth before, `backward` the
    squared norm of the gradient over that of the depth after, which needs no word of the widths; each has `tolerance`,
    the widest that ln factor may stray in a net of this width. `dead` is the share of units that are off for the whole
    batch, `saturated` the share of elements where the activation is flat, `symmetric` how many units have the weights
    and the bias of an earlier one; `cosine` is the mean one between the activations of two samples, `rank` their
    effective rank (Roy & Vetterli 2007), of the first 64 samples where there are more; both are null where it is not
    known which dimension counts the samples. `output` is what torch calls this one of the outputs, of an LSTM
    ``output``, ``h_n`` or ``c_n``, null where there is but one.
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
    grad_norm: float | None = None
    output: str | None = None


@dataclass(frozen=True)
class Course:
    """Judge the signal's way through depth in one direction.

    `verdict` is ``steady``, ``vanishing``, ``exploding``, ``dead`` (exactly 0 from some depth on), ``nonfinite`` or
    ``unknown`` (too shallow, or not followed); `law` is ``exponential``, ``power law`` or ``constant``, null where the
    depth is too small to tell. `factor` is that of rms² forward, of the gradient's squared norm backward, per depth:
    the geometric mean of the steps, without one that stands out; where theory does not have the whole way the median
    over all pairs of depths, so that no single step decides (Theil 1950, Sen 1968). `expected` is what theory gives,
    `low` and `high` the band around 1 that counts as steady: what the widths explain, and no less than a change by 4.5
    in rms from end to end, or by 1e3 where theory does not have the whole way. `depths` are the first and the last
    depth that are judged, `step` the factor of the one step from depth `step_at` that stands out, `reason` says why the
    verdict is unknown. `exponent` is the power of the depth where the law is one. `first` and `last` are the rms at the
    first and the last depth that the signal comes to, of a gradient the norm. `leaves` is the depth at which the rms,
    relative to the one it started with, leaves [1e-3, 1e3]: measured where `extrapolated` is false.
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
    depths: tuple[int, int] | None = None
    step: float | None = None
    step_at: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Signal:
    """Follow the signal forward, and a random cotangent of norm 1 backward, through every layer, over `seeds` seeds.

    `samples` is their number in the batch, null for an input without one, and `input_rms` the rms of the input.
    `regime` is ``ordered``, ``critical`` or ``chaotic``; `chi1` the factor of the gradient's second moment per layer
    that theory gives there (χ₁), `xi_q` and `xi_c` the depth scales of the second moment and of the correlation, null
    where the layers differ or theory does not reach. `fluctuation` is Σ 1/n over
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
