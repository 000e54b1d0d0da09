"""The rows of a tree of modules: cut at a depth, repeated blocks folded, with the guide lines that lead to each."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from paraminspect.frozen import dataclass
from paraminspect.page.repeated_blocks import (
    FEWEST_ROWS,
    HollowName,
    NameGroup,
    fold_groups,
    kinds_of_blocks,
    parse_name,
    relative_names,
    spelled_like,
)
from paraminspect.report import Report, TreeLayer
from paraminspect.text.escape import View

Row = TreeLayer
SUMS = (
    *("own_parameters", "parameters", "own_trainable", "trainable", "own_bytes", "bytes"),
    *("own_buffers", "buffers", "own_buffer_bytes", "buffer_bytes", "own_macs", "macs", "own_flops", "flops"),
    *("own_flops_backward", "flops_backward", "own_saved_bytes", "saved_bytes", "uncounted", "unregistered"),
)
"""What rows that are folded add up."""


@dataclass(frozen=True)
class SeveralLayers(TreeLayer):
    """A row that stands for so many modules, its figures added up."""

    times: int = 1


@dataclass(frozen=True)
class PlacedRow:
    """A row with the guide lines before it, ``│  ├─``, and before the lines below it, ``│  │``."""

    layer: TreeLayer
    guide: str = ""
    below: str = ""


def placed_rows(report: Report, view: View) -> list[PlacedRow]:
    """Return the rows of a report as a view wants them; rows that were picked have no guide lines."""
    rows = [layer for layer in report.layers if isinstance(layer, TreeLayer)]
    paths = {row.module for row in rows}
    in_order = all(one.index < next_one.index for one, next_one in pairwise(rows))
    whole = in_order and all(row.parent is None or row.parent in paths for row in rows)
    if view.depth is not None:
        rows = _at_depth(rows, view.depth)
    if view.fold and len(rows) >= FEWEST_ROWS:
        rows = _fold(rows)
    if not whole:
        return [PlacedRow(row) for row in rows]
    return list(_with_guides(rows, view))


def times_of(row: Row) -> int:
    """Return how many modules a row stands for."""
    return row.times if isinstance(row, SeveralLayers) else 1


def folded(rows: Sequence[PlacedRow]) -> str:
    """Say how many rows were folded into how many; nothing where none were."""
    times = [times_of(row.layer) for row in rows if times_of(row.layer) > 1]
    return f"{sum(times):,} rows folded into {len(times):,}, their figures added up" if times else ""


# --- the depth ---------------------------------------------------------------------------------------------------


def _at_depth(rows: Iterable[Row], depth: int) -> list[Row]:
    """Return the rows down to a depth; one at that depth has as its own what is below it."""
    return [_summed_up(row) if row.depth == depth else row for row in rows if row.depth <= depth]


def _summed_up(row: Row) -> Row:
    return replace(
        row,
        own_parameters=row.parameters,
        own_trainable=row.trainable,
        own_bytes=row.bytes,
        own_buffers=row.buffers,
        own_buffer_bytes=row.buffer_bytes,
        own_macs=row.macs,
        own_flops=row.flops,
        own_flops_backward=row.flops_backward,
        own_saved_bytes=row.saved_bytes,
    )


# --- repeated blocks ---------------------------------------------------------------------------------------------


def _fold(rows: Sequence[Row]) -> list[Row]:
    """Return the rows, repeated blocks folded: a folded row stands where its first one stood."""
    names = [parse_name(row.module) for row in rows]
    structures = [_structure(row, name) for row, name in zip(rows, names, strict=True)]
    blocks = kinds_of_blocks([row.module for row in rows], names, structures)
    agreeing: dict[Hashable, list[int]] = {}
    for index, name in enumerate(names):
        if name is not None and name.numbers:
            agreeing.setdefault((name.parts, blocks[index], structures[index]), []).append(index)

    def one_row(group: NameGroup, name: HollowName) -> Row:
        return _one_row(group, [rows[index] for index in group.rows], name)

    return fold_groups(rows, names, agreeing.values(), one_row)


def _structure(row: Row, name: HollowName | None) -> Hashable:
    """Return what modules have to agree in, names relative to their own."""
    elsewhere = [one.name for one in row.elsewhere], [one.owner for one in row.elsewhere]
    others = [relative_names(names, name) if name else tuple(names) for names in (row.aliases, *elsewhere)]
    what = (row.type, row.extra_repr, row.own_parameters, row.own_trainable, row.own_bytes, row.own_buffer_bytes)
    ran = (row.calls, row.inputs, row.outputs, row.varied, row.uncounted, row.failed, row.used_elsewhere)
    return (what, ran, row.forgotten, row.unregistered, row.own_macs, *others)


def _one_row(group: NameGroup, members: Sequence[Row], name: HollowName) -> SeveralLayers:
    first = members[0]
    added = {field: _added(getattr(member, field) for member in members) for field in SUMS}
    aliases = spelled_like(first.aliases, name, group.sets)
    names = spelled_like([one.name for one in first.elsewhere], name, group.sets)
    owners = spelled_like([one.owner for one in first.elsewhere], name, group.sets)
    spelled = zip(first.elsewhere, names, owners, strict=True)
    elsewhere = tuple(replace(one, name=own, owner=owner) for one, own, owner in spelled)
    own = {"module": name.spell(group.sets), "aliases": aliases, "elsewhere": elsewhere}
    return SeveralLayers(**{**vars(first), **added, **own, "times": len(members)})


def _added(counts: Iterable[int | None]) -> int | None:
    found = list(counts)
    return None if None in found else sum(filter(None, found))


# --- the guide lines ---------------------------------------------------------------------------------------------


def _with_guides(rows: Sequence[Row], view: View) -> Iterator[PlacedRow]:
    """Yield the rows with their guide lines; without decoration two spaces a level."""
    last = _last_of_their_level(rows)
    levels: list[str] = []  # what stands before a row that hangs on the rows above it
    glyphs = view.glyphs
    for at, row in enumerate(rows):
        del levels[max(row.depth - 1, 0) :]
        has_children = at + 1 < len(rows) and rows[at + 1].depth > row.depth
        if not view.decoration:
            yield PlacedRow(row, "  " * row.depth, "  " * (row.depth + 1))
            continue
        own = (glyphs.last_branch if last[at] else glyphs.branch) if row.depth else ""
        trunk = ("   " if last[at] else glyphs.trunk) if row.depth else ""
        above = "".join(levels)
        yield PlacedRow(row, above + own, above + trunk + (glyphs.trunk if has_children else "   "))
        if row.depth:
            levels.append(trunk)


def narrow_guides(row: PlacedRow, view: View) -> PlacedRow:
    """Return a row with guide lines of one column a level, ``│├ ``."""
    step = len(view.glyphs.trunk) if view.decoration else len("  ")
    guide, below = (f"{lines[::step]} " if lines else "" for lines in (row.guide, row.below))
    return replace(row, guide=guide, below=below)


def _last_of_their_level(rows: Sequence[Row]) -> list[bool]:
    """Tell of each row whether no later one hangs on the same module."""
    found = [True] * len(rows)
    seen: set[int] = set()  # levels at which a later row hangs on the same module
    for at in range(len(rows) - 1, -1, -1):
        depth = rows[at].depth
        seen = {level for level in seen if level <= depth}
        found[at] = depth not in seen
        seen.add(depth)
    return found
