"""Names that repeat but for their numbers, as one pattern in bash's braces that expands to them, and no others.

Blocks are sibling modules whose names are numbers, or words that end in one. They are of one kind if their rows agree
in name and in structure. Blocks that only grow, as those of a DenseNet whose inputs are all outputs before, are one
kind too: `norm1` of each is wider than that of the one before, and `norm2`, as wide in all, tells it. Linear in the
number of names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import repeat
from typing import NamedTuple, TypeVar

from paraminspect.text.braces import braces

FEWEST_ROWS = 10
"""A table of fewer rows stays as it is."""
_FEWEST_GROWING = 3
_PLAIN = re.compile(r"[\w-]+")  # nothing that bash would expand, split or unquote
_NUMBER = re.compile(r"([\w-]*[A-Za-z_])?(0|[1-9][0-9]{0,14})")  # as bash counts: no leading zero, and it fits 64 bits
HOLE = "#"

_Numbers = tuple[int, ...]
_Sets = tuple[_Numbers, ...]
_Row = TypeVar("_Row")


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


def spelled_like(names: Sequence[str], to: HollowName, sets: _Sets, outer: bool = False) -> tuple[str, ...]:
    """Return names with patterns for `sets` where they have the numbers of another name."""
    hollow = [(name, _hollow(name, to, outer)) for name in names]
    return tuple(HollowName(one[0], (), ()).spell([sets[at] for at in one[1]]) if one else name for name, one in hollow)


# --- kinds of blocks -------------------------------------------------------------------------------------------


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


# --- groups ----------------------------------------------------------------------------------------------------


def fold_groups(
    rows: Sequence[_Row],
    names: Sequence[HollowName | None],
    agreeing: Iterable[Sequence[int]],
    one_row: Callable[[NameGroup, HollowName], _Row | None],
) -> list[_Row]:
    """Return the rows, each group of which a pattern spells the names as `one_row`, where its first row stood.

    `agreeing` are the indices of rows that agree in all but their numbers. Where `one_row` is None, they stay apart.
    """
    shown: list[_Row | None] = list(rows)
    for indices in agreeing:
        for group in _patterns_among(indices, names):
            name = names[group.rows[0]]
            row = one_row(group, name) if len(group.rows) > 1 and name is not None else None
            if row is not None:
                for index in group.rows:
                    shown[index] = None
                shown[min(group.rows)] = row
    return [row for row in shown if row is not None]


def _patterns_among(indices: Sequence[int], names: Sequence[HollowName | None]) -> Iterator[NameGroup]:
    """Yield groups that have every combination of their numbers: siblings on the innermost level first, then outwards.

    The names have the same parts. Where one comes twice, there are no groups.
    """
    groups = [NameGroup(name.numbers, (), (index,)) for index in indices if (name := names[index])]
    if len({group.prefix for group in groups}) < len(groups):
        return
    for _ in groups[0].prefix:
        siblings: dict[Hashable, list[NameGroup]] = {}
        for group in groups:
            siblings.setdefault((group.prefix[:-1], group.sets), []).append(group)
        groups = list(map(_joined, siblings.values()))
    yield from groups


def _joined(siblings: list[NameGroup]) -> NameGroup:
    """Return groups that differ in the last number of their prefix only as one."""
    siblings = sorted(siblings, key=lambda group: group.prefix[-1])
    numbers = tuple(group.prefix[-1] for group in siblings)
    rows = tuple(index for group in siblings for index in group.rows)
    return NameGroup(siblings[0].prefix[:-1], (numbers, *siblings[0].sets), rows)
