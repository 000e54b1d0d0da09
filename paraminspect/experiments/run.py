"""Run the experiment: initialise, draw the input, forward, backward; and hold what was measured."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from paraminspect.analysis.inventory.model_inventory import Inventory, counted_by_torch, take_inventory
from paraminspect.analysis.inventory.small_tensors import Numbers, numbers_of
from paraminspect.analysis.passes.forward_backward import Passes, run_passes
from paraminspect.analysis.sharing import find_sharing
from paraminspect.analysis.statistics.digest import digest
from paraminspect.analysis.statistics.tensor_values import measure
from paraminspect.errors import UserError, did_you_mean
from paraminspect.experiments.save import save
from paraminspect.init.applied import Applied
from paraminspect.init.apply import accounts, apply_rules, scale_to_batch
from paraminspect.init.parametrised import Computed
from paraminspect.init.rules import BoundRule
from paraminspect.isolation.torch_state import NOTHING, around, draw_batch, torch_generators
from paraminspect.modules.subject import Batch, Subject, Ties
from paraminspect.modules.walk import names_of_parameters, walk
from paraminspect.report import Initialisation, Sharing, Values
from paraminspect.text.escape import some_names

SHOWN = 16  # hex digits of a digest


@dataclass(frozen=True)
class Request:
    """What the user asked to see.

    `before` asks for the values before the rules too, and for the weights that they set through a parametrisation;
    `digests` for those of all parameters; `save` is where the state_dict goes.
    """

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
    digests: bool = False
    save: Path | None = None


@dataclass(frozen=True)
class Weight:
    """A weight that a rule set through what computes it; `tensor` is what it is now."""

    computed: Computed
    applied: Applied
    tensor: Tensor
    before: Values | None
    values: Values | None
    numbers: Numbers


@dataclass
class State:
    """One run of the experiment, held together until the Report is written.

    `applied`, `before`, `values` and `numbers` are keyed by the id of a tensor that `inventory` holds. `rewind` puts
    the random number generators back to where the forward began; `around` is what the module's code runs inside.
    `lazy` are the tensors that had no shape before it, `counted` what torch counted then, and `notes` what it
    registered or removed. `digests` are keyed like the values, in full.
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
    weights: tuple[Weight, ...] = ()
    digests: dict[int, str | None] = field(default_factory=dict)
    initialisation: Initialisation | None = None


def run(
    subject: Subject,
    rules: tuple[BoundRule, ...],
    request: Request,
    whole: Inventory,
    watching: AbstractContextManager[object] = NOTHING,
) -> State:
    """Initialise, draw the input, run the passes; measure values before the forward can touch them.

    `whole` is what is in the subject's module; `watching` a mode that its code runs under, see `analysis.untouched`.
    Raises UserError for whatever the user can put right; a forward that fails is recorded, not raised.
    """
    scope = _scope(subject.module, request.layer)
    inventory = whole if scope is subject.module else take_inventory(scope)
    before = _measure_all(inventory) if request.before else {}
    state = State(subject, scope, inventory, {}, before, {}, {})
    state.around = lambda: around(subject.foreign, watching)
    state.applied, state.batch = initialise(subject, rules, lambda: around(subject.foreign))
    state.numbers = _read_all(inventory) if request.values else {}
    state.values = _measure_all(inventory) if request.statistics else {}
    state.weights = tuple(_weights(state.applied, request)) if request.before else ()
    state.counted = counted_by_torch(scope)
    state.lazy = frozenset(id(entry.tensor) for entry in inventory.entries if entry.lazy)
    state.sharing = _sharing(state, request)
    _sum_up(state, rules, whole, request)
    if request.forward and subject.make_input is not None:
        state.batch = state.batch or draw_batch(subject.make_input)
        state.rewind = torch_generators()
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


def initialise(
    subject: Subject, rules: tuple[BoundRule, ...], contain: Callable[[], AbstractContextManager[None]]
) -> tuple[dict[int, Applied], Batch | None]:
    """Apply the rules, on a batch where one of them needs it: the very one that the forward then runs on.

    `contain` is what the module's code runs inside. Raises UserError when a batch is needed and no input is known.
    """
    needs = next((rule for rule in rules if rule.needs_batch), None)
    if needs and subject.make_input is None:
        message = f"{needs.scheme.name} needs an input to run the network on"
        raise UserError(message, where=needs.rule.where, hint="pass --input, e.g. --input 64,784", code="no-input")
    applied = apply_rules(subject.module, rules, subject.seed or 0)
    if needs is None or subject.make_input is None:
        return applied, None
    batch = draw_batch(subject.make_input)
    return scale_to_batch(subject.module, batch.args, batch.kwargs, applied, contain), batch


def _weights(applied: dict[int, Applied], request: Request) -> Iterator[Weight]:
    """Measure the weights that were set through what computes them."""
    for key, one in applied.items():
        weight = one.target
        if isinstance(weight, Computed) and id(weight) == key:
            now = weight.compute()
            numbers = numbers_of(now) if request.values else Numbers()
            yield Weight(weight, one, now, measure(weight.before), measure(now), numbers)


def _sum_up(state: State, rules: tuple[BoundRule, ...], whole: Inventory, request: Request) -> None:
    """Say what the rules came to; take the digests and write the file that are asked for."""
    module, apart = state.subject.module, any(rule.seed_per_parameter for rule in rules)
    parameters = whole.of_kind("parameter")
    together = None
    if request.digests:
        state.digests = {id(entry.tensor): digest(entry.tensor) for entry in parameters}
        together = _together([(entry.name, state.digests[id(entry.tensor)]) for entry in parameters])
    if request.save is not None:
        facts = {
            "seed": str(state.subject.seed),
            "torch": str(torch.__version__),
            "rules": [str(rule.rule) for rule in rules],
            "seed_per_parameter": apart,
            "digest": together,
        }
        save(module, request.save, facts, lambda: around(state.subject.foreign))
    if rules or request.digests:
        saved = None if request.save is None else str(request.save)
        state.initialisation = Initialisation(accounts(rules, state.applied), apart, together, saved)


def _together(digests: list[tuple[str, str | None]]) -> str | None:
    """Return one digest for all; None where one of them is not known, or there is none."""
    if not digests or any(one is None for _, one in digests):
        return None
    lines = "".join(f"{name} {one}\n" for name, one in digests)
    return hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest()[:SHOWN]


def _changes(whole: Inventory, module: nn.Module) -> Iterator[str]:
    """Say which parameters the forward registered or removed: the rows are what was there before."""
    before = dict.fromkeys(name for entry in whole.of_kind("parameter") for name in entry.names)
    now = dict.fromkeys(name for _, names in names_of_parameters(module) for name in names)
    new, gone = [name for name in now if name not in before], [name for name in before if name not in now]
    if new:
        yield f"the forward registered {some_names(new)}: the rows are what was there before"
    if gone:
        yield f"the forward removed {some_names(gone)}: the rows are what was there before"


def _followed(whole: Inventory, request: Request) -> tuple[Tensor, ...]:
    """Return the parameters whose uses the ledger keeps apart: the shared ones, or all of them."""
    found = whole.of_kind("parameter")
    return tuple(entry.tensor for entry in found if request.all_uses or len(entry.names) > 1)


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
