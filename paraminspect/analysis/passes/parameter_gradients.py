"""What gradient reached each parameter, and what each use of a followed one contributed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from paraminspect.analysis.passes.contributions import NOTHING, dense, largest, summarise, with_status
from paraminspect.analysis.passes.forward_backward import ForwardBackward, arrived, reads
from paraminspect.analysis.passes.ledger import Ledger, Record
from paraminspect.analysis.statistics.contents import numbers_of
from paraminspect.report import Gradient, Use, Verdict

REST = "(not attributed)"


def gradient_of(parameter: Tensor, passes: ForwardBackward | None, wanted: bool = False) -> Gradient:
    """Return the status and the figures of ``parameter.grad`` after the passes.

    `wanted` adds the elements themselves, if they are few.
    """
    if not parameter.requires_grad:
        return Gradient("frozen")
    if passes is None or not passes.backward:
        return Gradient(_without_backward(parameter, passes))
    grad = arrived(parameter, passes)
    if grad is None:
        return Gradient("disconnected" if id(parameter) in reads(passes) else "unused")
    if id(parameter) not in passes.gradients:
        return summarise(grad, wanted)
    shown = numbers_of(dense(grad)) if wanted else NOTHING
    return with_status(passes.gradients[id(parameter)], grad.numel(), shown)


def _without_backward(parameter: Tensor, passes: ForwardBackward | None) -> str:
    """Tell a loss that depends on no parameter from a backward that was not asked for or not reached."""
    reached = passes is not None and passes.loss is not None and not passes.loss.requires_grad
    if passes is None or not reached:
        return "not-run"
    return "disconnected" if id(parameter) in reads(passes) else "unused"


def uses_of(passes: ForwardBackward, names: dict[int, str], wanted: bool = True) -> tuple[Use, ...]:
    """Return the ledger: one entry per use, in order of execution, with that use's own gradient.

    What a parameter's gradient holds beyond its uses comes last. `names` maps the id of each parameter to the name it
    is reported under; `wanted` adds the elements of small gradients.
    """
    if passes.ledger is None:
        return ()
    records = enumerate(passes.ledger.records)
    uses = [_use(record, index, passes, names, wanted) for index, record in records if id(record.parameter) in names]
    rests = enumerate(_rests(passes.ledger, passes, names), start=len(passes.ledger.records))
    return (*uses, *(Use(name, "", REST, index, summarise(rest, wanted)) for index, (name, rest) in rests))


def verdicts_of(passes: ForwardBackward, names: dict[int, str]) -> tuple[Verdict, ...]:
    """Hold the sum of the uses against the gradient, for parameters with several uses or with more than their sum.

    `measured` is the largest difference; `tolerance` what rounding may account for.
    """
    if passes.ledger is None or not passes.backward:
        return ()
    uses = Counter(id(record.parameter) for record in passes.ledger.records if record.gradient is not None)
    rests = dict(_rests(passes.ledger, passes, names))
    found = []
    for key, name in names.items():
        account = passes.ledger.accounts.get(key)
        if name in rests:
            measured = account.difference if account else largest(rests[name])
            tolerance = account.tolerance if account else 0.0
            found.append(Verdict("ledger", "not attributed", measured or 0.0, 0.0, tolerance, name))
        elif account is not None and uses[key] > 1 and account.compared:
            found.append(Verdict("ledger", "reconciles", account.difference, 0.0, account.tolerance, name))
    return tuple(found)


def _rests(ledger: Ledger, passes: ForwardBackward, names: dict[int, str]) -> Iterator[tuple[str, Tensor]]:
    """Yield what the gradients of followed parameters hold beyond their uses: everything, where no use was seen."""
    for key, name in names.items():
        if key in ledger.followed and passes.backward:
            account = ledger.accounts.get(key)
            rest = account.rest if account else ledger.parameters[key].grad
            if rest is not None:
                yield name, rest


def _use(record: Record, index: int, passes: ForwardBackward, names: dict[int, str], wanted: bool) -> Use:
    found = record.gradient if passes.backward else None
    if found is None:
        status = gradient_of(record.parameter, passes).status
        found = Gradient(status if status in ("frozen", "not-run") else "disconnected")
    elif wanted and record.elements is not None:
        shown = numbers_of(record.elements)
        found = replace(found, data=shown.data, text=shown.text)
    return Use(names[id(record.parameter)], record.module, record.op, index, found)
