"""Which rules are asked, about which names, and with which thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from fnmatch import fnmatchcase

from paraminspect.frozen import dataclass
from paraminspect.rules.rule import CheckRule, Problem


@dataclass(frozen=True)
class Selection:
    """Rules by ID or a prefix: those in `select` (all that are on, if it is empty), without those in `ignore`.

    A rule that is off by default runs where `select` has its whole ID. `ignore` may name a rule for some names alone:
    ``PI201:head.*`` leaves out what PI201 says of them. `thresholds` stand in for the rules' own, by ID.
    `known` are names by rules that a baseline has, the empty one for the model as a whole: nothing is said of them.
    `also` are rules that run though they are off.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)
    known: Mapping[str, frozenset[str]] = field(default_factory=dict)
    also: tuple[str, ...] = ()

    def has(self, rule: CheckRule) -> bool:
        """Tell whether a rule is asked at all."""
        wanted = [prefix for prefix in self.select if rule.id.startswith(prefix)]
        if self.select and not wanted:
            return False
        if not (rule.on or rule.id in (*wanted, *self.also)):
            return False
        return not any(rule.id.startswith(prefix) for prefix in self.ignore if ":" not in prefix)

    def narrowed(self, problem: Problem) -> Problem | None:
        """Return a problem without the names that are ignored or known, None where none is left."""
        known = self.known.get(problem.rule)
        if known is not None:
            left = tuple(name for name in problem.names if name not in known)
            if not left and (problem.names or problem.where in known):
                return None
            problem = replace(problem, names=left)
        globs = [
            glob
            for rule, sign, glob in (one.partition(":") for one in self.ignore)
            if sign and problem.rule.startswith(rule)
        ]
        if not globs:
            return problem
        if not problem.names:
            return None if "*" in globs else problem
        left = tuple(name for name in problem.names if not any(fnmatchcase(name, glob) for glob in globs))
        return replace(problem, names=left) if left else None


EVERYTHING = Selection()


def wanted(problems: Sequence[Problem], rules: Mapping[str, CheckRule], selection: Selection) -> list[Problem]:
    """Return the problems of the rules that are selected, without the names that are ignored."""
    kept = [one for one in problems if one.rule not in rules or selection.has(rules[one.rule])]
    narrowed = map(selection.narrowed, kept)
    return [one for one in narrowed if one is not None]
