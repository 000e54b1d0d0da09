"""Rules carried out: every fill in the order written, and what should be there afterwards."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from paraminspect.errors import UserError
from paraminspect.init.computed_weights import ComputedTarget
from paraminspect.init.custom_scheme import CustomScheme
from paraminspect.init.fill_plan import PlannedFill, left_alone, plan_fills, whole_of
from paraminspect.init.fill_record import FillRecord, with_interactions
from paraminspect.init.rules import seed_of
from paraminspect.init.schemes.bound_scheme import BoundScheme
from paraminspect.init.schemes.constructor_defaults import bias_fan_in, default_moments
from paraminspect.init.schemes.expected_moments import diluted
from paraminspect.init.schemes.fans import fan_caveat
from paraminspect.init.slice_target import SliceTarget
from paraminspect.init.target import Outcome, StoredTarget, Target, padding_rows, weight_shape
from paraminspect.init.target_search import targets_in
from paraminspect.isolation.torch_state import generators_kept
from paraminspect.report import Init, RuleApplied
from paraminspect.spec.model import Rule

if TYPE_CHECKING:
    from torch import nn

    from paraminspect.init.rules import BoundRule


# --- filling them ------------------------------------------------------------------------------------------------


def apply_rules(module: nn.Module, rules: Sequence[BoundRule], seed: int = 0) -> dict[int, FillRecord]:
    """Run every rule in order; a later one wins, and says which it overrode.

    Keyed by the id of the Parameter; a weight that others are stored for by the id of its `target`. Everything is
    checked before anything is changed, except what only the user's code can know. `seed` is for the rules with a
    stream for each parameter, which leave torch's generators as they were. Raises UserError naming every rule that
    matches nothing, or the parameter that a scheme cannot fill.
    """
    plan = [replace(planned, scheme=_closed(module, planned)) for planned in plan_fills(module, rules)]
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


def _closed(module: nn.Module, planned: PlannedFill) -> BoundScheme | CustomScheme:
    with _naming(planned.rule.rule):
        return planned.scheme.for_parameter(module, planned.fill.names[0])


def _example(planned: PlannedFill, plan: Sequence[PlannedFill]) -> str:
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


def _check(planned: PlannedFill, plan: Sequence[PlannedFill]) -> None:
    target, name = planned.target, planned.name
    target.refuse()
    if planned.rule.needs_batch and isinstance(target, SliceTarget):
        message = f"{planned.scheme.name} scales whole weights, by what their layers return; {name!r} is a slice"
        raise UserError(message, hint=f"leave {target.rows.label} out", code="slice-not-possible")
    if planned.rule.needs_batch and isinstance(target, ComputedTarget) and not target.takes_any_size:
        message = f"{planned.scheme.name} scales weights, and {target.how} fixes the size of {name!r}"
        raise UserError(message, hint="name the others with --rule, and leave it out", code="not-invertible")
    try:
        planned.scheme.check(name, target.shape, target.dtype)
    except UserError as error:
        example = _example(planned, plan) if error.code == "wrong-shape" else ""
        hint = f"{error.hint}, e.g. {example}" if example else error.hint
        raise UserError(error.message, where=error.where, hint=hint, code=error.code) from error


def _run(planned: PlannedFill, seed: int, done: dict[int, FillRecord]) -> None:
    import torch

    target, whole = planned.target, whole_of(planned.target)
    if planned.rule.seed_per_parameter:
        rows = f"[{target.rows.numbers}]" if isinstance(target, SliceTarget) else ""
        torch.manual_seed(seed_of(seed, f"{whole.names[0]}{rows}"))
    outcome = target.fill(planned.scheme, planned.name)
    key = id(whole.parameter) if isinstance(whole, StoredTarget) else id(whole)
    before = done.get(key)
    if isinstance(target, SliceTarget):
        untouched = FillRecord(Init("default"), None, target=whole)
        done[key] = (before or untouched).with_slice(target.rows, _describe(planned, outcome, _under(target, before)))
    else:
        done[key] = _describe(planned, outcome, before)
    for part in whole.stored if isinstance(whole, ComputedTarget) else ():
        done[id(part)] = _record(planned, done.get(id(part))).with_note(f"set through {whole.names[0]!r}")


def _under(target: SliceTarget, before: FillRecord | None) -> FillRecord | None:
    """Return the record with the fills alone that a slice replaces, in part or all of them."""
    if before is None:
        return None
    beneath = before.beneath.fills[-1:] if before.beneath else before.fills[-1:] if not before.slices else ()
    fills = (fill for rows, one in before.slices if rows.meets(target.rows) for fill in one.fills)
    return replace(before, fills=(*beneath, *fills))


def _record(planned: PlannedFill, before: FillRecord | None) -> FillRecord:
    """Return the record as far as the rule goes: nothing is expected of the values yet."""
    earlier = {fill.number: fill.rule for fill in before.fills} if before else {}
    overridden = tuple(rule for number, rule in earlier.items() if number != planned.fill.number)
    init = Init(planned.scheme.name, dict(planned.scheme.args), rule=planned.fill.rule, overridden=overridden)
    sliced = isinstance(planned.target, SliceTarget)
    fills = (*(before.fills if before and not sliced else ()), planned.fill)
    return FillRecord(init, None, fills, planned.target, planned.scheme)


def _describe(planned: PlannedFill, outcome: Outcome, before: FillRecord | None) -> FillRecord:
    """Return the record of a fill: the moments by the scheme and by what became of it, the fans, and notes."""
    target = planned.target
    fan_in, fan_out = planned.scheme.fans(target.shape) or (None, None)
    moments = planned.scheme.moments(target.shape) if outcome.kept else None
    record = _record(planned, before).with_moments(moments and diluted(moments, outcome.zeros))
    record = replace(record, init=replace(record.init, fan_in=fan_in, fan_out=fan_out), alike=not outcome.zeros)
    if fan_in is None or isinstance(target, SliceTarget):
        caveats: Iterator[str] = iter(())
    else:
        caveats = (fan_caveat(*owner, target.shape) for owner in target.owners)
    remark = planned.scheme.remark if isinstance(planned.scheme, BoundScheme) else ""
    for note in (*outcome.notes, planned.stacked or next(filter(None, caveats), ""), remark):
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
    matched = _tensors_by_rule(own)
    kept = Counter(number for one in own for number in one.seen())
    nowhere = (one for one in own if isinstance(one.target, StoredTarget) and one.target.parameter.is_meta)
    meta = _tensors_by_rule(nowhere)
    untouched = [one for one in (targets_in(module) if rules else ()) if not _is_filled(one, applied)]
    return tuple(
        RuleApplied(
            str(rule.rule), rule.rule.where, matched[number], kept[number], meta[number], *left_alone(rule, untouched)
        )
        for number, rule in enumerate(rules)
    )


def _tensors_by_rule(records: Iterable[FillRecord]) -> Counter[int]:
    """Count the tensors that each rule filled, be it one slice of them or several."""
    return Counter(number for number, _ in {(fill.number, fill.target) for one in records for fill in one.fills})


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
    return None if moments is None else FillRecord(Init("default"), None, alike=not padding).with_moments(moments)
