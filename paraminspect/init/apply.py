"""Rules carried out: every fill in the order written, and what should be there afterwards."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from paraminspect.errors import UserError, did_you_mean
from paraminspect.init.applied import Applied, Touch
from paraminspect.init.custom import CustomScheme
from paraminspect.init.overlapping_rules import interplay
from paraminspect.init.parametrised import Computed
from paraminspect.init.per_parameter_seed import seed_of
from paraminspect.init.schemes.bound_scheme import BoundScheme
from paraminspect.init.schemes.constructor_defaults import bias_fan_in, default_moments
from paraminspect.init.schemes.expected_moments import diluted, scaled
from paraminspect.init.schemes.fans import fan_caveat
from paraminspect.init.target import Outcome, Stored, Target, padding_rows
from paraminspect.init.targets import targets_in
from paraminspect.isolation.torch_state import generators_kept
from paraminspect.report import Init, RuleApplied
from paraminspect.spec.model import Rule
from paraminspect.text.escape import some_names

if TYPE_CHECKING:
    from torch import nn

    from paraminspect.init.calibrate import Calibration
    from paraminspect.init.rules import BoundRule


# --- which parameters --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Fill:
    """One rule about to fill one target; `names` are those of its names that the rule matches."""

    touch: Touch
    rule: BoundRule
    scheme: BoundScheme | CustomScheme
    target: Target


def _plan(module: nn.Module, rules: Sequence[BoundRule]) -> list[_Fill]:
    """Return every fill in order; raises UserError naming all the rules that match nothing."""
    targets = targets_in(module) if rules else []
    plan: list[_Fill] = []
    idle: list[Rule] = []
    for number, rule in enumerate(rules):
        chosen = _chosen(rule, targets)
        for target, names in chosen:
            touch = Touch(len(plan), number, str(rule.rule), names)
            plan.append(_Fill(touch, rule, rule.scheme, target))
        if not chosen:
            idle.append(rule.rule)
    if idle:
        raise _no_match([name for target in targets for name in target.names], idle)
    return [replace(fill, scheme=_settled(module, fill)) for fill in plan]


def _chosen(rule: BoundRule, targets: Sequence[Target]) -> list[tuple[Target, tuple[str, ...]]]:
    """Return what a rule fills with the names it matches.

    With a computed weight goes what it is stored in: a rule that matches both means the weight.
    """
    matched = [(target, tuple(filter(rule.matches, target.names))) for target in targets]
    matched = [(target, names) for target, names in matched if names]
    parts = {id(part) for target, _ in matched if isinstance(target, Computed) for part in target.stored}
    return [
        (target, names)
        for target, names in matched
        if not (isinstance(target, Stored) and id(target.parameter) in parts)
    ]


def _no_match(names: list[str], rules: list[Rule]) -> UserError:
    near = filter(None, (did_you_mean(rule.params, names) for rule in rules if not rule.weights_or_biases))
    hint = next(near, f"parameters: {some_names(names)}")
    if len(rules) == 1:
        return UserError(_idle(rules[0]), where=rules[0].where, hint=hint, code="glob-matches-nothing")
    each = "; ".join(f"{rule.where} {_idle(rule)}" for rule in rules)
    return UserError(f"{len(rules)} rules match nothing: {each}", hint=hint, code="glob-matches-nothing")


def _idle(rule: Rule) -> str:
    if rule.weights_or_biases:
        return f"no parameter is a {rule.weights_or_biases}: none has it in the last part of its name"
    return f"{rule.params!r} matches no parameter"


# --- filling them ------------------------------------------------------------------------------------------------


def apply_rules(module: nn.Module, rules: Sequence[BoundRule], seed: int = 0) -> dict[int, Applied]:
    """Run every rule in order; a later one wins, and says which it overrode.

    Keyed by the id of the Parameter; a weight that others are stored for by the id of its `target`. Everything is
    checked before anything is changed, except what only the user's code can know. `seed` is for the rules with a
    stream for each parameter, which leave torch's generators as they were. Raises UserError naming every rule that
    matches nothing, or the parameter that a scheme cannot fill.
    """
    plan = _plan(module, rules)
    for fill in plan:
        with _placed(fill.rule.rule):
            _check(fill)
    done: dict[int, Applied] = {}
    apart = any(fill.rule.seed_per_parameter for fill in plan)
    with generators_kept() if apart else contextlib.nullcontext():
        for fill in plan:
            with _placed(fill.rule.rule, beside=False):
                _run(fill, seed, done)
    return interplay(module, done)


@contextlib.contextmanager
def _placed(rule: Rule, beside: bool = True) -> Iterator[None]:
    """Say in an error which rule it is about, `beside` a place of its own or only where it has none."""
    try:
        yield
    except UserError as error:
        places = (rule.where, error.where) if beside or not error.where else (error.where,)
        where = ": ".join(dict.fromkeys(filter(None, places)))
        raise UserError(error.message, where=where, hint=error.hint, code=error.code) from error


def _settled(module: nn.Module, fill: _Fill) -> BoundScheme | CustomScheme:
    with _placed(fill.rule.rule):
        return fill.scheme.for_parameter(module, fill.touch.names[0])


def _check(fill: _Fill) -> None:
    target, name = fill.target, fill.touch.names[0]
    target.refuse()
    if fill.rule.needs_batch and isinstance(target, Computed):
        message = f"{fill.scheme.name} scales what is stored; {name!r} is {target.note}"
        raise UserError(message, hint="leave it out of the rule", code="not-invertible")
    fill.scheme.check(name, target.shape, target.dtype)


def _run(fill: _Fill, seed: int, done: dict[int, Applied]) -> None:
    import torch

    target = fill.target
    if fill.rule.seed_per_parameter:
        torch.manual_seed(seed_of(seed, target.names[0]))
    outcome = target.fill(fill.scheme, fill.touch.names[0])
    key = id(target.parameter) if isinstance(target, Stored) else id(target)
    done[key] = _describe(fill, outcome, done.get(key))
    for part in target.stored if isinstance(target, Computed) else ():
        done[id(part)] = _begun(fill, done.get(id(part))).noting(f"set through {target.names[0]!r}")


def _begun(fill: _Fill, before: Applied | None) -> Applied:
    """Describe a fill as far as the rule goes."""
    overridden: tuple[str, ...] = ()
    if before is not None:
        overridden = (*before.init.overridden, before.init.rule or before.init.scheme)
    init = Init(fill.scheme.name, dict(fill.scheme.args), rule=fill.touch.rule, overridden=overridden)
    touches = (*(before.touches if before else ()), fill.touch)
    return Applied(init, None, touches, fill.target, fill.scheme)


def _describe(fill: _Fill, outcome: Outcome, before: Applied | None) -> Applied:
    target = fill.target
    fan_in, fan_out = fill.scheme.fans(target.shape) or (None, None)
    moments = fill.scheme.moments(target.shape) if outcome.kept else None
    begun = _begun(fill, before)
    begun = replace(begun, init=replace(begun.init, fan_in=fan_in, fan_out=fan_out))
    caveats = (fan_caveat(*owner, target.shape) for owner in target.owners if fan_in is not None)
    described = begun.expecting(moments and diluted(moments, outcome.zeros))
    for note in (*outcome.notes, next(filter(None, caveats), "")):
        described = described.noting(note)
    return described


# --- on a batch --------------------------------------------------------------------------------------------------


def scale_to_batch(
    module: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    applied: Mapping[int, Applied],
    contain: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> dict[int, Applied]:
    """Run the second step of the schemes that go by what layers return on a batch (lsuv), where they came last.

    `contain` is what the module's code runs inside. Raises UserError as `calibrate` does.
    """
    from paraminspect.init.calibrate import calibrate

    chosen = {key: one for key, one in applied.items() if one.scheme and one.scheme.needs_batch}
    weights = [
        (one.touches[-1].names[0], one.target.parameter, one.scheme)
        for one in chosen.values()
        if isinstance(one.target, Stored) and isinstance(one.scheme, BoundScheme)
    ]
    done = calibrate(module, args, kwargs, weights, contain) if weights else ()
    scaled = {key: _scaled(chosen[key], found) for key, found in zip(chosen, done, strict=True)}
    return {**applied, **scaled}


def _scaled(applied: Applied, found: Calibration) -> Applied:
    """Expect the moments times the factor, and say where it comes from."""
    scale = ""
    if found.before is not None and found.after is not None:
        steps = "1 step" if found.steps == 1 else f"{found.steps} steps"
        scale = f"scaled by {found.scale:.4g} in {steps}: std of the output {found.before:.4g}, then {found.after:.4g}"
    expected = applied.expecting(applied.moments and scaled(applied.moments, found.scale))
    return expected.noting(scale).noting(found.note)


# --- what rules came to ------------------------------------------------------------------------------------------


def accounts(rules: Sequence[BoundRule], applied: Mapping[int, Applied]) -> tuple[RuleApplied, ...]:
    """Return for each rule how many parameters it filled, and in how many of them no later one followed.

    A computed weight counts, what it is stored in does not.
    """
    own = [one for key, one in applied.items() if not isinstance(one.target, Computed) or id(one.target) == key]
    matched = Counter(touch.number for touch in {touch for one in own for touch in one.touches})
    kept = Counter(one.touches[-1].number for one in own)
    return tuple(
        RuleApplied(str(rule.rule), rule.rule.where, matched[number], kept[number]) for number, rule in enumerate(rules)
    )


def constructed(owner: nn.Module, name: str, parameter: nn.Parameter) -> Applied | None:
    """Describe what torch's own constructor did to a parameter no rule touched; None where it is not known.

    It looks at what `owner` holds and asks for no attribute: a parametrised weight would be computed by that.
    """
    kind = type(owner)
    if not kind.__module__.startswith("torch.nn.") or parameter.is_complex():
        return None
    held = vars(owner)
    weight = tuple(getattr(held["_parameters"].get("weight", held.get("weight")), "shape", ()))
    leaf, shape = name.rpartition(".")[2], tuple(parameter.shape)
    moments = default_moments(kind.__name__, leaf, shape, bias_fan_in(kind.__name__, weight))
    padding = padding_rows(((owner, leaf),))
    moments = moments and diluted(moments, len(padding) / shape[0] if padding else 0.0)
    return None if moments is None else Applied(Init("default"), None).expecting(moments)
