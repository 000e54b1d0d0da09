"""How findings and pages word things: names that are alike, modules for all their parameters, statuses of gradients."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from paraminspect.report import BEHIND_ZERO, Cause, Gradient, Report
from paraminspect.text.braces import pattern
from paraminspect.text.escape import code
from paraminspect.text.numbers import some_of


def names_of(names: Sequence[str]) -> str:
    """Return names as a person would list them: one pattern for many that are alike, else the first two."""
    alike = pattern(names) if len(names) > 2 else None
    return alike or some_of([code(name) for name in names], 2, " and " if len(names) == 2 else ", ")


def modules_of(names: Sequence[str], report: Report) -> str:
    """Return, as a person would list them, the outermost modules that `names` are all the parameters of."""
    return names_of(outermost(names, report))


def outermost(names: Sequence[str], report: Report) -> list[str]:
    """Return the outermost modules all of whose parameters are among `names`, and the names that are in none."""
    every = [row.name for row in report.parameters if row.kind == "parameter"]
    others = set(every).difference(names)
    mixed = {prefix for name in others for prefix in _above(name)}
    tops = (next((prefix for prefix in _above(name) if prefix not in mixed), name) for name in names)
    return list(dict.fromkeys(tops))


def _above(name: str) -> Iterator[str]:
    """Yield the paths of the modules that a name lies in, the outermost first, without the model itself."""
    parts = name.split(".")
    return (".".join(parts[:depth]) for depth in range(1, len(parts)))


_OF_SCHEMES = ("--scheme=", "--bias=", "--rule=", "--seed-per-parameter", "--allow-code")
_WITHOUT_SCHEMES = ("summary", "compare")


def typed(command: str, report: Report) -> str:
    """Return a command line for the same SOURCE with its options, as far as it can be typed."""
    source = report.source
    if source.kind == "module" and ":" not in source.name:  # an object, which has no name in a shell
        return f"paraminspect {command}"
    words = [command, source.label]
    for option in source.options:
        if not (command in _WITHOUT_SCHEMES and option.startswith(_OF_SCHEMES)):
            name, has_value, value = option.partition("=")
            words += [name, value] if has_value else [name]
    return f"paraminspect {shlex.join(words)}"


def is_whole(report: Report) -> bool:
    """Tell whether all of the model's parameters are in the report: of some nothing is said of every one."""
    return report.totals.shown == report.totals.parameters


def by_number(count: int, one: str, several: str) -> str:
    """Return the word for one, or that for several."""
    return one if count == 1 else several


# --- lost gradients ----------------------------------------------------------------------------------------------

DIFFERENTIABLE: Final = "keep what leads to the loss differentiable there"
"""What to do about a gradient of which it is known where it is lost."""


def lost_at(cause: Cause) -> str:
    """Say at which operation a gradient is lost, and why there."""
    return f"lost at {code(cause.op)} in {code(cause.module) or 'the model itself'}: {code(cause.reason)}"


# --- the status of a gradient --------------------------------------------------------------------------------------

ROUNDING: Final = "zero (rounding)"
WORST_FIRST: Final = (
    *("nonfinite", "unused", "disconnected", "zero"),
    *(BEHIND_ZERO, ROUNDING, "frozen", "unknown", "not-run", "ok"),
)
"""The statuses of gradients, the worst first."""


def in_a_word(gradient: Gradient) -> str:
    """Return the status of a gradient; of one that is 0 the reason, if it is a zero weight or rounding.

    Where it was not the same from every seed, how often it was not fine: ``unused in 3 of 5``.
    """
    if gradient.seeds is not None and len(gradient.seeds) > 1:
        runs = sum(gradient.seeds.values())
        troubled = by_severity([status for status in gradient.seeds if status != "ok"])
        return ", ".join(f"{status} in {gradient.seeds[status]:,} of {runs:,}" for status in troubled)
    return gradient.reason or (gradient.status if gradient.rounding is None else ROUNDING)


def by_severity(statuses: Iterable[str]) -> list[str]:
    """Return statuses of gradients, the worst first and those nobody knows before ``ok``."""
    ranks = {status: rank for rank, status in enumerate(WORST_FIRST)}
    return sorted(statuses, key=lambda status: (ranks.get(status, len(ranks) - 1.5), status))
