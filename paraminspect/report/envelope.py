"""The report as a whole: where it came from, what ran, what was found, what went wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import field
from typing import Any, Final

from paraminspect.frozen import dataclass
from paraminspect.report.checkpoint_contents import CheckpointFiles, TensorRows
from paraminspect.report.comparison import Comparison
from paraminspect.report.difference import Difference
from paraminspect.report.layer_signal import Layer, Signal
from paraminspect.report.layer_tree import TreeLayer, Uncounted
from paraminspect.report.step_memory import Fits, StepMemory
from paraminspect.report.tensors import Initialisation, Parameter, Sharing, TensorInfo, Totals, Use

SCHEMA = "paraminspect.report"
SCHEMA_OF_SEVERAL = "paraminspect.reports"
VERSION = 1


NO_INPUT_HELPS: Final = ("code", "layers")
"""What a failed forward is about where another input fails too."""


@dataclass(frozen=True)
class ForwardError:
    """Say what raised: `phase` is ``forward``, ``loss`` or ``backward``; `module` the innermost one of a forward.

    `about` is ``code`` where something is missing that no input brings, as a package, ``layers`` where a layer takes
    another size than the one before it returns, ``input`` where a layer wants another input than was given: `wanted`,
    as ``--input`` takes it. It is null where that is not known.
    """

    module: str
    message: str
    phase: str = "forward"
    about: str | None = None
    wanted: str | None = None


@dataclass(frozen=True)
class Forward:
    """Record the one forward pass: what went in, what came out, the loss.

    `loss` is null where it is not finite or not known; `loss_finite` tells the two apart. `origin` says who chose the
    input: ``--input``, ``given``, null for a spec's own; what the model says of it, as ``example_input_array``,
    ``dummy_inputs``, ``config``, ``pretrained_cfg``; ``inferred`` from the first layer.
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
class Attempt:
    """Record an input that nobody gave and that did not fit: where it came from, and how the forward failed on it."""

    origin: str
    input: tuple[TensorInfo, ...]
    error: ForwardError


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
class Headline:
    """Say in one sentence whether something is wrong, and of several things the one that matters most.

    `tone` is ``fine`` (nothing found), ``note`` (worth knowing, nothing has to be done), ``warning`` or ``error``.
    `about` names the sort of problem in a word: ``failed``, ``nonfinite``, ``uninitialised``, ``forgotten``,
    ``disconnected``, ``unused``, ``tie``, ``overlap``, ``scheme``, ``vanishing``, ``exploding``, ``dead``, …; ``none``
    where there is none. `hint` is what to try, `more` how many further ones there are.
    """

    tone: str
    about: str
    text: str
    hint: str = ""
    more: int = 0


@dataclass(frozen=True)
class Finding:
    """Say what a rule found: `names` are the parameters, modules or files it is about, none for the model as a whole.

    `where` is the first of them, `hint` what to try.
    """

    rule: str
    severity: str
    where: str
    message: str
    names: tuple[str, ...] = ()
    hint: str = ""


@dataclass(frozen=True)
class Failure:
    """One entry of `errors`: the machine-readable twin of the message on stderr."""

    code: str
    message: str
    where: str


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
    """Say where the model came from: `kind` is ``spec``, ``module`` or ``checkpoint``.

    `options` made it what it is, as they were typed, a word each: ``--arg=depth=2``, ``--eval``.
    """

    kind: str
    name: str
    path: str | None = None
    options: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Return what a person would type for it: the file, of code also what is in it, or the name."""
        return self.name if self.kind == "module" else self.path or self.name


@dataclass(frozen=True)
class Environment:
    """Say what ran, where, in which dtype, from which seed and in which mode.

    `mode` is ``train`` or ``eval`` where all modules are in it, else ``mixed``; `modules_training` and `modules_eval`
    count them. `mode_origin` is the option that set it, ``as given`` where none did. `weights` is the file whose
    tensors were loaded into the model before anything else. `seeds` is how many followed each other, from `seed` on,
    where there were several.
    """

    paraminspect: str
    torch: str | None
    python: str
    device: str
    dtype: str
    seed: int | None
    mode: str | None = None
    mode_origin: str | None = None
    modules_training: int | None = None
    modules_eval: int | None = None
    weights: str | None = None
    seeds: int | None = None


@dataclass(frozen=True)
class Model:
    """Name the module's class and print it as PyTorch does.

    `prefix` stands before every name of the report in the module itself: ``module.`` in a DataParallel.
    """

    type: str
    repr: str
    prefix: str = ""


@dataclass(frozen=True)
class Report:
    """Everything one command found; `layers` are the calls in order of execution, of `summary` the tree of modules."""

    command: str
    source: Source
    environment: Environment
    model: Model | None = None
    parameters: Sequence[Parameter] = ()
    totals: Totals = field(default_factory=Totals)
    sharing: tuple[Sharing, ...] = ()
    forward: Forward | None = None
    uses: tuple[Use, ...] = ()
    layers: tuple[TreeLayer | Layer, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    findings: tuple[Finding, ...] = ()
    errors: tuple[Failure, ...] = ()
    edit: Edit | None = None
    notes: tuple[str, ...] = ()
    signal: Signal | None = None
    comparison: Comparison | None = None
    initialisation: Initialisation | None = None
    uncounted: tuple[Uncounted, ...] = ()
    memory: StepMemory | None = None
    fits: Fits | None = None
    headline: Headline | None = None
    attempts: tuple[Attempt, ...] = ()
    checkpoint: CheckpointFiles | None = None
    difference: Difference | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON report: plain dicts and lists, non-finite numbers as None, keys in a fixed order."""
        return {"schema": SCHEMA, "version": VERSION, **_plain(self)}


def _plain(value: Any) -> Any:
    """Turn dataclasses into dicts and tuples into lists; JSON has no NaN and no infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, (tuple, list, TensorRows)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return {name: _plain(item) for name, item in vars(value).items()}
