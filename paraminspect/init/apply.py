"""Rules carried out: every fill in the order written, and what should be there afterwards."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from paraminspect.errors import UserError, did_you_mean
from paraminspect.init.computed_weights import ComputedTarget
from paraminspect.init.custom_scheme import CustomScheme
from paraminspect.init.fill_record import Fill, FillRecord, with_interactions
from paraminspect.init.rules import left_in_words, seed_of
from paraminspect.init.schemes.bound_scheme import BoundScheme
from paraminspect.init.schemes.constructor_defaults import bias_fan_in, default_moments
from paraminspect.init.schemes.expected_moments import diluted
from paraminspect.init.schemes.fans import fan_caveat
from paraminspect.init.target import Outcome, StoredTarget, Target, padding_rows, weight_shape
from paraminspect.init.target_search import targets_in
from paraminspect.isolation.torch_state import generators_kept
from paraminspect.report import Init, RuleApplied
from paraminspect.spec.model import Rule
from paraminspect.text.escape import some_names

if TYPE_CHECKING:
    from torch import nn

    from paraminspect.init.rules import BoundRule


# --- which parameters --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _PlannedFill:
    """One rule about to fill one target; `fill` is what will be on record of it."""

    fill: Fill
    rule: BoundRule
    scheme: BoundScheme | CustomScheme
    target: Target


def _plan(module: nn.Module, rules: Sequence[BoundRule]) -> list[_PlannedFill]:
    """Return every fill in order; raises UserError naming all the rules that match nothing."""
    targets = targets_in(module) if rules else []
    plan: list[_PlannedFill] = []
    idle: list[BoundRule] = []
    for number, rule in enumerate(rules):
        chosen = _chosen(rule, targets)
        for target, names in chosen:
            fill = Fill(len(plan), number, str(rule.rule), names)
            plan.append(_PlannedFill(fill, rule, rule.scheme, target))
        if not chosen:
            idle.append(rule)
    if idle:
        raise _no_match(targets, idle)
    return [replace(planned, scheme=_closed(module, planned)) for planned in plan]


def _chosen(rule: BoundRule, targets: Sequence[Target]) -> list[tuple[Target, tuple[str, ...]]]:
    """Return what a rule fills with the names it matches.

    With a computed weight goes what it is stored in: a rule that matches both means the weight.
    """
    matched = [(target, rule.names_of(target)) for target in targets]
    matched = [(target, names) for target, names in matched if names]
    parts = {id(part) for target, _ in matched if isinstance(target, ComputedTarget) for part in target.stored}
    return [
        (target, names)
        for target, names in matched
        if not (isinstance(target, StoredTarget) and id(target.parameter) in parts)
    ]


def _no_match(targets: Sequence[Target], idle: Sequence[BoundRule]) -> UserError:
    names = [name for target in targets for name in target.names]
    rules = [one.rule for one in idle]
    near = [did_you_mean(rule.params, names) for rule in rules if not rule.weights_or_biases]
    left = [target for target in targets if any(rule.leaves(target) for rule in idle)]
    reach = f"--rule '{left[0].names[0]}=SCHEME' reaches one" if left else ""
    hint = next(filter(None, [*near, reach]), f"parameters: {some_names(names)}")
    where, message = rules[0].where, _idle(idle[0], targets)
    if len(rules) > 1:
        each = "; ".join(f"{rule.rule.where} {_idle(rule, targets)}" for rule in idle)
        where, message = "", f"{len(rules)} rules match nothing: {each}"
    return UserError(message, where=where, hint=hint, code="glob-matches-nothing")


def _idle(rule: BoundRule, targets: Sequence[Target]) -> str:
    """Say what a rule looked for, and what of that kind there is instead."""
    kind = rule.rule.weights_or_biases
    if not kind:
        return f"{rule.rule.params!r} matches no parameter"
    norms, others = _left(rule, targets)
    if not norms and not others:
        return f"no parameter is a {kind}: none has it in the last part of its name"
    wanted = "a weight that mixes inputs" if kind == "weight" else "a bias but of normalisation layers"
    is_one = len(norms) + len(others) == 1
    return f"no parameter is {wanted}; there {'is' if is_one else 'are'} {left_in_words(kind, norms, others)}"


def _left(rule: BoundRule, targets: Sequence[Target]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the first names of what ``--scheme`` or ``--bias`` leaves alone: that of norms, and other weights."""
    from paraminspect.modules.mixing_weights import is_of_norm

    found: dict[bool, list[str]] = {True: [], False: []}
    for target in filter(rule.leaves, targets):
        found[any(is_of_norm(owner, leaf) for owner, leaf in target.owners)].append(target.names[0])
    return tuple(found[True]), tuple(found[False])


