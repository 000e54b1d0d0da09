"""Which parameters, and which slices of them, each rule fills; and what is said of a rule that fills none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from glob import escape
from typing import TYPE_CHECKING

from paraminspect.errors import UserError, did_you_mean
from paraminspect.frozen import dataclass
from paraminspect.init.computed_weights import ComputedTarget
from paraminspect.init.custom_scheme import CustomScheme
from paraminspect.init.fill_record import Fill
from paraminspect.init.rules import left_in_words
from paraminspect.init.schemes.bound_scheme import BoundScheme
from paraminspect.init.slice_target import SliceTarget, slices_of
from paraminspect.init.slice_text import EACH, meant_slice
from paraminspect.init.target import StoredTarget, Target
from paraminspect.init.target_search import targets_in
from paraminspect.text.escape import some_names

if TYPE_CHECKING:
    from torch import nn

    from paraminspect.init.rules import BoundRule
    from paraminspect.modules.row_slices import RowSlice, SliceNames


@dataclass(frozen=True)
class PlannedFill:
    """One rule about to fill one target; `fill` is what will be on record of it."""

    fill: Fill
    rule: BoundRule
    scheme: BoundScheme | CustomScheme
    target: Target
    slices: SliceNames

    @property
    def stacked(self) -> str:
        """Say that the scheme takes stacked gates for one matrix, where each by itself would have another std.

        For example ``orthogonal takes the 4 gates for one matrix, whose std is smaller than that of each by itself``.
        """
        if isinstance(self.target, SliceTarget) or not isinstance(self.scheme, BoundScheme) or self.scheme.needs_batch:
            return ""
        shape, owners = self.target.shape, self.target.owners
        parts = next(filter(None, (self.slices.stacked(*owner, shape) for owner in owners)), ())
        if not parts or self.scheme.lack(parts[0].shape_in(shape)):
            return ""
        together, apart = (self.scheme.moments(of).std for of in (shape, parts[0].shape_in(shape)))
        if not together or not apart or abs(together / apart - 1.0) < 1e-9:
            return ""
        what = f"{len(parts)} {'projections' if parts[0].name == 'query' else 'gates'}"
        than = "smaller" if together < apart else "larger"
        matrix = f"one matrix, whose std is {than} than that of each by itself"
        return f"{self.scheme.name} takes the {what} for {matrix}{self._for_each()}"

    def _for_each(self) -> str:
        """Return what to write so that each gate is filled by itself; nothing for one of compare's schemes."""
        rule = self.rule.rule
        if " " in rule.where:
            return ""
        glob = f"{rule.params}[each]"
        typed = f"--rule '{glob}={self.rule.scheme}'" if rule.where.startswith("--") else f"params: '{glob}'"
        return f"; {typed} fills each"

    @property
    def name(self) -> str:
        """Return the name by which the rule found the target, with the slice behind it where it is one."""
        label = self.target.rows.label if isinstance(self.target, SliceTarget) else ""
        return f"{self.fill.names[0]}{label}"


def plan_fills(module: nn.Module, rules: Sequence[BoundRule]) -> list[PlannedFill]:
    """Return every fill in order; raises UserError naming all the rules that match nothing."""
    if not rules:
        return []
    targets, names = targets_in(module), slice_names(module)
    plan: list[PlannedFill] = []
    idle: list[BoundRule] = []
    for number, rule in enumerate(rules):
        chosen = choose(rule, targets, names)
        for target, found in chosen:
            fill = Fill(len(plan), number, str(rule.rule), found, id(whole_of(target)))
            plan.append(PlannedFill(fill, rule, rule.scheme, target, names))
        if not chosen:
            idle.append(rule)
    if idle:
        raise _no_match(targets, idle, names)
    return plan


def slice_names(module: nn.Module) -> SliceNames:
    """Return what knows the gates and projections of every parameter of a module."""
    from paraminspect.modules.row_slices import SliceNames
    from paraminspect.modules.walk import walk

    return SliceNames(walk(module).paths)


def whole_of(target: Target) -> Target:
    """Return what a slice is one of, and anything else as it is."""
    return target.whole if isinstance(target, SliceTarget) else target


def choose(rule: BoundRule, targets: Sequence[Target], names: SliceNames) -> list[tuple[Target, tuple[str, ...]]]:
    """Return what a rule fills with the names it matches, slice by slice where it is for slices.

    With a computed weight goes what it is stored in: a rule that matches both means the weight. A parameter that goes
    by the very text of the rule has no slice meant by it. Raises UserError for rows that a tensor does not have.
    """
    if rule.rows and any(rule.rule.params in target.names for target in targets):
        rule = replace(rule, glob=escape(rule.rule.params), rows=None)
    matched = [(target, rule.names_of(target)) for target in targets]
    matched = [(target, found) for target, found in matched if found]
    parts = {id(part) for target, _ in matched if isinstance(target, ComputedTarget) for part in target.stored}
    matched = [
        (target, found)
        for target, found in matched
        if not (isinstance(target, StoredTarget) and id(target.parameter) in parts)
    ]
    if rule.rows is None:
        return matched
    return [
        (SliceTarget(target, rows), found)
        for target, found in matched
        if isinstance(target, StoredTarget | ComputedTarget)
        for rows in slices_of(target, rule.rows, names, rule.rule.where)
    ]


