"""Change values in place and prove that gradients and graph were left alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from paraminspect.analysis.inventory import TensorEntry, take_inventory
from paraminspect.analysis.passes.failing_module import explain
from paraminspect.analysis.passes.forward_backward import ForwardBackward, loss_value
from paraminspect.analysis.passes.losses import compute_loss
from paraminspect.analysis.statistics.contents import numbers_of
from paraminspect.analysis.statistics.tensor_values import measure
from paraminspect.errors import UserError
from paraminspect.experiments.assembly import describe, report_of
from paraminspect.experiments.measured import Measured, apply_and_measure, with_new_tensors
from paraminspect.experiments.measured_run import Start, guarded, run_from, start_of
from paraminspect.experiments.modes_and_names import looking_at
from paraminspect.experiments.selection import Request, Scope, scope_of
from paraminspect.init.rules import BoundRule
from paraminspect.isolation.torch_state import around
from paraminspect.isolation.untouched import CopyOnWrite
from paraminspect.modules.nested_tensors import dtype_name, same_bits, tensors_in
from paraminspect.modules.subject import Subject
from paraminspect.report import Edit, Report, TensorInfo

OPERATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "add": Tensor.add_,
    "mul": Tensor.mul_,
    "fill": Tensor.fill_,
}

_Outcome = tuple[list[Tensor], float | None]
_NO_OUTCOME: _Outcome = ([], None)


def edit(subject: Subject, request: Request, rules: tuple[BoundRule, ...], operation: str, value: float) -> Report:
    """Run the passes, change the parameters that ``request.params`` selects, run the forward again on the same input.

    Random numbers that the second forward draws (dropout) are those of the first. Raises UserError when the glob
    matches no parameter, or the value does not fit the dtype.
    """
    with looking_at(subject) as seen:
        return _edited(seen, request, rules, operation, value)


def _edited(subject: Subject, request: Request, rules: tuple[BoundRule, ...], operation: str, value: float) -> Report:
    inventory = take_inventory(subject.module)
    scope = scope_of(subject.module, inventory, request.layer)
    subject = subject.settled()
    with guarded(inventory) as mode:
        measured = apply_and_measure(subject, scope, rules, request)
        start = start_of(measured)
        passes = run_from(start, measured, request, mode)
        measured = with_new_tensors(measured, passes, request)
        chosen = _chosen(scope, request, subject.source.name)
        witness = _Witness(subject.module)
        outputs, loss = _outcome(passes.output, passes.loss) if passes else _NO_OUTCOME
        measured = _changed(measured, chosen, operation, value)
        outputs_after, loss_after = _forward_again(subject, start, passes, mode)
        report = report_of(measured, request, start, passes)
        proof = Edit(
            operation=operation,
            value=value,
            parameters=tuple(entry.name for entry in chosen),
            gradients_unchanged=witness.gradients_unchanged(),
            graph_unchanged=witness.graph_unchanged(),
            output_before=_first(outputs),
            output_after=_first(outputs_after),
            loss_before=loss,
            loss_after=loss_after,
        )
    return replace(report, edit=proof, verdicts=())


def _chosen(scope: Scope, request: Request, source: str) -> list[TensorEntry]:
    chosen = [entry for entry in scope.inventory.of_kind("parameter") if request.selects(entry.names)]
    if not chosen and request.params:
        raise request.nothing_selected(scope.inventory)
    if not chosen:
        raise UserError("the model has no parameters to edit", where=source, code="no-parameters")
    return chosen


class _Witness:
    """Remember every gradient's bits and every parameter's place in the graph before the change."""

    def __init__(self, module: nn.Module) -> None:
        self.parameters = list(module.parameters())
        self.gradients = [None if p.grad is None else p.grad.detach().clone() for p in self.parameters]
        self.places = [self._place(p) for p in self.parameters]
        self.module = module

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


def _changed(measured: Measured, chosen: Sequence[TensorEntry], operation: str, value: float) -> Measured:
    """Change in place under no_grad; return what was measured with the values right before and right after."""
    before, after, numbers = {}, dict(measured.values), dict(measured.numbers)
    for entry in chosen:
        key = id(entry.tensor)
        if entry.lazy:
            message = f"parameter {entry.name!r} has no shape yet"
            raise UserError(message, where="--params", hint="give the layer its sizes", code="lazy-parameter")
        _check_value(entry, operation, value)
        before[key] = measure(entry.tensor)
        try:
            with torch.no_grad():
                OPERATIONS[operation](entry.tensor, value)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"cannot {operation} {value}: {reason}", where=entry.name, code="bad-value") from error
        after[key] = measure(entry.tensor)
        if numbers:
            numbers[key] = numbers_of(entry.tensor)
    return replace(measured, before=before, values=after, numbers=numbers)


def _check_value(entry: TensorEntry, operation: str, value: float) -> None:
    """Refuse what the parameter's dtype cannot hold, as the schemes do."""
    dtype = entry.tensor.dtype
    largest = torch.finfo(dtype).max if dtype.is_floating_point else math.inf
    if not math.isfinite(value) or abs(value) > largest:
        message = f"{value:g} does not fit {entry.name!r}, which is {dtype_name(dtype)}"
        raise UserError(message, where=f"--{operation}", hint=f"the largest is {largest:g}", code="bad-value")


def _outcome(output: Any, loss: Tensor | None) -> _Outcome:
    return tensors_in(output), loss_value(loss)


def _forward_again(
    subject: Subject, start: Start | None, passes: ForwardBackward | None, mode: CopyOnWrite
) -> _Outcome:
    """Return outputs and loss of the changed module on the same input, with the same random numbers."""
    if start is None or passes is None or passes.error:
        return _NO_OUTCOME
    start.rewind()
    try:
        with torch.no_grad(), around(subject.foreign, mode):
            output = subject.module(*start.batch.args, **start.batch.kwargs)
            return _outcome(output, compute_loss(subject.loss, output))
    except (Exception, SystemExit) as error:
        failed = explain(error, None, "forward").message
        message = f"the forward after the change failed: {failed}"
        raise UserError(message, where=subject.source.name, code="forward-failed") from error


def _first(tensors: list[Tensor]) -> TensorInfo | None:
    return describe(tensors[0], wanted=True) if tensors else None
