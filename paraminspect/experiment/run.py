"""Run the experiment: seed, build, initialise, draw the input, forward, backward; and hold what was measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from paraminspect.analysis.inventory import Inventory, take_inventory
from paraminspect.analysis.passes import Passes, run_passes
from paraminspect.analysis.statistics import measure
from paraminspect.errors import UserError, did_you_mean
from paraminspect.init.rules import Applied, BoundRule, apply_rules
from paraminspect.report import Source, Values
from paraminspect.sources.draw import input_of
from paraminspect.sources.mlp import build
from paraminspect.sources.subject import Batch, Subject
from paraminspect.spec.model import Input, Spec


@dataclass(frozen=True)
class Request:
    """What the user asked to see; `None` leaves a choice to the spec."""

    command: str
    params: tuple[str, ...] = ()
    layer: str | None = None
    values: bool = False
    forward: bool = True
    backward: bool = True
    before: bool = False
    seed: int | None = None
    input: Input | None = None
    loss: str | None = None
    device: str | None = None


@dataclass
class State:
    """One run of the experiment, held together until the Report is written."""

    subject: Subject
    scope: nn.Module
    inventory: Inventory
    applied: dict[int, Applied]
    before: dict[int, Values | None]
    values: dict[int, Values | None]
    batch: Batch | None = None
    passes: Passes | None = None
    rng: Tensor | None = None


def run(spec: Spec, rules: tuple[BoundRule, ...], request: Request) -> State:
    """Seed, build, initialise, draw the input, run the passes; measure values before the forward can touch them.

    Raises UserError for whatever the user can put right; a forward that fails is recorded, not raised.
    """
    subject = prepare(spec, request)
    scope = _scope(subject.module, request.layer)
    inventory = take_inventory(scope)
    before = _measure_all(inventory) if request.before else {}
    applied = apply_rules(subject.module, rules)
    state = State(subject, scope, inventory, applied, before, _measure_all(inventory))
    if request.forward and subject.make_input is not None:
        state.batch = subject.make_input()
        state.rng = torch.get_rng_state()
        follow = tuple(entry.tensor for entry in inventory.of_kind("parameter") if len(entry.names) > 1)
        state.passes = run_passes(subject.module, state.batch[0], subject.loss, follow, request.backward)
        _measure_materialised(state)
    return state


def prepare(spec: Spec, request: Request) -> Subject:
    """Build the module; the caller's options come before the spec's."""
    device = request.device or spec.device or "cpu"
    if request.seed is not None:
        spec = replace(spec, seed=request.seed)
    module = build(spec, device)
    wanted = request.input or spec.input
    return Subject(
        module=module,
        source=Source("spec", spec.name, spec.path),
        seed=spec.seed,
        make_input=input_of(spec, wanted, device),
        why_no_input="no forward: the input is not known; pass --input, e.g. --input 2,4",
        loss=request.loss or spec.loss,
        declared_ties=tuple(tie.names for tie in spec.ties),
    )


def _scope(module: nn.Module, layer: str | None) -> nn.Module:
    """Return the module that ``--layer`` names, the whole one without it."""
    if layer is None:
        return module
    children: dict[str, nn.Module] = dict(module.named_modules(remove_duplicate=False))
    if layer not in children:
        names = [name for name in children if name]
        hint = did_you_mean(layer, names) or f"layers: {', '.join(names[:12])}"
        raise UserError(f"there is no layer {layer!r}", where="--layer", hint=hint, code="no-such-layer")
    return children[layer]


def _measure_all(inventory: Inventory) -> dict[int, Values | None]:
    return {id(entry.tensor): None if entry.lazy else measure(entry.tensor) for entry in inventory.entries}


def _measure_materialised(state: State) -> None:
    """Measure what had no shape before the forward and has one now."""
    for entry in state.inventory.entries:
        if state.values[id(entry.tensor)] is None and not entry.lazy:
            state.values[id(entry.tensor)] = measure(entry.tensor)
