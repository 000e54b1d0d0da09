"""Turn what a run measured into a Report of plain values."""

from __future__ import annotations

import math
import platform
from dataclasses import replace

import torch
from torch import Tensor

from paraminspect import __version__
from paraminspect.analysis.inventory.model_inventory import count
from paraminspect.analysis.inventory.small_tensors import Numbers, numbers_of
from paraminspect.analysis.passes import gradients
from paraminspect.analysis.passes.forward_backward import loss_value
from paraminspect.experiments.printed import printed
from paraminspect.experiments.rows import rows_of, selected
from paraminspect.experiments.run import Request, State, relative
from paraminspect.experiments.selection import arranged
from paraminspect.modules.nested import tensors_in
from paraminspect.modules.subject import Subject
from paraminspect.modules.tensor_identity import dtype_name
from paraminspect.modules.walk import names_of_parameters
from paraminspect.report import Environment, Failure, Forward, Layer, Model, Parameter, Report, Sharing, TensorInfo, Use
from paraminspect.sources.examples import doubt


def assemble(state: State, request: Request) -> Report:
    """Turn what was measured into a Report."""
    subject = state.subject
    rows, verdicts = rows_of(state, request)
    totals = count(state.inventory)
    _check_sum(state, totals.parameters if request.params else _numel(rows))
    rows = arranged(rows, request.sort, request.top)
    return Report(
        command=request.command,
        source=subject.source,
        environment=_environment(subject),
        model=Model(type(state.scope).__name__, printed(state)),
        parameters=rows,
        totals=replace(totals, shown=_numel(rows)),
        sharing=_sharing(state, request),
        forward=_forward(state, request),
        uses=_uses(state, request),
        layers=_layers(state, request),
        verdicts=verdicts,
        errors=_errors(state),
        notes=_notes(state, request),
        initialisation=state.initialisation,
    )


def _numel(rows: tuple[Parameter, ...]) -> int:
    return sum(row.numel or 0 for row in rows if row.kind == "parameter")


def _check_sum(state: State, total: int) -> None:
    """Refuse to print rows that do not add up to what torch counted before the forward, where it can count."""
    if state.counted is None:
        return
    parameters = state.inventory.of_kind("parameter")
    truth = state.counted + sum(entry.numel or 0 for entry in parameters if id(entry.tensor) in state.lazy)
    if total != truth:
        raise AssertionError(f"the rows add up to {total:,} parameters, the module has {truth:,}")


def _notes(state: State, request: Request) -> tuple[str, ...]:
    """Return what the report leaves out: the forward, and names that lie outside the layer that is shown alone."""
    notes = [*state.inventory.notes, *state.notes]
    if any(one.tensor.is_meta and id(one.tensor) in state.applied for one in state.inventory.of_kind("parameter")):
        notes.append("nothing was drawn on the meta device: its tensors hold no numbers")
    if request.forward and state.subject.make_input is None:
        notes.append(state.subject.why_no_input)
    if state.passes and state.passes.constant:
        notes.append(state.passes.constant)
    if request.layer is not None:
        everywhere = {id(parameter): names for parameter, names in names_of_parameters(state.subject.module)}
        for entry in state.inventory.of_kind("parameter"):
            outside = [name for name in everywhere[id(entry.tensor)] if relative(name, request.layer) is None]
            if outside:
                layer = f"layer {request.layer!r}"
                notes.append(f"{entry.name!r} of {layer} is one Parameter with {', '.join(outside)}, outside of it")
    return tuple(notes)


def _environment(subject: Subject) -> Environment:
    first = next((parameter for parameter, _ in names_of_parameters(subject.module)), None)
    return Environment(
        paraminspect=__version__,
        torch=str(torch.__version__),
        python=platform.python_version(),
        device=str(first.device) if first is not None else "cpu",
        dtype=dtype_name(first.dtype if first is not None else torch.get_default_dtype()),
        seed=subject.seed,
    )


def _forward(state: State, request: Request) -> Forward | None:
    if state.passes is None or state.batch is None:
        return None
    passes, wanted = state.passes, request.values
    inputs = tuple(
        describe(tensor, wanted, one.name, one.sample) for one in state.batch.given for tensor in tensors_in(one.value)
    )
    loss = loss_value(passes.loss)
    return Forward(
        input=inputs,
        output=tuple(describe(tensor, wanted) for tensor in tensors_in(passes.output)),
        loss=loss,
        loss_name=state.subject.loss.name,
        backward=passes.backward,
        error=passes.error,
        loss_finite=None if loss is None else math.isfinite(loss),
        origin=state.batch.origin or None,
    )


def describe(tensor: Tensor, wanted: bool, name: str | None = None, sample: str | None = None) -> TensorInfo:
    """Describe a tensor that went in or came out, with its elements when they are wanted and few."""
    numbers = numbers_of(tensor.detach()) if wanted else Numbers()
    dtype = dtype_name(tensor.dtype)
    return TensorInfo(name, tuple(tensor.shape), dtype, str(tensor.device), sample, numbers.data, numbers.text)


def _sharing(state: State, request: Request) -> tuple[Sharing, ...]:
    """Return the groups that hold a selected name."""
    chosen = {name for entry in state.inventory.entries if selected(entry, request.params) for name in entry.names}
    return tuple(group for group in state.sharing if not (request.params and chosen.isdisjoint(group.names)))


def _uses(state: State, request: Request) -> tuple[Use, ...]:
    if state.passes is None:
        return ()
    names = {id(entry.tensor): entry.name for entry in state.inventory.entries if selected(entry, request.params)}
    wanted = request.values or not request.all_uses  # printing the elements of thousands of uses takes seconds
    found = gradients.uses_of(state.passes, names, wanted)
    paths = [relative(use.module, request.layer) for use in found]
    return tuple(use if path is None else replace(use, module=path) for use, path in zip(found, paths, strict=True))


def _layers(state: State, request: Request) -> tuple[Layer, ...]:
    if state.passes is None:
        return ()
    if request.layer is None:
        return state.passes.layers()
    found = ((layer, relative(layer.module, request.layer)) for layer in state.passes.layers())
    return tuple(replace(layer, module=path) for layer, path in found if path is not None)


def _errors(state: State) -> tuple[Failure, ...]:
    error = state.passes.error if state.passes else None
    if error is None:
        return ()
    where = f"layer {error.module!r}" if error.module else error.phase
    guessed = doubt(state.batch) if state.batch and error.phase == "forward" else ""
    message = "; ".join(filter(None, (f"the {error.phase} failed: {error.message}", guessed)))
    return (Failure(f"{error.phase}-failed", message, where),)
