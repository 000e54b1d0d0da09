"""What the rules of initialisation came to, in words: what they filled, overrode and left alone, and the digest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from paraminspect.report import Init, Initialisation, Parameter, Report
from paraminspect.text.numbers import plural, some_of

_NAMES = 4

Shown = Callable[[str], str]


def initialisation(report: Report, shown: Shown, most: int | None = None) -> Iterator[tuple[str, str]]:
    """Yield a head and a text each; `shown` escapes what comes from an input, `most` limits the notes."""
    found = report.initialisation or Initialisation()
    rows = [row for row in report.parameters if row.kind in ("parameter", "computed")]
    yield from _rules(found, shown)
    yield from _overridden([row.init for row in rows if row.init], shown)
    yield from _untouched([row for row in rows if not row.init or row.init.scheme == "default"], shown)
    yield from _notes(rows, shown, most)


def provenance(report: Report, shown: Shown) -> Iterator[tuple[str, str]]:
    """Yield what to compare with another machine, and where the file is."""
    found, environment = report.initialisation or Initialisation(), report.environment
    if found.digest:
        torch = f"torch {shown(environment.torch)}, " if environment.torch else ""
        apart = ", each parameter its own" if found.seed_per_parameter else ""
        yield "digest", f"{shown(found.digest)} ({torch}seed {environment.seed}{apart})"
    if found.saved:
        yield "saved", shown(found.saved)


def _rules(found: Initialisation, shown: Shown) -> Iterator[tuple[str, str]]:
    for one in found.rules:
        if one.kept:
            yield "applied", f"{shown(one.rule)} to {plural(one.matched, 'tensor')}"
    for one in found.rules:
        if not one.kept:
            of = "the only tensor" if one.matched == 1 else f"all {one.matched:,} tensors"
            yield "no effect", f"{shown(one.rule)}: later rules filled {of} it had filled"


def _overridden(inits: Sequence[Init], shown: Shown) -> Iterator[tuple[str, str]]:
    replaced = Counter((init.overridden, init.rule or init.scheme) for init in inits if init.overridden)
    for (earlier, rule), times in replaced.items():
        yield "overridden", f"{', '.join(map(shown, earlier))} by {shown(rule)} in {plural(times, 'tensor')}"


def _untouched(left: Sequence[Parameter], shown: Shown) -> Iterator[tuple[str, str]]:
    """Say what no rule touched; where a constructor of torch drew it, that is what the table expects of it.

    What changed all the same lies in the memory of another, whose note says so.
    """
    built = [shown(row.name) for row in left if row.init]
    others = [shown(row.name) for row in left if not row.init and row.before == row.values]
    if built:
        yield (
            "untouched",
            f"{some_of(built, _NAMES)}: as torch's constructor drew {'it' if len(built) == 1 else 'them'}",
        )
    if others:
        yield "untouched", f"{some_of(others, _NAMES)}: as {'it was' if len(others) == 1 else 'they were'}"


def _notes(rows: Sequence[Parameter], shown: Shown, most: int | None) -> Iterator[tuple[str, str]]:
    """Yield every note once, after the names it is about."""
    names: dict[str, list[str]] = {}
    for row in rows:
        for note in row.init.notes if row.init else ():
            names.setdefault(note, []).append(shown(row.name))
    for note in list(names)[:most]:
        yield "note", f"{some_of(names[note], _NAMES)}: {shown(note)}"
    left = 0 if most is None else sum(map(len, list(names.values())[most:]))
    if left:
        yield "note", f"and {left:,} more"