def slices_planned(module: nn.Module, rules: Sequence[BoundRule]) -> dict[int, tuple[RowSlice, ...]]:
    """Return the slices that rules are about to fill, by the id of the Parameter, or of the computed weight's stored.

    A rule that matches nothing is left for `plan_fills` to refuse.
    """
    sliced = [rule for rule in rules if rule.rows]
    targets, names = (targets_in(module), slice_names(module)) if sliced else ([], None)
    found: dict[int, dict[RowSlice, None]] = {}
    for rule in sliced:
        assert names is not None
        for target, _ in choose(rule, targets, names):
            if isinstance(target, SliceTarget):
                found.setdefault(_key(target.whole), {})[target.rows] = None
    return {key: tuple(rows) for key, rows in found.items()}


def _key(target: StoredTarget | ComputedTarget) -> int:
    return id(target.parameter) if isinstance(target, StoredTarget) else id(target.stored[0])


# --- rules that match nothing --------------------------------------------------------------------------------------


def _no_match(targets: Sequence[Target], idle: Sequence[BoundRule], slices: SliceNames) -> UserError:
    names = [name for target in targets for name in target.names]
    rules = [one.rule for one in idle]
    near = [_near(one, targets, slices, names) for one in idle if not one.rule.weights_or_biases]
    left = [target for target in targets if any(rule.leaves(target) for rule in idle)]
    reach = f"--rule '{left[0].names[0]}=SCHEME' reaches one" if left else ""
    hint = next(filter(None, [*near, reach]), f"parameters: {some_names(names)}")
    where, message = rules[0].where, _idle(idle[0], targets)
    if len(rules) > 1:
        each = "; ".join(f"{rule.rule.where} {_idle(rule, targets)}" for rule in idle)
        where, message = "", f"{len(rules)} rules match nothing: {each}"
    return UserError(message, where=where, hint=hint, code="glob-matches-nothing")


def _near(rule: BoundRule, targets: Sequence[Target], slices: SliceNames, names: Sequence[str]) -> str:
    """Return what may be meant by a rule that matches nothing, "" where nothing is close."""
    glob, _, meant = (rule.glob, "", "") if rule.rows else meant_slice(rule.glob)
    there = _matched(glob, targets) if glob else []
    if not there:
        close = did_you_mean(rule.glob, names)
        return f"{close.rstrip('?')} with [{rule.rows.text}] behind it?" if close and rule.rows else close
    named = {one.name: None for target in there for one in slices.named(*target.owners[0], target.known_shape or ())}
    has = f"{glob!r} has {', '.join(named)}"
    if not named:
        shape = there[0].known_shape or (0,)
        has = f"{there[0].names[0]!r} is of one piece; its rows go by number: [0:{shape[0]}]"
    return " ".join(filter(None, (meant * meant.endswith("?"), has))) if not meant.startswith("row") else meant


def _matched(glob: str, targets: Sequence[Target]) -> list[Target]:
    return [target for target in targets if any(fnmatchcase(name, glob) for name in target.names)]


def _idle(rule: BoundRule, targets: Sequence[Target]) -> str:
    """Say what a rule looked for, and what of that kind there is instead."""
    kind = rule.rule.weights_or_biases
    if not kind:
        return _idle_glob(rule, targets)
    norms, others = left_alone(rule, targets)
    if not norms and not others:
        return f"no parameter is a {kind}: none has it in the last part of its name"
    wanted = "a weight that mixes inputs" if kind == "weight" else "a bias but of normalisation layers"
    is_one = len(norms) + len(others) == 1
    return f"no parameter is {wanted}; there {'is' if is_one else 'are'} {left_in_words(kind, norms, others)}"


def _idle_glob(rule: BoundRule, targets: Sequence[Target]) -> str:
    params = rule.rule.params
    there = _matched(rule.glob, targets)
    if rule.rows and there:
        what = "gates or projections" if rule.rows.names == (EACH,) else " or ".join(rule.rows.names)
        if len(there) == 1:
            return f"{params!r}: {there[0].names[0]!r} has no {what}"
        return f"{params!r}: none of the {len(there):,} parameters that {rule.glob!r} matches has {what}"
    glob, inside, _ = ("", "", "") if rule.rows else meant_slice(rule.glob)
    if inside and _matched(glob, targets):
        return f"{params!r}: {inside!r} is no slice that is known, and as a character class it matches no parameter"
    return f"{params!r} matches no parameter"


def left_alone(rule: BoundRule, targets: Sequence[Target]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the first names of what ``--scheme`` or ``--bias`` leaves alone: that of norms, and other weights."""
    from paraminspect.modules.mixing_weights import is_of_norm

    found: dict[bool, list[str]] = {True: [], False: []}
    for target in filter(rule.leaves, targets):
        found[any(is_of_norm(owner, leaf) for owner, leaf in target.owners)].append(target.names[0])
    return tuple(found[True]), tuple(found[False])
