"""`init`: what every scheme did, before beside after beside expected; what was overridden or left alone; the digest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from paraminspect.init.slice_text import SLICES
from paraminspect.page import columns
from paraminspect.page.folding import Arrangement, folded
from paraminspect.page.heading import page_of
from paraminspect.page.parameter_tables import other_tables
from paraminspect.page.part_lines import part_lines, with_parts
from paraminspect.page.parts import Column, Entries, Line, Page, Table
from paraminspect.page.remarks import left_alone, nonfinite_values, notes, padding_rows_kept, remarks, uninitialised
from paraminspect.page.values import listings
from paraminspect.page.verdicts import conformity, figures_off, verdict_column
from paraminspect.report import Init, Initialisation, Parameter, Report, RuleApplied
from paraminspect.text.escape import View, code
from paraminspect.text.numbers import plural, some_of

_NAMES = 4
_MOST_NOTES = 8


def init(report: Report, view: View) -> Page:
    """Return the table of moments, then what was applied, overridden or left alone, and the digest."""
    arranged = Arrangement(report, view)
    rows = arranged.rows("parameter", "computed")
    lines = list(with_parts(rows))
    table = Table(_columns(report, lines, view), lines, folded(rows), legend=columns.why_no_histogram(rows))
    others = other_tables(arranged, view) if view.on_paper else ()
    return page_of(report, view, [table, *others, Entries(list(_summary(report, view)), 10), *listings(report, view)])


def _columns(report: Report, rows: Sequence[Parameter], view: View) -> list[Column[Parameter]]:
    off = figures_off(report)
    return [
        columns.name("parameter"),
        columns.shape(6),
        *([columns.dtype(6), columns.count(rows, 6)] if view.on_paper else ()),
        columns.scheme("scheme", 5),
        columns.fan("in", 8),
        columns.fan("out", 8),
        columns.measured("mean", columns.before, 4, "before"),
        columns.measured("std", columns.before, 4, "before"),
        columns.measured("mean", columns.now, 2, "after", off),
        columns.measured("std", columns.now, 2, "after", off),
        columns.expected("mean", 3),
        columns.expected("std", 3),
        columns.expected("low", 10),
        columns.expected("high", 10),
        columns.measured("min", columns.now, 9),
        columns.histogram(view, 7),
        columns.measured("max", columns.now, 9),
        verdict_column(report),
    ]


def _summary(report: Report, view: View) -> Iterator[Line]:
    """Yield what was done, what is not as it should be, what to compare with another machine, where the file is."""
    found = report.initialisation or Initialisation()
    rows = [row for row in report.parameters if row.kind in ("parameter", "computed")]
    slices = [part for row in rows if row.init and row.init.scheme == SLICES for part in part_lines(row)]
    if view.on_paper:
        yield from remarks(report)
    yield from _rules(found)
    yield from _overridden(found, [row.init for row in rows if row.init], "tensor")
    yield from _overridden(found, [part.init for part in slices if part.init], "slice")
    yield from left_alone(report)
    left = {name for one in found.rules for name in (*one.norms, *one.others)}
    yield from _untouched(
        [row for row in rows if row.name not in left and (not row.init or row.init.scheme == "default")]
    )
    named = ((row.name, note) for row in (*rows, *slices) if row.init for note in row.init.notes)
    yield from notes("note", named, None if view.width is None else _MOST_NOTES)
    yield from padding_rows_kept(report)
    yield from nonfinite_values(row for row in rows if row.kind == "parameter")
    yield from uninitialised(report)
    yield from conformity(report)
    yield from _digest(report, found)


def _rules(found: Initialisation) -> Iterator[Line]:
    for one in found.rules:
        if one.meta:
            filled = f"to {plural(one.matched - one.meta, 'tensor')}" if one.matched > one.meta else "to no tensor"
            yield "applied", f"{code(_as_given(one))} {filled}: {one.meta:,} on the meta device hold no numbers"
        elif one.kept:
            yield "applied", f"{code(_as_given(one))} to {plural(one.matched, 'tensor')}"
    for one in found.rules:
        if not one.kept and not one.meta:
            of = "the only tensor" if one.matched == 1 else f"all {one.matched:,} tensors"
            yield "no effect", f"{code(_as_given(one))}: later rules filled {of} it had filled"


def _as_given(rule: RuleApplied) -> str:
    """Spell a rule as the user did: ``--scheme`` and ``--bias`` are no globs, for they leave out what norms hold."""
    return f"{rule.where} {rule.rule.partition('=')[2]}" if rule.where in ("--scheme", "--bias") else rule.rule


def _overridden(found: Initialisation, inits: Sequence[Init], noun: str) -> Iterator[Line]:
    spelled = {one.rule: _as_given(one) for one in found.rules}
    replaced = Counter((init.overridden, init.rule or init.scheme) for init in inits if init.overridden)
    for (earlier, rule), times in replaced.items():
        before, after = [code(spelled.get(one, one)) for one in earlier], code(spelled.get(rule, rule))
        yield "overridden", f"{', '.join(before)} by {after} in {plural(times, noun)}"


def _untouched(left: Sequence[Parameter]) -> Iterator[Line]:
    """Say what no rule touched; where a constructor of torch drew it, that is what the table expects of it.

    What changed all the same lies in the memory of another, whose note says so.
    """
    built = [code(row.name) for row in left if row.init]
    others = [code(row.name) for row in left if not row.init and row.before == row.values]
    if built:
        drew = f"as torch's constructor drew {'it' if len(built) == 1 else 'them'}"
        yield "untouched", f"{some_of(built, _NAMES)}: {drew}"
    if others:
        yield "untouched", f"{some_of(others, _NAMES)}: as {'it was' if len(others) == 1 else 'they were'}"


def _digest(report: Report, found: Initialisation) -> Iterator[Line]:
    environment = report.environment
    if found.digest:
        torch = f"torch {code(environment.torch)}, " if environment.torch else ""
        apart = ", each parameter its own" if found.seed_per_parameter else ""
        yield "digest", f"{code(found.digest)} ({torch}seed {environment.seed}{apart})"
    if found.saved:
        yield "saved", code(found.saved)
