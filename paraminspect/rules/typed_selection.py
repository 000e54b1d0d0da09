"""Which rules are asked, read from what was typed: on the command line, in a file of settings, in Python."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from paraminspect.errors import UserError, did_you_mean
from paraminspect.rules.catalogue import FAMILIES, RULES
from paraminspect.rules.rule_selection import Selection

_LIST = "paraminspect rules lists them"


def ids_of(texts: Iterable[str], where: str) -> tuple[str, ...]:
    """Return the IDs and prefixes that stand in the texts, several with commas between them, in capitals.

    Behind a colon stand names: ``PI201:head.*``. Raises UserError, placed at `where`, for what no rule begins with.
    """
    return tuple(_known(word.strip(), where) for text in texts for word in text.split(","))


def selection_of(
    select: Sequence[str],
    ignore: Sequence[str],
    thresholds: Mapping[str, float] | None,
    where: str,
) -> Selection:
    """Return the Selection of IDs that are known. Raises UserError where no rule is left, placed at `where`."""
    named = next((one for one in select if ":" in one), None)
    if named is not None:
        rule, _, glob = named.partition(":")
        hint = (
            f"select takes rules, ignore takes names: select {rule}, ignore {rule}:GLOB for the names other than {glob}"
        )
        raise UserError(f"{named!r} names tensors", where=where, hint=hint, code="bad-option")
    found = Selection(tuple(select), tuple(ignore), thresholds or {})
    if not any(map(found.has, RULES.values())):
        what = f"{', '.join(select) or 'all rules'} without {', '.join(ignore)}"
        raise UserError(f"no rule is left: {what}", where=where, hint="select more, or ignore less", code="bad-option")
    return found


def thresholds_of(texts: Iterable[str]) -> dict[str, float]:
    """Return the thresholds that the texts name, each ``PI503=0.99``. Raises UserError."""
    where = "--threshold"
    found: dict[str, float] = {}
    for text in texts:
        rule, sign, number = (part.strip() for part in text.partition("="))
        try:
            value = float(number) if sign else math.nan
        except ValueError:
            value = math.nan
        if math.isnan(value):
            hint = f"for example: {where} PI503=0.99"
            raise UserError(f"{text!r} is no threshold", where=where, hint=hint, code="bad-option")
        found[_known(rule, where)] = value
    for rule, value in found.items():
        check_threshold(rule, value, where)
    return found


def check_threshold(rule: str, value: float, where: str) -> None:
    """Raise UserError for a rule that has no threshold, and for a number that is out of its range."""
    limit = RULES[rule].threshold if rule in RULES else None
    if limit is None:
        known = ", ".join(f"{one.id} ({one.name})" for one in RULES.values() if one.threshold is not None)
        raise UserError(
            f"{rule} has no threshold", where=where, hint=f"those that have one: {known}", code="bad-option"
        )
    most = math.inf if limit.most is None else limit.most
    if not (limit.least <= value <= most and math.isfinite(value)):
        allowed = f"at least {limit.least:g}" if limit.most is None else f"from {limit.least:g} to {limit.most:g}"
        message = f"the threshold of {rule} is {allowed}, got {value:g}"
        raise UserError(message, where=where, hint=f"it is {limit.meaning}", code="bad-option")


def _known(word: str, where: str) -> str:
    rule, colon, glob = word.partition(":")
    rule = rule.strip().upper()
    if rule and any(one.startswith(rule) for one in RULES) and (glob.strip() or not colon):
        return f"{rule}:{glob.strip()}" if colon else rule
    if not rule:
        message, hint = "no rule is named", f"for example: {where} PI3; {_LIST}"
    elif colon and not glob.strip():
        message, hint = f"{word!r} has no name behind its colon", f"for example: {where} {rule}:head.*"
    else:
        by_name = {one.name: one.id for one in RULES.values()}
        named = by_name.get(rule.lower())
        hint = f"its ID is {named}" if named else meant_rule(rule)
        message = f"no rule has the ID {word.partition(':')[0]!r}, nor begins with it"
    raise UserError(message, where=where, hint=hint, code="unknown-rule")


def meant_rule(text: str) -> str:
    """Return what was meant by an ID or a name that no rule has: one of its family that is close, else the families."""
    family = [rule for rule in RULES if rule.startswith(text[:3].upper())]
    names = [] if text[:2].upper() == "PI" else [*RULES, *(rule.name for rule in RULES.values())]
    close = did_you_mean(text.upper() if family else text, family or names) if len(text) > 3 else ""
    if close:
        return close
    return f"{', '.join(f'{beginning} ({about})' for beginning, about in FAMILIES.items())}; {_LIST}"
