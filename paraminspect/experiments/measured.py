"""What a model holds once its rules are applied, measured before a forward can touch it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace

from torch import Tensor, nn

from paraminspect.analysis.inventory import Inventory, TensorEntry, counted_by_torch
from paraminspect.analysis.passes.forward_backward import ForwardBackward
from paraminspect.analysis.sharing import find_sharing
from paraminspect.analysis.statistics.batched import measure_all
from paraminspect.analysis.statistics.contents import Numbers, numbers_of
from paraminspect.errors import UserError
from paraminspect.experiments.parameter_parts import Parts, padding_verdicts, parts_in
from paraminspect.experiments.selection import Request, Scope
from paraminspect.frozen import dataclass
from paraminspect.init.apply import accounts, apply_rules, constructed
from paraminspect.init.calibration import scale_to_batch
from paraminspect.init.computed_weights import ComputedTarget
from paraminspect.init.fill_record import FillRecord
from paraminspect.init.recognition.model_recognition import recognise_all
from paraminspect.init.rules import BoundRule
from paraminspect.init.schemes.expected_moments import ExpectedMoments
from paraminspect.isolation.phases import enter
from paraminspect.isolation.torch_state import around, draw_batch
from paraminspect.modules.subject import Batch, Subject
from paraminspect.report import Initialisation, Sharing, Values, Verdict


@dataclass(frozen=True)
class FilledWeight:
    """A weight that a rule set through what computes it; `tensor` is what it is now."""

    computed: ComputedTarget
    applied: FillRecord
    tensor: Tensor
    before: Values | None
    values: Values | None
    numbers: Numbers


@dataclass(frozen=True)
class Measured:
    """What a subject holds after the rules and before the forward.

    The mappings are keyed by the id of a tensor that `scope` holds. `initialisers` say what set each parameter,
    `applied` what the rules did, to weights that are computed too. `batch` is the input, where a rule needed it.
    `counted` is how many parameters torch counts, `lazy` are the tensors that have no shape yet. Some commands add the
    values `before` a change, the `weights` that were set through what computes them, the `digests`, in full. `parts`
    are the slices of tensors that have figures of their own, `padding` what is said of padding rows that are not zero.
    """

    subject: Subject
    scope: Scope
    applied: Mapping[int, FillRecord]
    initialisers: Mapping[int, FillRecord]
    batch: Batch | None
    values: Mapping[int, Values | None]
    numbers: Mapping[int, Numbers]
    sharing: tuple[Sharing, ...]
    counted: int | None
    lazy: frozenset[int]
    initialisation: Initialisation | None
    before: Mapping[int, Values | None] = field(default_factory=dict)
    weights: tuple[FilledWeight, ...] = ()
    digests: Mapping[int, str | None] = field(default_factory=dict)
    parts: Mapping[int, Parts] = field(default_factory=dict)
    parts_before: Mapping[int, Parts] = field(default_factory=dict)
    padding: tuple[Verdict, ...] = ()


# --- the values ------------------------------------------------------------------------------------------------


def apply_and_measure(subject: Subject, scope: Scope, rules: tuple[BoundRule, ...], request: Request) -> Measured:
    """Apply the rules, then measure what is in `scope`.

    Raises UserError for whatever the user can put right.
    """
    enter("initialising" if rules else "statistics")
    applied, batch = initialise(subject, rules)
    enter("statistics")
    entries = scope.inventory.entries
    known = initialisers(entries, scope.inventory, applied, subject.kind)
    numbers = _numbers(entries) if request.values else {}
    values = values_of(entries) if request.statistics else {}
    if request.recognise and subject.kind != "spec":
        enter("recognising the initialisation")
        known = {**_recognised(scope.inventory, values, applied), **known}
    enter("comparing memory")
    apart = any(rule.seed_per_parameter for rule in rules)
    return Measured(
        subject=subject,
        scope=scope,
        applied=applied,
        initialisers=known,
        batch=batch,
        values=values,
        numbers=numbers,
        sharing=find_sharing(scope.inventory, scope.inside(subject.ties), values) if request.sharing else (),
        counted=counted_by_torch(scope.module, scope.inventory.walked),
        lazy=frozenset(id(entry.tensor) for entry in entries if entry.lazy),
        initialisation=Initialisation(accounts(rules, applied, subject.module), apart) if rules else None,
        parts=parts_in(subject.module, entries, rules, request) if request.statistics else {},
        padding=tuple(padding_verdicts(entries, scope.inventory.modules)) if request.statistics else (),
    )


def values_of(entries: Sequence[TensorEntry]) -> dict[int, Values | None]:
    """Return the figures of every tensor by its id, None for what has no shape."""
    found: dict[int, Values | None] = {id(entry.tensor): None for entry in entries}
    there = [entry.tensor for entry in entries if not entry.lazy]
    return {**found, **dict(zip(map(id, there), measure_all(there), strict=True))}


def _numbers(entries: Iterable[TensorEntry]) -> dict[int, Numbers]:
    return {id(entry.tensor): Numbers() if entry.lazy else numbers_of(entry.tensor) for entry in entries}


def with_new_tensors(measured: Measured, passes: ForwardBackward | None, request: Request) -> Measured:
    """Measure also what had no shape before the forward and has one now, and the leaves that nothing registers."""
    scope = measured.scope.with_entries(passes.unregistered if passes else ())
    late = [entry for entry in scope.inventory.entries if id(entry.tensor) in measured.lazy and not entry.lazy]
    new = [*late, *scope.inventory.entries[len(measured.scope.inventory.entries) :]]
    if not new:
        return measured
    values = {**measured.values, **(values_of(new) if request.statistics else {})}
    numbers = {**measured.numbers, **(_numbers(new) if request.values else {})}
    sharing = find_sharing(scope.inventory, scope.inside(measured.subject.ties), values) if late else measured.sharing
    known = initialisers(new, scope.inventory, measured.applied, measured.subject.kind)
    known = {**measured.initialisers, **known}
    return replace(measured, scope=scope, initialisers=known, values=values, numbers=numbers, sharing=sharing)


# --- what set them ---------------------------------------------------------------------------------------------


def initialise(subject: Subject, rules: Sequence[BoundRule]) -> tuple[dict[int, FillRecord], Batch | None]:
    """Apply the rules, on a batch where one of them needs it: the very one that the forward then runs on.

    Keyed by the id of the Parameter, see `apply_rules`. Raises UserError when a batch is needed and no input is known.
    """
    needs = next((rule for rule in rules if rule.needs_batch), None)
    subject = subject.settled() if needs else subject
    if needs and subject.make_input is None:
        message = f"{needs.scheme.name} needs an input to run the network on"
        raise UserError(message, where=needs.rule.where, hint="pass --input, e.g. --input 64,784", code="no-input")
    applied = apply_rules(subject.module, rules, subject.seed or 0)
    if needs is None or subject.make_input is None:
        return applied, None
    batch = draw_batch(subject.make_input)
    return scale_to_batch(subject.module, batch.args, batch.kwargs, applied, lambda: around(subject.foreign)), batch


def initialiser(
    entry: TensorEntry, at: int, inventory: Inventory, applied: Mapping[int, FillRecord], kind: str
) -> FillRecord | None:
    """Return what set a parameter, as seen from the module that holds it under its name number `at`.

    That is the rule that touched it, else torch's constructor. `kind` is that of the source: only the network of a
    ``spec`` has nothing that changes a parameter after its constructor. None for what is not known.
    """
    parameter, path = entry.tensor, entry.owner_names[at]
    done = applied.get(id(parameter))
    if done is not None and (not done.slices or done.beneath):
        return done
    if kind != "spec" or entry.lazy or not isinstance(parameter, nn.Parameter) or _redrawn(path, inventory):
        return done
    built = constructed(inventory.modules[path], entry.names[at], parameter)
    return built if done is None else replace(done, beneath=built)


def initialisers(
    entries: Iterable[TensorEntry], inventory: Inventory, applied: Mapping[int, FillRecord], kind: str
) -> dict[int, FillRecord]:
    """Return what set each parameter, by its id, as seen from the first module that holds it."""
    found = ((entry, initialiser(entry, 0, inventory, applied, kind)) for entry in entries if entry.kind == "parameter")
    return {id(entry.tensor): one for entry, one in found if one is not None}


def _recognised(
    inventory: Inventory, values: Mapping[int, Values | None], applied: Mapping[int, FillRecord]
) -> dict[int, FillRecord]:
    """Return by its id what each parameter was initialised with, as far as its values tell.

    Nothing is expected of the values: the answer is made of them. What rules filled slice by slice would look trained.
    """
    sliced = {key for key, one in applied.items() if one.slices}
    entries = [
        one
        for one in inventory.of_kind("parameter")
        if not one.lazy and isinstance(one.tensor, nn.Parameter) and id(one.tensor) not in sliced
    ]
    held = [(one.owner, one.name.rpartition(".")[2], one.tensor) for one in entries if one.owner is not None]
    return {key: FillRecord(found.init, None) for key, found in recognise_all(held, values).items()}


def moments_of(inventory: Inventory, applied: Mapping[int, FillRecord], kind: str) -> dict[int, ExpectedMoments]:
    """Return the moments that the values of each parameter were drawn with, by its id: what theory starts from.

    Of a shared one it is the first module that tells; what is not known is left out.
    """
    found: dict[int, ExpectedMoments] = {}
    for entry in inventory.of_kind("parameter"):
        for at in range(len(entry.names)):
            known = initialiser(entry, at, inventory, applied, kind)
            if known is not None and known.moments is not None:
                found.setdefault(id(entry.tensor), known.moments)
    return found


def _redrawn(path: str, inventory: Inventory) -> bool:
    """Tell whether a module above draws anew what the constructors of its parts drew, as nn.Transformer does."""
    parts = path.split(".")
    above = (inventory.modules.get(".".join(parts[:depth])) for depth in range(len(parts) + 1))
    return any(isinstance(module, nn.Transformer) for module in above)