# --- filling them ------------------------------------------------------------------------------------------------


def apply_rules(module: nn.Module, rules: Sequence[BoundRule], seed: int = 0) -> dict[int, FillRecord]:
    """Run every rule in order; a later one wins, and says which it overrode.

    Keyed by the id of the Parameter; a weight that others are stored for by the id of its `target`. Everything is
    checked before anything is changed, except what only the user's code can know. `seed` is for the rules with a
    stream for each parameter, which leave torch's generators as they were. Raises UserError naming every rule that
    matches nothing, or the parameter that a scheme cannot fill.
    """
    plan = _plan(module, rules)
    for planned in plan:
        with _naming(planned.rule.rule):
            _check(planned, plan)
    done: dict[int, FillRecord] = {}
    apart = any(planned.rule.seed_per_parameter for planned in plan)
    with generators_kept() if apart else contextlib.nullcontext():
        for planned in plan:
            with _naming(planned.rule.rule, beside=False):
                _run(planned, seed, done)
    return with_interactions(module, done)


@contextlib.contextmanager
def _naming(rule: Rule, beside: bool = True) -> Iterator[None]:
    """Put the rule's place into errors raised inside: before their own, or, without `beside`, where they have none."""
    try:
        yield
    except UserError as error:
        places = (rule.where, error.where) if beside or not error.where else (error.where,)
        where = ": ".join(dict.fromkeys(filter(None, places)))
        raise UserError(error.message, where=where, hint=error.hint, code=error.code) from error


def _closed(module: nn.Module, planned: _PlannedFill) -> BoundScheme | CustomScheme:
    with _naming(planned.rule.rule):
        return planned.scheme.for_parameter(module, planned.fill.names[0])


def _example(planned: _PlannedFill, plan: Sequence[_PlannedFill]) -> str:
    """Return a rule, as it stands on the command line or in a spec, that fills what the scheme can; "" for none.

    It is about parameters that the rule matches: all that end in ``.weight``, where they all fit, else the first.
    """
    scheme, rule = planned.scheme, planned.rule
    if isinstance(scheme, CustomScheme) or " " in rule.rule.where:  # of compare's: one of several schemes
        return ""
    fills = [one for one in plan if one.rule is rule and one.target.known_shape is not None]
    fits = {name: not scheme.lack(one.target.shape) for one in fills for name in one.fill.names}
    weights = [fit for name, fit in fits.items() if name.endswith(".weight")]
    first = next((name for name, fit in fits.items() if fit), "")
    glob = "*.weight" if weights and all(weights) else first
    in_spec = not rule.rule.where.startswith("--")
    return glob and (f"params: {glob!r}" if in_spec else f"--rule '{glob}={rule.scheme.name}'")


def _check(planned: _PlannedFill, plan: Sequence[_PlannedFill]) -> None:
    target, name = planned.target, planned.fill.names[0]
    target.refuse()
    if planned.rule.needs_batch and isinstance(target, ComputedTarget):
        message = f"{planned.scheme.name} scales what is stored; {name!r} is {target.note}"
        raise UserError(message, hint="leave it out of the rule", code="not-invertible")
    try:
        planned.scheme.check(name, target.shape, target.dtype)
    except UserError as error:
        example = _example(planned, plan) if error.code == "wrong-shape" else ""
        hint = f"{error.hint}, e.g. {example}" if example else error.hint
        raise UserError(error.message, where=error.where, hint=hint, code=error.code) from error


