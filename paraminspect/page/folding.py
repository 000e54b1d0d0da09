"""Repeated blocks as one row, exactly: a pattern in bash's braces for the names it expands to, and no others.

Blocks are sibling modules whose names are numbers, or words that end in one, and whose rows agree in name, shape and
type. Of such blocks the rows that agree in everything else too become one row with their counts added up; a row that
differs stays by itself. Blocks that only grow, as those of a DenseNet whose inputs are all outputs before, fold too:
`norm1` of each is wider than that of the one before, and `norm2`, as wide in all, tells that they are one kind.
Linear in the number of rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import repeat
from typing import NamedTuple

from paraminspect.page.several import Several, at_depth, members_of, sum_up
from paraminspect.report import Gradient, Init, Parameter, ParameterPart, Report, Values
from paraminspect.rules.gradient_rules import in_a_word
from paraminspect.text.braces import braces
from paraminspect.text.escape import View
from paraminspect.text.numbers import plural

FEWEST_ROWS = 10
"""A table of fewer rows stays as it is."""
_FEWEST_BLOCKS = 2
_FEWEST_GROWING = 3
_PLAIN = re.compile(r"[\w-]+")  # nothing that bash would expand, split or unquote
_NUMBER = re.compile(r"([\w-]*[A-Za-z_])?(0|[1-9][0-9]{0,14})")  # as bash counts: no leading zero, and it fits 64 bits
HOLE = "#"

Places = Callable[[Parameter], Sequence[str]]
_Numbers = tuple[int, ...]
_Sets = tuple[_Numbers, ...]


class HollowName(NamedTuple):
    """A name with holes where its numbers were; `blocks` are its beginnings up to each number."""

    parts: tuple[str, ...]
    numbers: _Numbers
    blocks: tuple[str, ...]

    def spell(self, sets: Sequence[_Numbers]) -> str:
        """Fill the holes with patterns for sets of numbers, of which there may be more than holes."""
        patterns = map(braces, sets)
        return ".".join(part[:-1] + next(patterns) if part.endswith(HOLE) else part for part in self.parts)


class NameGroup(NamedTuple):
    """Rows, by their indices, whose names are all there are with numbers from each of `sets`, after `prefix`."""

    prefix: _Numbers
    sets: _Sets
    rows: tuple[int, ...]


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
    shown: list[Parameter | None] = list(rows)
    for indices in agreeing.values():
        for group in patterns_among(indices, names):
            name = names[group.rows[0]]
            if len(group.rows) > 1 and name is not None:
                for index in group.rows:
                    shown[index] = None
                shown[min(group.rows)] = _one_row(group, rows, name, places)
    return [row for row in shown if row is not None]


def parse_name(name: str) -> HollowName | None:
    """Take the numbers out of a name; None for one that a shell would not take as it is."""
    owner, dot, leaf = name.rpartition(".")
    above, last = (_parse_owner(owner) if dot else HollowName((), (), ())), _parse_part(leaf)
    if above is None or last is None:
        return None
    part, number = last
    if number is None:
        return HollowName((*above.parts, part), above.numbers, above.blocks)
    return HollowName((*above.parts, part), (*above.numbers, number), (*above.blocks, name))


@lru_cache(16)  # the tensors of a module follow each other
def _parse_owner(owner: str) -> HollowName | None:
    parts, numbers, blocks, end = [], [], [], 0
    for text in owner.split("."):
        parsed = _parse_part(text)
        if parsed is None:
            return None
        part, number = parsed
        end += len(text)
        parts.append(part)
        if number is not None:
            numbers.append(number)
            blocks.append(owner[:end])
        end += 1
    return HollowName(tuple(parts), tuple(numbers), tuple(blocks))


@lru_cache(1000)
def _parse_part(part: str) -> tuple[str, int | None] | None:
    """Return a part of a name with a hole for its number, and this; None where bash would expand or split it."""
    if not _PLAIN.fullmatch(part):
        return None
    numbered = _NUMBER.fullmatch(part)
    return ((numbered[1] or "") + HOLE, int(numbered[2])) if numbered else (part, None)


def relative_names(names: Sequence[str], to: HollowName, outer: bool = False) -> tuple[Hashable, ...]:
    """Return names with holes where they have numbers of another name; `outer`: only if these are its first ones."""
    return tuple([name if (hollow := _hollow(name, to, outer)) is None else hollow for name in names])


def _hollow(name: str, to: HollowName, outer: bool) -> tuple[tuple[str, ...], tuple[int, ...]] | None:
    """Return the parts of a name, with holes for the numbers of another one, and which numbers these are, in order."""
    parsed = parse_name(name)
    if parsed is None or (outer and parsed.numbers != to.numbers[: len(parsed.numbers)]):
        return None
    parts, places, numbers, after = [], [], iter(parsed.numbers), 0
    for part in parsed.parts:
        number = next(numbers) if part.endswith(HOLE) else None
        if number in to.numbers[after:]:
            places.append(to.numbers.index(number, after))
            after = places[-1] + 1
            parts.append(part)
        else:
            parts.append(part if number is None else f"{part[:-1]}{number}")
    return tuple(parts), tuple(places)


class Growing(NamedTuple):
    """A kind of block whose rows differ in extent, and not all of them; `alike` is what they agree in."""

    alike: Hashable


_Content = frozenset[tuple[str, Hashable, Hashable]]


def kinds_of_blocks(
    names: Sequence[str],
    hollow: Sequence[HollowName | None],
    structures: Iterable[Hashable],
    extents: Iterable[Hashable] | None = None,
) -> list[tuple[Hashable, ...]]:
    """Return for each name which kind of block each of its numbers stands for: blocks of one kind have the same rows.

    `structures` are what rows have to agree in beside their names, for each name one. `extents` are what they have to
    agree in too, unless their blocks only grow: in these, the numbers further in stand for themselves.
    """
    inside: dict[str, list[tuple[str, Hashable, Hashable]]] = {}
    for name, parsed, structure, extent in zip(names, hollow, structures, extents or repeat(None), strict=False):
        if parsed is not None and parsed.blocks:
            for block in parsed.blocks:
                inside.setdefault(block, []).append((name[len(block) :], structure, extent))
    contents = {block: frozenset(found) for block, found in inside.items()}
    ids: dict[Hashable, int] = {}
    kinds: dict[str, Hashable] = {block: ids.setdefault(content, len(ids)) for block, content in contents.items()}
    kinds |= _growing(contents) if extents else {}
    return [() if parsed is None else _kinds_in(parsed, kinds) for parsed in hollow]


def _kinds_in(name: HollowName, kinds: Mapping[str, Hashable]) -> tuple[Hashable, ...]:
    found = [kinds[block] for block in name.blocks]
    outermost = next((at for at, kind in enumerate(found, 1) if isinstance(kind, Growing)), len(found))
    return (*found[:outermost], *name.numbers[outermost:])


def _growing(contents: Mapping[str, _Content]) -> dict[str, Growing]:
    """Return the kinds of blocks most of which differ, in extents alone, and not in all of them.

    Only modules that hold others are meant: layers of different widths, one after the other, are no repetition.
    """
    siblings: dict[tuple[str, Hashable], list[str]] = {}
    for block, content in contents.items():
        if any(name.count(".") > 1 for name, *_ in content):
            alike = frozenset((name, structure) for name, structure, _ in content)
            siblings.setdefault((block.rstrip("0123456789"), alike), []).append(block)
    return {
        block: Growing(alike)
        for (_, alike), blocks in siblings.items()
        if len(blocks) >= _FEWEST_GROWING
        and 2 * len({contents[block] for block in blocks}) > len(blocks)
        and frozenset.intersection(*(contents[block] for block in blocks))
        for block in blocks
    }


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


def patterns_among(indices: Sequence[int], names: Sequence[HollowName | None]) -> Iterator[NameGroup]:
    """Yield groups that have every combination of their numbers: siblings on the innermost level first, then outwards.

    The names have the same parts. Fewer than `_FEWEST_BLOCKS` siblings stay apart, and so does a name that comes twice.
    """
    groups = [NameGroup(name.numbers, (), (index,)) for index in indices if (name := names[index])]
    if len({group.prefix for group in groups}) < len(groups):
        return
    for _ in groups[0].prefix:
        siblings: dict[Hashable, list[NameGroup]] = {}
        for group in groups:
            siblings.setdefault((group.prefix[:-1], group.sets), []).append(group)
        groups = [joined for members in siblings.values() for joined in _join(members)]
    yield from groups


def _join(siblings: list[NameGroup]) -> Iterator[NameGroup]:
    """Join groups that differ in the last number of their prefix only, if there are enough of them."""
    enough = len(siblings) >= _FEWEST_BLOCKS
    siblings = sorted(siblings, key=lambda group: group.prefix[-1])
    for members in [siblings] if enough else [[group] for group in siblings]:
        numbers = tuple(group.prefix[-1] for group in members)
        rows = tuple(index for group in members for index in group.rows)
        yield NameGroup(members[0].prefix[:-1], (numbers, *members[0].sets), rows)


def _one_row(group: NameGroup, rows: Sequence[Parameter], name: HollowName, places: Places) -> Several:
    members = [rows[index] for index in group.rows]
    first = members[0]
    return sum_up(
        members,
        name.spell(group.sets),
        spelled_like(first.aliases, name, group.sets),
        len(members),
        first.tensors if isinstance(first, Several) else 0,
        spelled_like(places(first), name, group.sets, outer=True),
    )


def spelled_like(names: Sequence[str], to: HollowName, sets: _Sets, outer: bool = False) -> tuple[str, ...]:
    """Return names with patterns for `sets` where they have the numbers of another name."""
    hollow = [(name, _hollow(name, to, outer)) for name in names]
    return tuple(HollowName(one[0], (), ()).spell([sets[at] for at in one[1]]) if one else name for name, one in hollow)
