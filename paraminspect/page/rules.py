"""`rules`: the list of them and the page of one, and both as objects."""

from __future__ import annotations

import textwrap
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


# --- the page of the manual ------------------------------------------------------------------------------------

_FOLD, _HANG = 77, " " * 9

_MANUAL = """# rules: what check looks for, why it matters, what to do

`paraminspect check SOURCE` asks every rule but those that are off. The exit
code is 1 where one finds something, from a warning on: `--fail-on` error or
note moves that. `--select` and `--ignore` take IDs and their beginnings, as
PI3; `--ignore 'PI201:head.*'` leaves out names, `--threshold PI503=0.99` moves
a limit. `paraminspect rules PI301` prints one of them.

An error is certain, a warning likely, a note worth knowing. How bad a rule is
stands behind its name: that is the worst it says, and with less to go by, as in
eval mode, it says less. Where a model in Python is given no `--loss`, check
takes `random`: a sum says nothing of what ends in a softmax or a LayerNorm.
"""


def manual(rules: Sequence[CheckRule]) -> str:
    """Return the page ``paraminspect help rules``: all rules by family, folded for a terminal of 80 columns."""
    parts = [_MANUAL]
    for beginning, family in FAMILIES.items():
        own = "\n".join(_entry(rule) for rule in rules if rule.id.startswith(beginning))
        parts.append(f"\n## {beginning}: {family}\n\n```text\n{own}```\n")
    return "".join(parts)


def _entry(rule: CheckRule) -> str:
    """Return what stands on the page about one rule, a term a line."""
    lines = [("finds", rule.finds), ("why", rule.why), ("example", rule.example), ("try", rule.remedy)]
    if rule.threshold is not None:
        lines.append(("limit", f"{figure(rule.threshold.default)}: {rule.threshold.meaning}"))
    off = "" if rule.on else f", off: --select {rule.id}"
    folded = (
        textwrap.fill(
            text, _FOLD, initial_indent=f"{term:<{len(_HANG)}}", subsequent_indent=_HANG, break_on_hyphens=False
        )
        for term, text in lines
    )
    return "\n".join([f"{rule.id} {rule.name} ({rule.severity}{off})", *folded, ""])
