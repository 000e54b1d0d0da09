"""The Report of what was measured: plain values, never a tensor."""

from __future__ import annotations

import contextlib
import math
import platform
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import filterfalse

import torch
from torch import Tensor, nn

from paraminspect import __version__
from paraminspect.analysis.inventory import Inventory, TensorEntry, count
from paraminspect.analysis.passes.forward_backward import ForwardBackward, loss_value, uses_of
from paraminspect.analysis.statistics.contents import Numbers, numbers_of
from paraminspect.experiments.facts_for_rules import facts_for_rules
from paraminspect.experiments.measured import Measured
from paraminspect.experiments.measured_run import Start
from paraminspect.experiments.modes_and_names import modes_of
from paraminspect.experiments.parameter_rows import rows_of
from paraminspect.experiments.selection import Request, Scope, in_order
from paraminspect.isolation import user_code
from paraminspect.modules.nested_tensors import dtype_name, tensors_in
from paraminspect.modules.subject import Batch, Subject
from paraminspect.modules.walk import names_of_parameters
from paraminspect.report import (
    Environment,
    Failure,
    Forward,
    ForwardError,
    Layer,
    Model,
    Parameter,
    Report,
    Sharing,
    TensorInfo,
    Use,
)
from paraminspect.sources.examples import doubt
from paraminspect.text.escape import clean, some_names
from paraminspect.text.numbers import plural


def report_of(
    measured: Measured, request: Request, start: Start | None = None, passes: ForwardBackward | None = None
) -> Report:
    """Return the Report; without `passes` there was no forward.

    Raises AssertionError rather than return rows that do not add up to the parameters of the module.
    """
    scope = measured.scope
    rows, verdicts = rows_of(measured, passes, request)
    if request.command == "check":
        verdicts = (*verdicts, *facts_for_rules(scope.inventory, rows, passes))
    totals = count(scope.inventory)
    _check_sum(measured, totals.parameters if request.params else _numel(rows))
    rows = in_order(rows, request.sort, request.top)
    report = Report(
        command=request.command,
        source=measured.subject.source,
        environment=_environment(scope.whole, measured.subject),
        model=Model(type(scope.module).__name__, _printed(scope, measured.subject.foreign), measured.subject.prefix),
        parameters=rows,
        totals=replace(totals, shown=_numel(rows)),
        sharing=_sharing(measured, request),
        verdicts=verdicts,
        notes=tuple(_notes(measured, passes, request)),
        initialisation=measured.initialisation,
        attempts=measured.subject.attempts,
    )
    if start is None or passes is None:
        return report
    return replace(
        report,
        forward=forward_of(measured, start, passes, request.values),
        uses=_uses(scope, passes, request),
        layers=tuple(_layers(scope, passes)),
        errors=errors_of(start, passes),
    )


def _numel(rows: tuple[Parameter, ...]) -> int:
    return sum(row.numel or 0 for row in rows if row.kind == "parameter")


def _check_sum(measured: Measured, total: int) -> None:
    """Refuse to print rows that do not add up to what torch counted before the forward, where it can count."""
    if measured.counted is None:
        return
    parameters = measured.scope.inventory.of_kind("parameter")
    truth = measured.counted + sum(entry.numel or 0 for entry in parameters if id(entry.tensor) in measured.lazy)
    if total != truth:
        raise AssertionError(f"the rows add up to {total:,} parameters, the module has {truth:,}")


def _notes(measured: Measured, passes: ForwardBackward | None, request: Request) -> Iterator[str]:
    """Say what the report leaves out: the forward, and names that lie outside the layer that is shown alone."""
    scope, subject = measured.scope, measured.subject
    parameters = scope.inventory.of_kind("parameter")
    yield from subject.notes
    yield from scope.inventory.notes
    yield from _without_numbers(parameters)
    if passes is not None:
        yield from _changes(scope.whole, subject.module)
        yield from passes.notes
    if any(one.tensor.is_meta and id(one.tensor) in measured.applied for one in parameters):
        yield "nothing was drawn on the meta device: its tensors hold no numbers"
    if request.forward and subject.make_input is None and subject.why_no_input:
        yield subject.why_no_input
    if passes is not None and passes.constant:
        yield passes.constant
    if scope.layer is not None:
        everywhere = {id(entry.tensor): entry.names for entry in scope.whole.of_kind("parameter")}
        for entry in parameters:
            outside = [name for name in everywhere[id(entry.tensor)] if scope.relative(name) is None]
            if outside:
                layer = f"layer {scope.layer!r}"
                yield f"{entry.name!r} of {layer} is one Parameter with {', '.join(outside)}, outside of it"


def _without_numbers(parameters: Sequence[TensorEntry]) -> Iterator[str]:
    """Say which parameters of a model that is only in part materialised hold no numbers."""
    meta = [entry.name for entry in parameters if not entry.lazy and entry.tensor.is_meta]
    if meta and len(meta) < len(parameters):
        tensors = plural(len(parameters), "tensor")
        yield f"{len(meta):,} of {tensors} are on the meta device and hold no numbers: {some_names(meta)}"


def _changes(whole: Inventory, module: nn.Module) -> Iterator[str]:
    """Say which parameters the forward registered or removed: the rows are what was there before."""
    before = dict.fromkeys(name for entry in whole.of_kind("parameter") for name in entry.names)
    now = dict.fromkeys(name for _, names in names_of_parameters(module) for name in names)
    new, gone = [name for name in now if name not in before], [name for name in before if name not in now]
    if new:
        yield f"the forward registered {some_names(new)}: the rows are what was there before"
    if gone:
        yield f"the forward removed {some_names(gone)}: the rows are what was there before"


