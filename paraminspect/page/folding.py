"""Repeated blocks as one row, exactly: a pattern in bash's braces for the names it expands to, and no others.

Of blocks of one kind (see `repeated_blocks`) the rows that agree in everything else too become one row with their
counts added up; a row that differs stays by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from paraminspect.page.repeated_blocks import (
    FEWEST_ROWS,
    Growing,
    HollowName,
    NameGroup,
    fold_groups,
    kinds_of_blocks,
    parse_name,
    relative_names,
    spelled_like,
)
from paraminspect.page.several import Several, at_depth, members_of, sum_up
from paraminspect.report import Gradient, Init, Parameter, ParameterPart, Report, Values
from paraminspect.rules.wording import in_a_word
from paraminspect.text.escape import View
from paraminspect.text.numbers import plural

Places = Callable[[Parameter], Sequence[str]]


class Arrangement:
    """Arrange the rows of a report as a view wants them."""

    def __init__(self, report: Report, view: View) -> None:
        self.report = report
        self._view = view
        verdicts: dict[str | None, set[Hashable]] = {}
        for verdict in report.verdicts:
            verdicts.setdefault(verdict.where, set()).add((verdict.about, verdict.figure, verdict.verdict))
        self._verdicts = {name: frozenset(found) for name, found in verdicts.items()}

    def rows(
        self,
        *kinds: str,
        places: Places = lambda _: (),
        beside: Callable[[Parameter], Hashable] = lambda _: None,
    ) -> list[Parameter]:
        """Return the rows of some kinds, in the order of the report.

        `places` are the modules that a table names beside a row, `beside` what else it says there: folded rows agree in
        both.
        """
        rows = [row for row in self.report.parameters if row.kind in kinds]
        if self._view.depth is not None:
            rows = at_depth(rows, self._view.depth)
        if not self._view.fold or len(rows) < FEWEST_ROWS:
            return rows
        return fold(rows, lambda row: (self._judged(row), beside(row)), places)

    @property
    def buffers_by_kind(self) -> bool:
        """Tell whether buffers of the same kind are one row."""
        return self._view.fold and not self._view.buffers

    def buffers(self) -> list[Parameter]:
        """Return one row for each kind of buffer, which is the last component of their names, unless all are wanted."""
        if not self.buffers_by_kind:
            return self.rows("buffer")
        kinds: dict[tuple[str, str, str], list[Parameter]] = {}
        for row in self.report.parameters:
            if row.kind == "buffer":
                kinds.setdefault((row.name.rpartition(".")[2], row.dtype, row.device), []).append(row)
        return [
            sum_up(rows, name, tensors=len(rows)) if len(rows) > 1 else rows[0] for (name, *_), rows in kinds.items()
        ]

    def _judged(self, row: Parameter) -> Hashable:
        if isinstance(row, Several):
            return tuple([self._verdicts.get(member.name) for member in row.members])
        parts = [self._verdicts.get(f"{row.name}{part.label}") for part in row.parts] if row.parts else ()
        return (self._verdicts.get(row.name), tuple(parts))


def folded(rows: Sequence[Parameter]) -> str:
    """Say how many rows were folded into how many; nothing where none were."""
    times = [row.times for row in rows if isinstance(row, Several) and row.times > 1]
    return f"{sum(times):,} rows folded into {len(times):,}, their figures taken together" if times else ""


def summed_up(rows: Sequence[Parameter]) -> str:
    """Say how many buffers are in how many lines; nothing where each has its own."""
    count = sum(len(members_of(row)) for row in rows)
    summed = any(isinstance(row, Several) and row.tensors and row.times == 1 for row in rows)
    return f"{count:,} buffers in {plural(len(rows), 'line')}, one a kind" if summed else ""


def fold(rows: Sequence[Parameter], judged: Callable[[Parameter], Hashable], places: Places) -> list[Parameter]:
    """Return the rows, repeated blocks folded: a folded row stands where its first one stood.

    Rows fold only if `judged` says the same of them, and if their aliases and the modules in `places` fold likewise.
    """
    names = [parse_name(row.name) for row in rows]
    blocks = kinds_of_blocks([row.name for row in rows], names, map(_structure, rows), map(_extent, rows))
    agreeing: dict[Hashable, list[int]] = {}
    for index, (row, name) in enumerate(zip(rows, names, strict=True)):
        if name is not None and name.numbers:
            used_in = places(row)
            others = (
                relative_names(row.aliases, name) if row.aliases else (),
                relative_names(used_in, name, outer=True) if used_in else (),
            )
            growing = any(isinstance(kind, Growing) for kind in blocks[index])
            key = (name.parts, blocks[index], others, _state(row, growing), judged(row))
            agreeing.setdefault(key, []).append(index)

    def one_row(group: NameGroup, name: HollowName) -> Several:
        return _one_row(group, [rows[index] for index in group.rows], name, places)

    return fold_groups(rows, names, agreeing.values(), one_row)


def _structure(row: Parameter) -> Hashable:
    tensors = row.tensors if isinstance(row, Several) else 0
    return (row.kind, len(row.shape), row.dtype, row.module_type, tensors)


def _extent(row: Parameter) -> Hashable:
    return (row.shape, row.numel, row.bytes)


def _state(row: Parameter, growing: bool) -> Hashable:
    statuses: Hashable = row.gradient and in_a_word(row.gradient)
    if isinstance(row, Several):
        statuses = tuple([member.gradient and in_a_word(member.gradient) for member in row.members])
    figures = (_what_is_known(row.values), _what_is_known(row.before), _what_is_known(row.gradient))
    parts = tuple([_state_of_part(part, growing) for part in row.parts])
    return (row.device, row.requires_grad, row.note, row.persistent, _init(row.init, growing), statuses, figures, parts)


def _state_of_part(part: ParameterPart, growing: bool) -> Hashable:
    figures = (_what_is_known(part.values), _what_is_known(part.before), _what_is_known(part.gradient))
    return (part.label, _init(part.init, growing), part.gradient and in_a_word(part.gradient), figures)


def _init(init: Init | None, growing: bool) -> Hashable:
    if init is None or init.recognised is not None:  # what was drawn alike may be told apart by chance
        return None
    rule = (init.scheme, init.rule, init.overridden)
    return rule if growing else (*rule, init.expected_mean, init.expected_std, init.fan_in, init.fan_out)


def _what_is_known(found: Values | Gradient | None) -> int:
    """Tell in bits which figures there are: the pooled ones are known where each is."""
    if found is None:
        return -1
    unknown = (found.mean is None) + 2 * (found.rms is None) + 4 * (found.min is None)
    return unknown + 8 * bool(found.nan or found.inf)


def _one_row(group: NameGroup, members: Sequence[Parameter], name: HollowName, places: Places) -> Several:
    first = members[0]
    return sum_up(
        members,
        name.spell(group.sets),
        spelled_like(first.aliases, name, group.sets),
        len(members),
        first.tensors if isinstance(first, Several) else 0,
        spelled_like(places(first), name, group.sets, outer=True),
    )
