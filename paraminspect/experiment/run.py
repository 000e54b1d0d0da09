"""Run the experiment: initialise, draw the input, forward, backward; and hold what was measured."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from paraminspect import guard
from paraminspect.analysis.inventory import Inventory, counted_by_torch, names_of, take_inventory
from paraminspect.analysis.numbers import Numbers, numbers_of
from paraminspect.analysis.passes import Passes, run_passes
from paraminspect.analysis.sharing import find_sharing
from paraminspect.analysis.statistics import measure
from paraminspect.analysis.walk import walk
from paraminspect.errors import UserError, did_you_mean
from paraminspect.init.rules import Applied, BoundRule, apply_rules
from paraminspect.render.escape import some_names
from paraminspect.report import Sharing, Values
from paraminspect.sources.subject import Batch, Subject, Ties

_NOTHING = contextlib.nullcontext()


@dataclass(frozen=True)
class Request:
    """What the user asked to see."""

    command: str
    params: tuple[str, ...] = ()
    layer: str | None = None
    values: bool = False
    forward: bool = True
    backward: bool = True
    before: bool = False
    all_uses: bool = False
    statistics: bool = True
    sort: str | None = None
    top: int | None = None


@dataclass
class State:
    """One run of the experiment, held together until the Report is written.

    `applied`, `before`, `values` and `numbers` are keyed by the id of a tensor that `inventory` holds. `rewind` puts
    the random number generators back to where the forward began; `around` is what the module's code runs inside.
    `lazy` are the tensors that had no shape before it, `counted` what torch counted then, and `notes` what it
    registered or removed.
    """

    subject: Subject
    scope: nn.Module
    inventory: Inventory
    applied: dict[int, Applied]
    before: dict[int, Values | None]
    values: dict[int, Values | None]
    numbers: dict[int, Numbers]
    batch: Batch | None = None
    passes: Passes | None = None
    rewind: Callable[[], None] | None = None
    around: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
    sharing: tuple[Sharing, ...] = ()
    lazy: frozenset[int] = frozenset()
    counted: int | None = None
    notes: tuple[str, ...] = ()


def run(
    subject: Subject,
    rules: tuple[BoundRule, ...],
    request: Request,
    whole: Inventory,
    watching: AbstractContextManager[object] = _NOTHING,
) -> State:
    """Initialise, draw the input, run the passes; measure values before the forward can touch them.

    `whole` is what is in the subject's module; `watching` a mode that its code runs under, see `analysis.untouched`.
    Raises UserError for whatever the user can put right; a forward that fails is recorded, not raised.
    """
    scope = _scope(subject.module, request.layer)
    inventory = whole if scope is subject.module else take_inventory(scope)
    before = _measure_all(inventory) if request.before else {}
    applied = apply_rules(subject.module, rules)
    numbers = _read_all(inventory) if request.values else {}
    values = _measure_all(inventory) if request.statistics else {}
    state = State(subject, scope, inventory, applied, before, values, numbers)
    state.counted = counted_by_torch(scope)
    state.lazy = frozenset(id(entry.tensor) for entry in inventory.entries if entry.lazy)
    state.sharing = _sharing(state, request)
    state.around = lambda: _around(subject.foreign, watching)
    if request.forward and subject.make_input is not None:
        with torch.inference_mode(False):
            state.batch = subject.make_input()
        state.rewind = _rewinder()
        state.passes = run_passes(
            subject.module,
            state.batch,
            subject.loss,
            follow=_followed(whole, request),
            backward=request.backward,
            contain=state.around,
        )
        state.notes = tuple(_changes(whole, subject.module))
        if _measure_materialised(state, request):
            state.sharing = _sharing(state, request)
    return state


def _changes(whole: Inventory, module: nn.Module) -> Iterator[str]:
    """Say which parameters the forward registered or removed: the rows are what was there before."""
    before = dict.fromkeys(name for entry in whole.of_kind("parameter") for name in entry.names)
    now = dict.fromkeys(name for _, names in names_of(module) for name in names)
    new, gone = [name for name in now if name not in before], [name for name in before if name not in now]
    if new:
        yield f"the forward registered {some_names(new)}: the rows are what was there before"
    if gone:
        yield f"the forward removed {some_names(gone)}: the rows are what was there before"


@contextlib.contextmanager
def _around(foreign: bool, watching: AbstractContextManager[object]) -> Iterator[None]:
    """Contain the code of a module that is the user's."""
    with guard.contained() if foreign else contextlib.nullcontext(), watching:
        yield


def _followed(whole: Inventory, request: Request) -> tuple[Tensor, ...]:
    """Return the parameters whose uses the ledger keeps apart: the shared ones, or all of them."""
    found = whole.of_kind("parameter")
    return tuple(entry.tensor for entry in found if request.all_uses or len(entry.names) > 1)


def _rewinder() -> Callable[[], None]:
    """Remember every generator that is in use, and return what puts them back."""
    cpu = torch.get_rng_state()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    def rewind() -> None:
        torch.set_rng_state(cpu)
        if gpus:
            torch.cuda.set_rng_state_all(gpus)

    return rewind


def _scope(module: nn.Module, layer: str | None) -> nn.Module:
    """Return the module that ``--layer`` names, the whole one without it."""
    if layer is None:
        return module
    children = dict(walk(module).paths)
    if layer not in children:
        names = [name for name in children if name]
        hint = did_you_mean(layer, names) or f"layers: {some_names(names)}"
        raise UserError(f"there is no layer {layer!r}", where="--layer", hint=hint, code="no-such-layer")
    return children[layer]


def _measure_all(inventory: Inventory) -> dict[int, Values | None]:
    return {id(entry.tensor): None if entry.lazy else measure(entry.tensor) for entry in inventory.entries}


def _read_all(inventory: Inventory) -> dict[int, Numbers]:
    return {id(entry.tensor): Numbers() if entry.lazy else numbers_of(entry.tensor) for entry in inventory.entries}


def _measure_materialised(state: State, request: Request) -> bool:
    """Measure what had no shape before the forward and has one now; tell whether there is any."""
    new = [entry for entry in state.inventory.entries if id(entry.tensor) in state.lazy and not entry.lazy]
    for entry in new:
        if request.statistics:
            state.values[id(entry.tensor)] = measure(entry.tensor)
        if request.values:
            state.numbers[id(entry.tensor)] = numbers_of(entry.tensor)
    return bool(new)


def _sharing(state: State, request: Request) -> tuple[Sharing, ...]:
    """Find who shares what, before the forward may change what is equal; ties as seen from the layer shown alone."""
    declared = state.subject.ties
    seen = (tuple(relative(name, request.layer) for name in tie) for tie in declared.names)
    inside = tuple(tuple(name for name in tie if name is not None) for tie in seen if None not in tie)
    return find_sharing(state.inventory, Ties(inside, declared.origin), state.values)


def relative(path: str, layer: str | None) -> str | None:
    """Return a path as seen from the layer that is shown alone; None when it lies outside."""
    if layer is None:
        return path
    if path == layer:
        return ""
    return path[len(layer) + 1 :] if path.startswith(layer + ".") else None
