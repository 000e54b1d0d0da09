"""The tree of modules as boxes: how much of the whole each takes, siblings that are alike in one box."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence

from paraminspect.frozen import dataclass
from paraminspect.report import TreeLayer
from paraminspect.text.braces import braces, pattern

QUANTITIES = ("parameters", "macs", "saved_bytes")
"""What is drawn of every module, those below it included."""
_NUMBERED = re.compile("(.*[^0-9])(0|[1-9][0-9]{0,14})")
_Counts = tuple[int | None, ...]


@dataclass(frozen=True)
class Box:
    """One module, or several that are alike, `level` steps below the model.

    `top` numbers the box right below the model that this one lies in. `starts` and `sizes` are counts of each of the
    quantities: where the box begins, counted from the left edge of the whole, and how large it is.
    """

    level: int
    top: int
    name: str
    type: str
    times: int
    starts: tuple[int, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class ModuleBoxes:
    """All boxes, each before those that lie below it, and the totals; None is a total that is not known."""

    boxes: tuple[Box, ...]
    totals: _Counts

    def levels(self, quantity: int) -> int:
        """Return how many levels below the model take some of a quantity."""
        return max((box.level for box in self.boxes if box.sizes[quantity]), default=0)

    def shares(self) -> dict[int, float]:
        """Return the share of each module right below the model, of the quantity that it takes most of."""
        found: dict[int, float] = {}
        for box in self.boxes:
            if box.level == 1:
                shares = (size / total for size, total in zip(box.sizes, self.totals, strict=True) if total)
                found[box.top] = max(shares, default=0.0)
        return found


def module_boxes(rows: Sequence[TreeLayer], most_levels: int) -> ModuleBoxes:
    """Return the boxes of the modules down to a level.

    Siblings of one class with the same parameters and multiply-adds, in all modules below them too, are one box. A
    module that holds nothing but one other goes with it: ``encoder.layers`` is a single step. What takes none of the
    quantities has no box, and neither has what is not known.
    """
    tree = _Tree(rows)
    totals = tree.totals(tree.roots)
    nothing = (0,) * len(QUANTITIES)
    first = tree.roots
    if len(first) == 1:
        first = tree.children[first[0]] or first
    boxes = tuple(tree.boxes(first, 1, most_levels, nothing, None))
    return ModuleBoxes(boxes, totals)


class _Tree:
    """The modules by their numbers in the order of the tree, each with those below it."""

    def __init__(self, rows: Sequence[TreeLayer]) -> None:
        self.rows = rows
        self.children: list[list[int]] = [[] for _ in rows]
        self.roots: list[int] = []
        places = {row.module: at for at, row in enumerate(rows)}
        for at, row in enumerate(rows):
            above = _nearest(row.parent, places)
            (self.roots if above is None else self.children[above]).append(at)
        self.kinds = self._kinds()

    def _kinds(self) -> list[int]:
        """Return a number for each module, the same for those that are alike with all that lies below them."""
        numbers: dict[Hashable, int] = {}
        kinds = [0] * len(self.rows)
        for at in range(len(self.rows) - 1, -1, -1):
            row, below = self.rows[at], tuple(kinds[child] for child in self.children[at])
            kinds[at] = numbers.setdefault((row.type, row.own_parameters, row.own_macs, below), len(numbers))
        return kinds

    def totals(self, members: Sequence[int]) -> _Counts:
        """Return the sum of each quantity over modules; None where that of one is not known."""
        return tuple(_sum([getattr(self.rows[at], field) for at in members]) for field in QUANTITIES)

    def boxes(
        self, modules: Sequence[int], level: int, most_levels: int, starts: tuple[int, ...], top: int | None
    ) -> Iterator[Box]:
        """Yield the boxes of modules beside each other, from `starts` on, and behind each those below it."""
        for number, alike in enumerate(self._groups(modules)):
            sizes = tuple(count or 0 for count in self.totals(alike))
            if not any(sizes):
                continue
            name, inner = self._name(alike), alike
            while (only := self._only_group(inner)) is not None:
                inner, name = only, f"{name}.{self._name(only)}"
            colour = number if top is None else top
            yield Box(level, colour, name, self.rows[inner[0]].type, len(inner), starts, sizes)
            if level < most_levels:
                below = [child for at in inner for child in self.children[at]]
                yield from self.boxes(below, level + 1, most_levels, starts, colour)
            starts = tuple(start + size for start, size in zip(starts, sizes, strict=True))

    def _groups(self, modules: Sequence[int]) -> list[list[int]]:
        """Return the modules that are alike together, in the place of the first of them."""
        groups: dict[int, list[int]] = {}
        for at in modules:
            groups.setdefault(self.kinds[at], []).append(at)
        return list(groups.values())

    def _only_group(self, members: Sequence[int]) -> list[int] | None:
        """Return the modules below these if they are alike and hold all that these hold; else None."""
        below = [child for at in members for child in self.children[at]]
        groups = [group for group in self._groups(below) if any(count != 0 for count in self.totals(group))]
        return groups[0] if len(groups) == 1 and self.totals(groups[0]) == self.totals(members) else None

    def _name(self, members: Sequence[int]) -> str:
        """Return the last parts of the names, numbers that run on as ``{0..5}``."""
        names = list(dict.fromkeys(self._last_part(self.rows[at]) for at in members))
        if len(names) == 1:
            return names[0]
        return pattern(names) or _numbered(names) or f"{names[0]}, …"

    @staticmethod
    def _last_part(row: TreeLayer) -> str:
        """Return the name of a module below the one that holds it; nothing for the model itself."""
        return row.module.removeprefix(f"{row.parent}.") if row.parent else row.module


def _numbered(names: Sequence[str]) -> str | None:
    """Return ``conv{1..3}`` for names that differ in the number at their end alone; else None."""
    parts = [_NUMBERED.fullmatch(name) for name in names]
    stems = {part[1] for part in parts if part}
    if None in parts or len(stems) != 1:
        return None
    return f"{stems.pop()}{braces(sorted(int(part[2]) for part in parts if part))}"


def _nearest(name: str | None, places: Mapping[str, int]) -> int | None:
    """Return the innermost module that is there of the one of that name and those that it lies in."""
    while name and name not in places:
        name = name.rpartition(".")[0]
    return None if name is None else places.get(name)


def _sum(counts: Sequence[int | None]) -> int | None:
    return None if None in counts else sum(count or 0 for count in counts)
