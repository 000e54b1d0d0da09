"""`rules`: the list of them and the page of one, and both as objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from paraminspect.page.parts import Column, Entries, Page, Paragraph, Part, Table
from paraminspect.rules.catalogue import FAMILIES
from paraminspect.rules.rule import CheckRule
from paraminspect.text.escape import View, code
from paraminspect.text.numbers import figure

_WIDTH = 9


def rules_object(rules: Sequence[CheckRule]) -> dict[str, Any]:
    """Return what the rules tell about themselves as one object for JSON."""
    return {"schema": "paraminspect.rules", "version": 1, "rules": list(map(_plain, rules))}


def _plain(rule: CheckRule) -> dict[str, Any]:
    return {**asdict(rule), "family": family_of(rule)}


def family_of(rule: CheckRule) -> str:
    """Return what a rule is about."""
    return next(name for beginning, name in FAMILIES.items() if rule.id.startswith(beginning))


def overview(rules: Sequence[CheckRule], view: View) -> Page:
    """Return a line for each rule."""
    columns = [
        Column[CheckRule]("rule", lambda rule: rule.id),
        Column[CheckRule]("name", lambda rule: rule.name),
        Column[CheckRule]("about", family_of),
        Column[CheckRule]("severity", lambda rule: rule.severity if rule.on else f"{rule.severity}, if selected"),
    ]
    more = Paragraph("paraminspect rules PI301 explains one; check --select and --ignore take IDs and prefixes")
    return Page("", "", (), [Table(columns, list(rules)), more])


def explanation(rule: CheckRule, view: View) -> Page:
    """Return the page of one rule: what it finds, why that matters, an example, what to do."""
    lines = [("finds", rule.finds), ("why", rule.why), ("example", code(rule.example)), ("try", rule.remedy)]
    if rule.threshold is not None:
        limit = f"{figure(rule.threshold.default)}: {rule.threshold.meaning}"
        lines.append(("limit", f"{limit}; --threshold {rule.id}=NUMBER"))
    if not rule.on:
        lines.append(("off", f"runs only where it is selected: --select {rule.id}"))
    parts: list[Part] = [Entries(lines, _WIDTH)]
    return Page(f"{rule.id} {rule.name}", f"{rule.severity}, about {family_of(rule)}", (), parts)
