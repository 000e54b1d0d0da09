"""The forward and the backward of a model that was measured, after which module and process are as they were."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace

from torch import Tensor, nn

from paraminspect.analysis.inventory import Inventory, TensorEntry
from paraminspect.analysis.passes.diagnosis import diagnose
from paraminspect.analysis.passes.forward_backward import ForwardBackward, run_passes
from paraminspect.analysis.passes.running_modules import Companion
from paraminspect.analysis.passes.unsaved_state import UnsavedState
from paraminspect.experiments.measured import Measured, apply_and_measure
from paraminspect.experiments.selection import Request, Scope
from paraminspect.frozen import dataclass
from paraminspect.init.rules import BoundRule
from paraminspect.isolation.silence import unheard_where_it_fails
from paraminspect.isolation.torch_state import around, draw_batch, torch_generators
from paraminspect.isolation.untouched import CopyOnWrite, untouched
from paraminspect.modules.subject import Batch, Subject
from paraminspect.report import Values


@dataclass(frozen=True)
class Start:
    """Where a forward starts: its input, and what puts the random number generators back to where they stood."""

    batch: Batch
    rewind: Callable[[], None]


def guarded(inventory: Inventory) -> AbstractContextManager[CopyOnWrite]:
    """Put back what a forward changes in the modules of `inventory`, the hidden ones too, and in the process.

    The forward has to run under the mode that this gives, see `untouched`.
    """
    return untouched(inventory.modules.values(), (entry.tensor for entry in inventory.entries))


def start_of(measured: Measured) -> Start | None:
    """Draw the input, unless a rule has seen it already; None where no input is known."""
    if measured.subject.make_input is None:
        return None
    batch = measured.batch or draw_batch(measured.subject.make_input)
    return Start(batch, torch_generators())


@dataclass(frozen=True)
class Run:
    """One forward and backward with what it started from: None where no input is known."""

    measured: Measured
    start: Start | None
    passes: ForwardBackward | None


Beside = Callable[[Measured], Companion]


@contextlib.contextmanager
def measured_and_run(
    subject: Subject, scope: Scope, rules: tuple[BoundRule, ...], request: Request, beside: Beside | None = None
) -> Iterator[Run]:
    """Apply the rules, measure and run; the gradients are there until the end of the ``with``, all is put back then.

    Where the input has to be looked for, the run on the likeliest one is itself its first trial. `beside` makes what
    follows the same forward, for each that is run.
    """
    likeliest = None if rules else subject.on_likeliest_input()
    measured: Measured | None = None
    if likeliest is not None:
        with guarded(scope.whole) as mode:
            measured = apply_and_measure(likeliest, scope, rules, request)
            start = start_of(measured)
            passes = run_from(start, measured, request, mode, beside, tentative=True)
            if passes is not None:
                yield Run(measured, start, passes)
                return
    settled = subject.settled()
    with guarded(scope.whole) as mode:
        if measured is None:
            measured = apply_and_measure(settled, scope, rules, request)
        measured = replace(measured, subject=settled)
        start = start_of(measured)
        yield Run(measured, start, run_from(start, measured, request, mode, beside))


def run_from(
    start: Start | None,
    measured: Measured,
    request: Request,
    mode: CopyOnWrite,
    beside: Beside | None = None,
    tentative: bool = False,
) -> ForwardBackward | None:
    """Run the forward and the backward under a guard's `mode`; one that fails is recorded, not raised.

    The uses that are kept apart are those of the shared parameters, or of all of them. A `tentative` run whose forward
    fails is None, and nothing was heard of it.
    """
    if start is None:
        return None
    subject, parameters = measured.subject, measured.scope.whole.of_kind("parameter")

    def contain() -> AbstractContextManager[None]:
        return around(subject.foreign, mode)

    @contextlib.contextmanager
    def again() -> Iterator[None]:
        start.rewind()
        with contain():
            yield

    state = UnsavedState(measured.scope.whole.entries if request.command == "check" else ())
    passes = run_passes(
        subject.module,
        start.batch,
        subject.loss,
        follow=tuple(entry.tensor for entry in parameters if request.all_uses or len(entry.names) > 1),
        zeros=tuple(_of_zeros(parameters, measured.values)),
        backward=request.backward,
        contain=_unheard_first(contain) if tentative else contain,
        companion=beside(measured) if beside else None,
    )
    if tentative and passes.error is not None and passes.error.phase == "forward":
        return None
    diagnose(subject.module, start.batch, subject.loss, passes, measured.scope.whole, mode.changed(), again)
    if passes.error is None:

        def forward() -> None:
            with again():
                subject.module(*start.batch.args, **start.batch.kwargs)

        passes.unsaved = state.names(forward)
    return passes


def _unheard_first(contain: Callable[[], AbstractContextManager[None]]) -> Callable[[], AbstractContextManager[None]]:
    """Return `contain`, but that the first code inside, the forward, is not heard of where it fails."""
    first = iter([True])

    @contextlib.contextmanager
    def contained() -> Iterator[None]:
        with contain(), unheard_where_it_fails() if next(first, False) else contextlib.nullcontext():
            yield

    return contained


def _of_zeros(parameters: Iterable[TensorEntry], values: Mapping[int, Values | None]) -> Iterator[Tensor]:
    """Yield the parameters that hold nothing but zeros, by their figures where these are known."""
    for entry in parameters:
        tensor, known = entry.tensor, values.get(id(entry.tensor))
        if entry.lazy or tensor.is_meta or tensor.is_nested or not entry.numel or not tensor.is_floating_point():
            continue
        if known.zeros == entry.numel if known else type(tensor) is nn.Parameter and not tensor.detach().any():
            yield tensor