def _run(planned: _PlannedFill, seed: int, done: dict[int, FillRecord]) -> None:
    import torch

    target = planned.target
    if planned.rule.seed_per_parameter:
        torch.manual_seed(seed_of(seed, target.names[0]))
    outcome = target.fill(planned.scheme, planned.fill.names[0])
    key = id(target.parameter) if isinstance(target, StoredTarget) else id(target)
    done[key] = _describe(planned, outcome, done.get(key))
    for part in target.stored if isinstance(target, ComputedTarget) else ():
        done[id(part)] = _record(planned, done.get(id(part))).with_note(f"set through {target.names[0]!r}")


def _record(planned: _PlannedFill, before: FillRecord | None) -> FillRecord:
    """Return the record as far as the rule goes: nothing is expected of the values yet."""
    overridden: tuple[str, ...] = ()
    if before is not None:
        overridden = (*before.init.overridden, before.init.rule or before.init.scheme)
    init = Init(planned.scheme.name, dict(planned.scheme.args), rule=planned.fill.rule, overridden=overridden)
    fills = (*(before.fills if before else ()), planned.fill)
    return FillRecord(init, None, fills, planned.target, planned.scheme)


def _describe(planned: _PlannedFill, outcome: Outcome, before: FillRecord | None) -> FillRecord:
    """Return the record of a fill: the moments by the scheme and by what became of it, the fans, and notes."""
    target = planned.target
    fan_in, fan_out = planned.scheme.fans(target.shape) or (None, None)
    moments = planned.scheme.moments(target.shape) if outcome.kept else None
    caveats = (fan_caveat(*owner, target.shape) for owner in target.owners if fan_in is not None)
    record = _record(planned, before).with_moments(moments and diluted(moments, outcome.zeros))
    record = replace(record, init=replace(record.init, fan_in=fan_in, fan_out=fan_out))
    for note in (*outcome.notes, next(filter(None, caveats), "")):
        record = record.with_note(note)
    return record


# --- what rules came to ------------------------------------------------------------------------------------------


def accounts(
    rules: Sequence[BoundRule], applied: Mapping[int, FillRecord], module: nn.Module
) -> tuple[RuleApplied, ...]:
    """Return for each rule how many parameters it filled, in how many of them no later one followed, and what it left.

    A computed weight counts, what it is stored in does not. What another rule filled is not left.
    """
    own = [one for key, one in applied.items() if not isinstance(one.target, ComputedTarget) or id(one.target) == key]
    matched = Counter(fill.number for fill in {fill for one in own for fill in one.fills})
    kept = Counter(one.fills[-1].number for one in own)
    nowhere = (one for one in own if isinstance(one.target, StoredTarget) and one.target.parameter.is_meta)
    meta = Counter(fill.number for fill in {fill for one in nowhere for fill in one.fills})
    untouched = [one for one in (targets_in(module) if rules else ()) if not _is_filled(one, applied)]
    return tuple(
        RuleApplied(
            str(rule.rule), rule.rule.where, matched[number], kept[number], meta[number], *_left(rule, untouched)
        )
        for number, rule in enumerate(rules)
    )


def _is_filled(target: Target, applied: Mapping[int, FillRecord]) -> bool:
    """Tell whether a rule filled a target, or what a computed one is stored in."""
    if isinstance(target, StoredTarget):
        return id(target.parameter) in applied
    return isinstance(target, ComputedTarget) and any(id(part) in applied for part in target.stored)


def constructed(owner: nn.Module, name: str, parameter: nn.Parameter) -> FillRecord | None:
    """Describe what torch's own constructor did to a parameter no rule touched; None where it is not known.

    It looks at what `owner` holds and asks for no attribute: a parametrised weight would be computed by that.
    """
    kind = type(owner)
    if not kind.__module__.startswith("torch.nn.") or parameter.is_complex():
        return None
    weight = weight_shape(owner)
    leaf, shape = name.rpartition(".")[2], tuple(parameter.shape)
    moments = default_moments(kind.__name__, leaf, shape, bias_fan_in(kind.__name__, weight))
    padding = padding_rows(((owner, leaf),))
    moments = moments and diluted(moments, len(padding) / shape[0] if padding else 0.0)
    return None if moments is None else FillRecord(Init("default"), None).with_moments(moments)
