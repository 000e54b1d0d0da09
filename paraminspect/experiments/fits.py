"""The largest batch whose step fits into so many bytes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor

from paraminspect.errors import UserError
from paraminspect.experiments.memory_of_step import Training
from paraminspect.experiments.selection import Request
from paraminspect.experiments.summary import summary
from paraminspect.init.rules import BoundRule
from paraminspect.isolation.torch_state import draw_batch
from paraminspect.modules.nested_tensors import tensors_in
from paraminspect.modules.subject import Batch, Subject
from paraminspect.report import Fits, Report

_MOST = 2**30  # samples: what takes no more memory for all of these has no largest batch


def summary_that_fits(
    subject: Subject, request: Request, rules: tuple[BoundRule, ...], training: Training, limit: int
) -> Report:
    """Return the summary of the largest batch that fits into `limit` bytes, of a batch of 1 where not even that does.

    A training step has to fit, or inference, where no backward is asked for or eval mode is. The batch is dimension 0
    of the inputs. Raises UserError where no input is known, or where the forward of the input as given fails.
    """
    subject = subject.settled()
    if subject.make_input is None:
        message = "needs an input, to make it larger"
        raise UserError(message, where="--fits", hint=subject.why_no_input or "pass --input", code="no-input")
    given = draw_batch(subject.make_input)
    start = _size(given)
    if start is None:
        raise UserError("the input has no dimension 0 to make larger", where="--fits", code="no-input")
    inference = subject.training is False or not request.backward
    reports: dict[int, Report] = {}

    def needs(size: int) -> int | None:
        report = summary(_with_batch(subject, given, start, size), request, rules, training)
        reports[size] = report
        peak = None if report.memory is None else report.memory.inference if inference else report.memory.step
        if peak is None and size == start:
            raise UserError(_why(report), where="--fits", hint="see the same without --fits", code="no-memory")
        return None if peak is None else peak.total

    best = largest_that_fits(needs, limit, start)
    report = reports[best or min(reports)]
    needed = {size: one.memory for size, one in reports.items() if one.memory is not None}
    over = min((size for size in needed if size > (best or 0)), default=None)
    peaks = {size: one.inference if inference else one.step for size, one in needed.items()}
    return replace(
        report,
        fits=Fits(
            limit=limit,
            batch=best,
            bytes=_total(peaks.get(best)) if best else None,
            next_batch=over,
            next_bytes=_total(peaks.get(over)) if over else None,
            inference=inference,
        ),
    )


def largest_that_fits(needs: Callable[[int], int | None], limit: int, start: int) -> int:
    """Return the largest number for which `needs` is within `limit`, 0 where not even 1 is; it grows with the number.

    From `start` on a line through the last two is followed up to where it meets the limit, then the two sides of it
    are brought together, by the line between them and by halves in turn. What has no size (None) does not fit.
    """
    known: dict[int, int | None] = {}

    def at(size: int) -> int | None:
        if size not in known:
            known[size] = needs(size)
        return known[size]

    def fits(size: int) -> bool:
        found = at(size)
        return found is not None and found <= limit

    low, high = 0, start
    while fits(high):
        if high >= _MOST:
            return high
        low, high = high, _beyond(known, limit, low, high)
    halve = False
    while high - low > 1:
        middle = (low + high) // 2 if halve else _between(known, limit, low, high)
        halve = not halve
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _beyond(known: dict[int, int | None], limit: int, before: int, last: int) -> int:
    """Return a number that is likely just too large, by the line through two that fit; without two, twice the one."""
    one, other = known.get(before), known.get(last)
    if one is None or other is None:
        return 2 * last
    if other <= one:
        return min(_MOST, 64 * last)
    return min(_MOST, max(last + 1, last + (limit - other) * (last - before) // (other - one) + 1))


def _between(known: dict[int, int | None], limit: int, low: int, high: int) -> int:
    one, other = known.get(low), known.get(high)
    if one is None or other is None or other <= one:
        return (low + high) // 2
    return min(high - 1, max(low + 1, low + (limit - one) * (high - low) // (other - one)))


# --- the input ---------------------------------------------------------------------------------------------------


def _size(batch: Batch) -> int | None:
    sizes = [tensor.shape[0] for one in batch.given for tensor in tensors_in(one.value) if tensor.dim()]
    return sizes[0] if sizes and sizes[0] else None


def _with_batch(subject: Subject, given: Batch, start: int, size: int) -> Subject:
    """Return the subject with other inputs: dimension 0 is `size` where it was that of the first."""

    def resized(tensor: Tensor) -> Tensor:
        if not tensor.dim() or tensor.shape[0] != start:
            return tensor
        return tensor.new_empty((size, *tensor.shape[1:])).requires_grad_(tensor.requires_grad)

    def value_of(value: Any) -> Any:
        memo: dict[int, Any] = {id(tensor): resized(tensor) for tensor in tensors_in(value)}
        return copy.deepcopy(value, memo)

    def make_input() -> Batch:
        return replace(given, given=tuple(replace(one, value=value_of(one.value)) for one in given.given))

    return replace(subject, make_input=make_input)


def _total(peak: Any) -> int | None:
    return None if peak is None else int(peak.total)


def _why(report: Report) -> str:
    if report.errors:
        return "; ".join(one.message for one in report.errors)
    return "there is no training step to measure: the loss depends on no parameter"