def _environment(whole: Inventory, subject: Subject) -> Environment:
    modes = modes_of(subject, whole.walked)
    first = next((entry.tensor for entry in whole.of_kind("parameter")), None)
    return Environment(
        paraminspect=__version__,
        torch=str(torch.__version__),
        python=platform.python_version(),
        device=str(first.device) if first is not None else "cpu",
        dtype=dtype_name(first.dtype if first is not None else torch.get_default_dtype()),
        seed=subject.seed,
        mode=modes.word,
        mode_origin=modes.origin,
        modules_training=modes.training,
        modules_eval=modes.evaluating,
        weights=subject.loading.path if subject.loading else None,
    )


def _printed(scope: Scope, foreign: bool) -> str:
    """Return the module's repr; a name in it stays on its line, so that it cannot pass for lines of the report."""
    text = _repr(scope, foreign)
    names = {path.rpartition(".")[2] for path in scope.inventory.modules}
    for name in filterfalse(str.isprintable, names):
        broken = "\n *".join(map(re.escape, name.split("\n")))  # PyTorch indents what follows a newline
        shown = f"({clean(name, limit=None)}): "
        text = re.sub(rf"\({broken}\): ", shown.replace("\\", r"\\"), text)
    return text


def _repr(scope: Scope, foreign: bool) -> str:
    """Return the module's repr, or why there is none: it may be the user's code, and torch's own visits every path."""
    kind = type(scope.module).__name__
    if scope.inventory.cut:
        return f"{kind} (its repr would not end: modules go by too many names)"
    try:
        with user_code.contained() if foreign else contextlib.nullcontext():
            return str.__str__(repr(scope.module))  # of a subclass of str, the text alone
    except (Exception, SystemExit) as error:
        return f"{kind} (its repr failed: {type(error).__name__})"


def _sharing(measured: Measured, request: Request) -> tuple[Sharing, ...]:
    """Return the groups that hold a selected name."""
    entries = measured.scope.inventory.entries
    chosen = {name for entry in entries if request.selects(entry.names) for name in entry.names}
    return tuple(group for group in measured.sharing if not (request.params and chosen.isdisjoint(group.names)))


# --- the forward -----------------------------------------------------------------------------------------------


def forward_of(measured: Measured, start: Start, passes: ForwardBackward, wanted: bool = False) -> Forward:
    """Record what went in and what came out of the passes, with the elements of small tensors where they are wanted."""
    loss = loss_value(passes.loss)
    return Forward(
        input=described_input(start.batch, wanted),
        output=tuple(describe(tensor, wanted) for tensor in tensors_in(passes.output)),
        loss=loss,
        loss_name=measured.subject.loss.name,
        backward=passes.backward,
        error=passes.error,
        loss_finite=None if loss is None else math.isfinite(loss),
        origin=start.batch.origin or None,
    )


def described_input(batch: Batch, wanted: bool) -> tuple[TensorInfo, ...]:
    """Describe every tensor of an input, with the elements of the small ones where they are wanted."""
    given = ((tensor, one) for one in batch.given for tensor in tensors_in(one.value))
    return tuple(describe(tensor, wanted, one.name, one.sample) for tensor, one in given)


def describe(tensor: Tensor, wanted: bool, name: str | None = None, sample: str | None = None) -> TensorInfo:
    """Describe a tensor that went in or came out, with its elements when they are wanted and few."""
    numbers = numbers_of(tensor.detach()) if wanted else Numbers()
    dtype = dtype_name(tensor.dtype)
    return TensorInfo(name, tuple(tensor.shape), dtype, str(tensor.device), sample, numbers.data, numbers.text)


def _uses(scope: Scope, passes: ForwardBackward, request: Request) -> tuple[Use, ...]:
    names = {id(entry.tensor): entry.name for entry in scope.inventory.entries if request.selects(entry.names)}
    wanted = request.values or not request.all_uses  # printing the elements of thousands of uses takes seconds
    uses = uses_of(passes, names, wanted)
    paths = [scope.relative(use.module) for use in uses]
    return tuple(use if path is None else replace(use, module=path) for use, path in zip(uses, paths, strict=True))


def _layers(scope: Scope, passes: ForwardBackward) -> Iterator[Layer]:
    """Yield the layers inside the scope, by their names as seen from it."""
    for layer in passes.layers():
        path = scope.relative(layer.module)
        if path is not None:
            yield layer if scope.layer is None else replace(layer, module=path)


def errors_of(start: Start, passes: ForwardBackward) -> tuple[Failure, ...]:
    """Return what raised as an error of the report; of a forward on an input that is a guess, it says so."""
    if passes.error is None:
        return ()
    guess = doubt(start.batch) if passes.error.phase == "forward" else ""
    failure = failure_of(passes.error)
    return (replace(failure, message="; ".join(filter(None, (failure.message, guess)))),)


def failure_of(error: ForwardError) -> Failure:
    """Return a forward or a backward that raised as an error of the report."""
    where = f"layer {error.module!r}" if error.module else error.phase
    return Failure(f"{error.phase}-failed", f"the {error.phase} failed: {error.message}", where)
