"""Every rule, and every function that finds what a rule is about, the worst first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from paraminspect.report import Report
from paraminspect.rules import (
    expectation_rules,
    failed_passes,
    file_rules,
    gradient_rules,
    registration_rules,
    sharing_rules,
    signal_rules,
    value_rules,
)
from paraminspect.rules.rule import CheckRule, Limits, Problem
from paraminspect.rules.rule_selection import Selection, wanted

FAMILIES: Final = {
    "PI0": "expectations",
    "PI1": "registration",
    "PI2": "values",
    "PI3": "gradients",
    "PI4": "sharing",
    "PI5": "signal",
    "PI6": "files",
}
"""What the rules are about, by the beginning of their IDs."""

RULES: Final[Mapping[str, CheckRule]] = {
    rule.id: rule
    for rule in sorted(
        (
            *expectation_rules.RULES,
            *registration_rules.RULES,
            *value_rules.RULES,
            *gradient_rules.RULES,
            *sharing_rules.RULES,
            *signal_rules.RULES,
            *file_rules.RULES,
        ),
        key=lambda rule: rule.id,
    )
}
"""The rules by ID."""

Finder = Callable[[Report, Limits], Iterable[Problem]]

FINDERS: Final[tuple[Finder, ...]] = (
    failed_passes.failed,
    value_rules.nonfinite_values,
    value_rules.uninitialised,
    registration_rules.without_values,
    gradient_rules.nonfinite_passes,
    registration_rules.forgotten,
    gradient_rules.unreached,
    failed_passes.backward_failed,
    sharing_rules.ties,
    value_rules.schemes,
    value_rules.all_zero,
    signal_rules.signal,
    signal_rules.units,
    value_rules.constants,
    value_rules.identical_units,
    signal_rules.too_deep,
    gradient_rules.zeros,
    sharing_rules.norms_of_two,
    registration_rules.unsaved,
    value_rules.dtypes,
    value_rules.subnormals,
    sharing_rules.copies,
    gradient_rules.frozen_beside_trained,
    value_rules.overflow,
    sharing_rules.ties_to_mind,
    gradient_rules.nothing_trains,
    failed_passes.no_input,
)
"""What is looked for, the worst first."""


def limits_of(selection: Selection) -> dict[str, float]:
    """Return the threshold of each rule that has one."""
    own = {rule.id: rule.threshold.default for rule in RULES.values() if rule.threshold is not None}
    return {**own, **selection.thresholds}


def problems_of(report: Report, finders: Iterable[Finder], selection: Selection) -> list[Problem]:
    """Return what the finders find, in their order but notes last, as far as it is selected."""
    limits = limits_of(selection)
    found = wanted([one for finder in finders for one in finder(report, limits)], RULES, selection)
    return sorted(found, key=lambda one: one.severity == "note")
