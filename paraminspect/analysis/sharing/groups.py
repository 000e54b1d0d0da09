"""From relations of pairs to groups: within what hangs together one group a kind, naming all that stand in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from paraminspect.analysis.sharing.layout import held_twice
from paraminspect.analysis.sharing.relations import Relations

KINDS = (
    "same-view",
    "same-bytes-other-view",
    "nested",
    "partial-overlap",
    "foreign-alias",
    "may-overlap",
    "self-overlap",
    "same-storage-disjoint",
)


@dataclass(frozen=True)
class Group:
    """Tensors, by number and in order, each of which stands in this relation to another of them.

    `bytes` are those that two or more of them hold, the different ones of a tensor that overlaps itself; None where
    they were too many to count.
    """

    kind: str
    members: tuple[int, ...]
    bytes: int | None


def groups_of(relations: Relations) -> list[Group]:
    """Return all groups, ordered by their first tensor."""
    components = relations.components()
    found = [group for component in components for group in _of_component(relations, component)]
    found += _disjoint(relations, components)
    return sorted(found, key=lambda group: (group.members[0], KINDS.index(group.kind), group.members))


def _of_component(relations: Relations, component: list[int]) -> Iterator[Group]:
    for group in component:
        yield from _of_same_bytes(relations, group)
    if len(component) == 1:
        return
    standing: dict[str, set[int]] = defaultdict(set)
    for group in component:
        for kind in relations.neighbours(group).values():
            standing[kind].add(group)
    for kind, groups in standing.items():
        members = sorted(number for group in groups for number in relations.alike[group])
        yield Group(kind, tuple(members), None if kind == "may-overlap" else _bytes(relations, sorted(groups)))


def _of_same_bytes(relations: Relations, group: int) -> Iterator[Group]:
    memory, views = relations.memory(group), relations.views(group)
    held = memory.size
    for members in views:
        if len(members) > 1:
            yield Group("same-view", tuple(members), held)
    if len(views) > 1:
        yield Group("same-bytes-other-view", relations.alike[group], held)
    if held is not None and memory.visited > held:
        yield Group("self-overlap", relations.alike[group], held)


def _bytes(relations: Relations, groups: list[int]) -> int | None:
    """Return how many bytes two or more of the groups hold, space by space."""
    spaces = defaultdict(list)
    for group in groups:
        for piece in relations.memory(group).pieces:
            spaces[piece.space].append(piece.layout)
    counts = [held_twice(layouts) for layouts in spaces.values() if len(layouts) > 1]
    return None if None in counts else sum(count or 0 for count in counts)


def _disjoint(relations: Relations, components: list[list[int]]) -> Iterator[Group]:
    """Yield the storages that hold several components: the first tensor of each stands for all of it."""
    firsts: dict[int, dict[int, None]] = defaultdict(dict)
    for component in components:
        first = min(relations.alike[group][0] for group in component)
        for group in component:
            for piece in relations.memory(group).pieces:
                firsts[piece.storage][first] = None
    for members in dict.fromkeys(tuple(sorted(found)) for found in firsts.values() if len(found) > 1):
        yield Group("same-storage-disjoint", members, 0)
