"""Change values in place and prove that gradients and graph were left alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from paraminspect.analysis.inventory.model_inventory import Entry
from paraminspect.analysis.inventory.small_tensors import numbers_of
from paraminspect.analysis.passes.failing_module import explain
from paraminspect.analysis.passes.forward_backward import Passes, loss_value
from paraminspect.analysis.passes.losses import compute_loss
from paraminspect.analysis.statistics.tensor_values import measure
from paraminspect.errors import UserError
from paraminspect.experiments.assemble import assemble, describe
from paraminspect.experiments.inspect import undisturbed
from paraminspect.experiments.rows import nothing_selected, selected
from paraminspect.experiments.run import Request, State, run
from paraminspect.init.rules import BoundRule
from paraminspect.modules.nested import tensors_in
from paraminspect.modules.subject import Subject
from paraminspect.modules.tensor_identity import dtype_name, same_bits
from paraminspect.report import Edit, Report, TensorInfo

OPERATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "add": Tensor.add_,
    "mul": Tensor.mul_,
    "fill": Tensor.fill_,
}


def edit(subject: Subject, rules: tuple[BoundRule, ...], request: Request, operation: str, value: float) -> Report:
    """Run the passes, change the parameters that ``request.params`` selects, run the forward again on the same input.

    Random numbers that the second forward draws (dropout) are those of the first. Raises UserError when the glob
    matches no parameter, or the value does not fit the dtype.
    """
    with undisturbed(subject.module) as (inventory, mode):
        return _edit(run(subject, rules, request, inventory, mode), request, operation, value)


def _edit(state: State, request: Request, operation: str, value: float) -> Report:
    chosen = [entry for entry in state.inventory.of_kind("parameter") if selected(entry, request.params)]
    if not chosen and request.params:
        raise nothing_selected(state.inventory, request.params)
    if not chosen:
        raise UserError("the model has no parameters to edit", where=state.subject.source.name, code="no-parameters")
    witness = _Witness(state)
    passes = state.passes or Passes()
    first = tensors_in(passes.output), loss_value(passes.loss)
    _change(chosen, operation, value, state)
    second = _forward_again(state)
    report = assemble(state, request)
    proof = Edit(
        operation=operation,
        value=value,
        parameters=tuple(entry.name for entry in chosen),
        gradients_unchanged=witness.gradients_unchanged(),
        graph_unchanged=witness.graph_unchanged(),
        output_before=_first(first[0]),
        output_after=_first(second[0]),
        loss_before=first[1],
        loss_after=second[1],
    )
    return replace(report, edit=proof, verdicts=())


class _Witness:
    """Remember every gradient's bits and every parameter's place in the graph before the change."""

    def __init__(self, state: State) -> None:
        self.parameters = list(state.subject.module.parameters())
        self.gradients = [None if p.grad is None else p.grad.detach().clone() for p in self.parameters]
        self.places = [self._place(p) for p in self.parameters]
        self.module = state.subject.module

    @staticmethod
    def _place(parameter: Tensor) -> tuple[Any, ...]:
        return parameter.is_leaf, parameter.grad_fn, parameter.requires_grad, id(parameter.grad)

    def gradients_unchanged(self) -> bool | None:
        """Compare the bits; None when there is no gradient at all."""
        if all(gradient is None for gradient in self.gradients):
            return None
        return all(_same(p.grad, then) for p, then in zip(self.parameters, self.gradients, strict=True))

    def graph_unchanged(self) -> bool:
        """Tell whether the same objects are parameters, each the same leaf as before."""
        now = list(self.module.parameters())
        same_objects = len(now) == len(self.parameters) and all(map(lambda a, b: a is b, now, self.parameters))
        return same_objects and [self._place(p) for p in now] == self.places


def _same(now: Tensor | None, then: Tensor | None) -> bool:
    if now is None or then is None:
        return now is then
    return same_bits(now, then)


def _change(chosen: list[Entry], operation: str, value: float, state: State) -> None:
    """Change in place under no_grad, and measure right before and right after."""
    for entry in chosen:
        if entry.lazy:
            message = f"parameter {entry.name!r} has no shape yet"
            raise UserError(message, where="--params", hint="give the layer its sizes", code="lazy-parameter")
        _check_value(entry, operation, value)
        state.before[id(entry.tensor)] = measure(entry.tensor)
        try:
            with torch.no_grad():
                OPERATIONS[operation](entry.tensor, value)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"cannot {operation} {value}: {reason}", where=entry.name, code="bad-value") from error
        state.values[id(entry.tensor)] = measure(entry.tensor)
        if state.numbers:
            state.numbers[id(entry.tensor)] = numbers_of(entry.tensor)


def _check_value(entry: Entry, operation: str, value: float) -> None:
    """Refuse what the parameter's dtype cannot hold, as the schemes do."""
    dtype = entry.tensor.dtype
    largest = torch.finfo(dtype).max if dtype.is_floating_point else math.inf
    if not math.isfinite(value) or abs(value) > largest:
        message = f"{value:g} does not fit {entry.name!r}, which is {dtype_name(dtype)}"
        raise UserError(message, where=f"--{operation}", hint=f"the largest is {largest:g}", code="bad-value")


def _forward_again(state: State) -> tuple[list[Tensor], float | None]:
    """Return outputs and loss of the changed module on the same input, with the same random numbers."""
    if state.batch is None or state.passes is None or state.passes.error or state.rewind is None:
        return [], None
    state.rewind()
    try:
        with torch.no_grad(), state.around():
            output = state.subject.module(*state.batch.args, **state.batch.kwargs)
            return tensors_in(output), loss_value(compute_loss(state.subject.loss, output))
    except (Exception, SystemExit) as error:
        failed = explain(error, None, "forward").message
        message = f"the forward after the change failed: {failed}"
        raise UserError(message, where=state.subject.source.name, code="forward-failed") from error


def _first(tensors: list[Tensor]) -> TensorInfo | None:
    return describe(tensors[0], wanted=True) if tensors else None
