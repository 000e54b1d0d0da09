"""What gradient reached each parameter, and what each use of a shared one contributed."""

from __future__ import annotations

from dataclasses import fields

from torch import Tensor

from paraminspect.analysis.ledger import Record
from paraminspect.analysis.numbers import Numbers, numbers_of
from paraminspect.analysis.passes import Passes, reads
from paraminspect.analysis.statistics import measure
from paraminspect.report import Gradient, Use, Values

_FIGURES = tuple(field.name for field in fields(Values) if field.name != "histogram")


def gradient_of(parameter: Tensor, passes: Passes | None, wanted: bool = False) -> Gradient:
    """Return the status and the figures of ``parameter.grad`` after the passes.

    `wanted` adds the elements themselves, if they are few.
    """
    if not parameter.requires_grad:
        return Gradient("frozen")
    if passes is None or not passes.backward:
        return Gradient(_without_backward(parameter, passes))
    if parameter.grad is None:
        return Gradient("disconnected" if id(parameter) in reads(passes) else "unused")
    return summarise(parameter.grad, wanted)


def _without_backward(parameter: Tensor, passes: Passes | None) -> str:
    """Tell a loss that depends on no parameter from a backward that was not asked for or not reached."""
    reached = passes is not None and passes.loss is not None and not passes.loss.requires_grad
    if passes is None or not reached or passes.error:
        return "not-run"
    return "disconnected" if id(parameter) in reads(passes) else "unused"


def summarise(grad: Tensor, wanted: bool = False) -> Gradient:
    """Return the figures of a gradient; on the meta device its status is ``unknown``, not a guess."""
    dense = grad.to_dense() if grad.is_sparse else grad
    values = measure(dense, histogram=False)
    if values is None:
        return Gradient("unknown")
    status = "nonfinite" if values.nan or values.inf else "zero" if values.zeros == dense.numel() else "ok"
    shown = numbers_of(dense) if wanted else Numbers()
    return Gradient(status, **{name: getattr(values, name) for name in _FIGURES}, data=shown.data, text=shown.text)


def uses_of(passes: Passes, names: dict[int, str]) -> tuple[Use, ...]:
    """Return the ledger: one entry per use, in order of execution, with that use's own gradient.

    `names` maps the id of each parameter to the name it is reported under.
    """
    records = passes.ledger.records if passes.ledger else []
    return tuple(_use(record, index, names) for index, record in enumerate(records) if id(record.parameter) in names)


def _use(record: Record, index: int, names: dict[int, str]) -> Use:
    grad = record.view.grad
    found = Gradient("not-run") if grad is None else summarise(grad, wanted=True)
    return Use(names[id(record.parameter)], record.module, record.op, index, found)
