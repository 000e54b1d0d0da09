"""The tensors of a file as rows of a table: repeated blocks folded, or summed up below a depth of names.

`page.folding` does it for the rows of a model, with all that is known about them. A file may have a million tensors of
which there are name, shape and dtype alone: here the numbers are taken out of all names in two passes of one regular
expression, and what is left of the names groups them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any, Final, NamedTuple

from paraminspect.page.repeated_blocks import FEWEST_ROWS
from paraminspect.page.several import pool_values
from paraminspect.report import TensorHeader, TensorRows, Values
from paraminspect.text.braces import braces
from paraminspect.text.escape import View, code
from paraminspect.text.numbers import plural

_HOLE: Final = "\0"
_WITHOUT_DIGITS: Final = dict.fromkeys(map(ord, "0123456789"), _HOLE)
_NUMBERS_ALONE: Final = {number: " " for number in range(128) if not chr(number).isdecimal()}
_NUMBER: Final = re.compile(r"(?<![0-9])(0|[1-9][0-9]{0,14})(?![0-9])")  # as bash counts: no zero leads, 64 bits
_PLAIN: Final = re.compile(r"[\w.\0-]+")


@dataclass(frozen=True, slots=True)
class TensorRow:
    """One row: a tensor, `times` of them whose names a pattern in bash's braces expands to, or a sum of `tensors`."""

    name: str
    aliases: tuple[str, ...]
    times: int
    tensors: int
    shape: str
    numel: int
    dtype: str
    bytes: int | None
    file: int | None
    why: str
    values: Values | None


_Members = list[tuple[tuple[str, ...], int]]
"""The numbers in the names of tensors, and which tensors these are."""


def tensor_rows(rows: TensorRows, view: View, together: Sequence[str] = ()) -> list[TensorRow]:
    """Return the rows that a view wants of the tensors of a file, each where its first tensor stands.

    Where it folds, what lies below a name in `together` is one row.
    """
    if view.depth is not None:
        return _at_depth(rows, view.depth)
    if not view.fold or len(rows) < FEWEST_ROWS:
        return [_row(rows, [place], code(one.name), _codes(rows, place)) for place, one in enumerate(rows.tensors)]
    return _folded(rows, together)


def _codes(rows: TensorRows, place: int) -> tuple[str, ...]:
    return tuple(map(code, rows.aliases.get(place, ())))


def _row(rows: TensorRows, places: Sequence[int], name: str, aliases: tuple[str, ...]) -> TensorRow:
    """Return the row of tensors that agree in shape and dtype."""
    tensors = rows.tensors
    first = tensors[places[0]]
    times = len(places)
    held = first.bytes
    if times > 1 and held is not None:
        sizes = [tensors[place].bytes for place in places]
        held = None if None in sizes else sum(sizes)  # type: ignore[arg-type]  # no None is left
    values = _pooled([(rows.values.get(tensors[place].name), first.numel) for place in places]) if rows.values else None
    file = first.file if times == 1 else None
    return TensorRow(
        name, aliases, times, 1, str(first.shape), first.numel * times, first.dtype, held, file, first.why, values
    )


def _pooled(found: Sequence[tuple[Values | None, int]]) -> Values | None:
    """Return the figures of several tensors as if they were one; None where one was not measured."""
    if len(found) == 1:
        return found[0][0]
    return pool_values([values for values, _ in found], [count for _, count in found])


# --- folding ---------------------------------------------------------------------------------------------------


def _folded(rows: TensorRows, together: Sequence[str]) -> list[TensorRow]:
    """Return the rows, those alike but for the numbers in their names as one, and all below a name in `together`."""
    tensors = rows.tensors
    below = tuple(f"{path}." for path in together)
    sums: dict[str, list[int]] = {}
    places = list(range(len(tensors)))
    if below:
        for place, tensor in enumerate(tensors):
            if tensor.name.startswith(below):
                path = next(path for path in together if tensor.name.startswith(f"{path}."))
                sums.setdefault(path, []).append(place)
        left = {place for members in sums.values() for place in members}
        places = [place for place in places if place not in left]

    alike = [(tensor.shape, tensor.dtype, not tensor.why) for tensor in map(tensors.__getitem__, places)]
    aliases = {at: rows.aliases[place] for at, place in enumerate(places) if place in rows.aliases}
    found = [(members[0], replace(_sum(rows, path, members), values=None)) for path, members in sums.items()]
    for group in fold_names([tensors[place].name for place in places], alike.__getitem__, aliases):
        members = [places[at] for at in group.places]
        found.append((members[0], _row(rows, members, group.name, group.aliases)))
    return [row for _, row in sorted(found, key=lambda one: one[0])]


class FoldedNames(NamedTuple):
    """Names as one pattern that bash expands to them, or one name as it is; `places` are theirs, ascending."""

    name: str
    aliases: tuple[str, ...]
    places: list[int]


def fold_names(
    names: Sequence[str], alike: Callable[[int], Hashable], aliases: Mapping[int, Sequence[str]] | None = None
) -> list[FoldedNames]:
    """Fold names that agree but for the numbers in them, if what `alike` says of their places is the same.

    `aliases` are further names of a place, which have to fold likewise. Linear in the number of names, whatever they
    are: numbers that do not make up every combination are split by the first of them, and those that are left stay
    alone.
    """
    also = aliases or {}
    templates, numbers = _hollow(names)
    keys: list[Hashable] = list(templates)
    for place, others in also.items():
        theirs, same = _hollow(others)
        is_like = all(theirs) and all(one == numbers[place] for one in same)
        keys[place] = (templates[place], *theirs) if is_like and templates[place] else ""
    places_of: dict[Hashable, list[int]] = {}
    for place, key in enumerate(keys):
        places_of.setdefault(key, []).append(place)
    found = [FoldedNames(code(names[at]), tuple(map(code, also.get(at, ()))), [at]) for at in places_of.pop("", ())]
    for key, every in places_of.items():
        for places in _split(every, alike):
            for group in _groups([(numbers[place], place) for place in places]):
                found.append(_named(group, key if isinstance(key, tuple) else (key,), names, also))
    return sorted(found, key=lambda one: one.places[0])


def _split(places: list[int], alike: Callable[[int], Hashable]) -> Iterable[list[int]]:
    """Divide places by what `alike` says of them."""
    kinds = list(map(alike, places))
    if len(set(kinds)) == 1:
        return [places]
    found: dict[Hashable, list[int]] = {}
    for place, kind in zip(places, kinds, strict=True):
        found.setdefault(kind, []).append(place)
    return found.values()


def _named(
    group: _Members, templates: Sequence[str], names: Sequence[str], also: Mapping[int, Sequence[str]]
) -> FoldedNames:
    """Return the pattern that expands to the names of a group; one name alone as it is."""
    places = sorted([place for _, place in group])
    if len(group) == 1:
        at = places[0]
        return FoldedNames(code(names[at]), tuple(map(code, also.get(at, ()))), places)
    columns = zip(*[numbers for numbers, _ in group], strict=True)
    sets = [braces(sorted(map(int, set(column)))) for column in columns]
    first, *rest = (code(_filled(template, sets)) for template in templates)
    return FoldedNames(f"{first} ×{len(group):,}", tuple(rest), places)


def _hollow(names: Sequence[str]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return each name with holes for its numbers, and these; "" for one that has none or that bash would split."""
    if not names:
        return [], []
    text = "\n".join(names)
    if _HOLE in text or text.count("\n") >= len(names):
        each = [("", ()) if _HOLE in name or "\n" in name else _only(_hollow([name])) for name in names]
        return [template for template, _ in each], [numbers for _, numbers in each]
    hollow, numbers = _without_numbers(text)
    templates = hollow.split("\n")
    holes = {template: template.count(_HOLE) for template in dict.fromkeys(templates)}
    usable = {template: template if count and _PLAIN.fullmatch(template) else "" for template, count in holes.items()}
    ends = list(accumulate(map(holes.__getitem__, templates), initial=0))
    return list(map(usable.__getitem__, templates)), [numbers[at:end] for at, end in pairwise(ends)]


def _without_numbers(text: str) -> tuple[str, tuple[str, ...]]:
    """Return a text with holes for the numbers that bash would count through, and these.

    Tables of characters do in a tenth of the time what a regular expression does, where every number is such a one.
    """
    if text.isascii():
        numbers = tuple(text.translate(_NUMBERS_ALONE).split())
        if not any(len(number) > 15 or (number[0] == "0" and len(number) > 1) for number in set(numbers)):
            text = text.translate(_WITHOUT_DIGITS)
            while _HOLE * 2 in text:
                text = text.replace(_HOLE * 2, _HOLE)
            return text, numbers
    parts = _NUMBER.split(text)
    return _HOLE.join(parts[::2]), tuple(parts[1::2])


def _only(found: tuple[list[str], list[tuple[str, ...]]]) -> tuple[str, tuple[str, ...]]:
    return found[0][0], found[1][0]


def _filled(template: str, patterns: Sequence[str]) -> str:
    """Return a name with patterns in its holes."""
    first, *others = template.split(_HOLE)
    return first + "".join(f"{pattern}{part}" for pattern, part in zip(patterns, others, strict=True))


def _groups(members: _Members, at: int = 0) -> Iterator[_Members]:
    """Yield groups whose numbers are every combination of some sets."""
    if len(members) < 2:
        yield members
        return
    columns = list(zip(*[numbers for numbers, _ in members], strict=True))
    if math.prod(len(set(column)) for column in columns) == len(members) == len({numbers for numbers, _ in members}):
        yield members
        return
    if at >= len(columns):
        yield from ([member] for member in members)
        return
    parts: dict[str, _Members] = {}
    for member in members:
        parts.setdefault(member[0][at], []).append(member)
    for part in _merged(parts, at):
        yield from _groups(part, at + 1)


def _merged(parts: dict[str, _Members], at: int) -> Iterator[_Members]:
    """Put those together whose other numbers are the same."""
    same: dict[Any, _Members] = {}
    for members in parts.values():
        others = frozenset(numbers[:at] + numbers[at + 1 :] for numbers, _ in members)
        same.setdefault(others, []).extend(members)
    yield from same.values()


# --- by depth --------------------------------------------------------------------------------------------------


def _at_depth(rows: TensorRows, depth: int) -> list[TensorRow]:
    """Return one row for all tensors that agree in so many components of longer names."""
    groups: dict[Any, list[int]] = {}
    for place, tensor in enumerate(rows.tensors):
        parts = tensor.name.split(".", depth)
        groups.setdefault(".".join(parts[:depth]) if len(parts) > depth else place, []).append(place)
    return [
        _row(rows, places, code(rows.tensors[key].name), _codes(rows, key))
        if isinstance(key, int)
        else _sum(rows, key, places)
        for key, places in groups.items()
    ]


def _sum(rows: TensorRows, name: str, places: Sequence[int]) -> TensorRow:
    members: list[TensorHeader] = [rows.tensors[place] for place in places]
    sizes = [member.bytes for member in members]
    dtypes = {member.dtype for member in members}
    files = {member.file for member in members}
    return TensorRow(
        code(name),
        (),
        1,
        len(members),
        plural(len(members), "tensor"),
        sum(member.numel for member in members),
        dtypes.pop() if len(dtypes) == 1 else f"{len(dtypes)} dtypes",
        None if None in sizes else sum(sizes),  # type: ignore[arg-type]  # no None is left
        files.pop() if len(files) == 1 else None,
        "",
        _pooled([(rows.values.get(member.name), member.numel) for member in members]),
    )


def folding_note(rows: Sequence[TensorRow]) -> str:
    """Say how many tensors were folded into how many rows; nothing where none were."""
    times = [row.times for row in rows if row.times > 1]
    return f"{sum(times):,} rows folded into {len(times):,}" if times else ""
