"""All sharing of a model: what is one object, what shares bytes, which ties are broken, what merely looks equal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence

import torch
from torch import nn

from paraminspect.analysis.inventory import Inventory, TensorEntry
from paraminspect.analysis.sharing.byte_sets import held_twice
from paraminspect.analysis.sharing.equality import Equal, MeasuredTensor, find_equal, readable
from paraminspect.analysis.sharing.relations import Relations
from paraminspect.analysis.sharing.tensor_memory import Memory, TensorMemories
from paraminspect.analysis.sharing.ties import BrokenTie, TieDeclarations, repair
from paraminspect.frozen import dataclass
from paraminspect.modules.subject import Ties
from paraminspect.report import Sharing, Values

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
class SharingGroup:
    """Tensors, by number and in order, each of which stands in this relation to another of them.

    `bytes` are those that two or more of them hold, the different ones of a tensor that overlaps itself; None where
    they were too many to count.
    """

    kind: str
    members: tuple[int, ...]
    bytes: int | None


def groups_of(relations: Relations) -> list[SharingGroup]:
    """Return all groups, ordered by their first tensor."""
    components = relations.components()
    found = [group for component in components for group in _of_component(relations, component)]
    found += _disjoint(relations, components)
    return sorted(found, key=lambda group: (group.members[0], KINDS.index(group.kind), group.members))


def _of_component(relations: Relations, component: list[int]) -> Iterator[SharingGroup]:
    for group in component:
        yield from _of_same_bytes(relations, group)
    if len(component) == 1:  # as most are
        return
    standing: dict[str, set[int]] = defaultdict(set)
    for group in component:
        for kind in relations.neighbours(group).values():
            standing[kind].add(group)
    for kind, groups in standing.items():
        members = sorted(number for group in groups for number in relations.alike[group])
        yield SharingGroup(kind, tuple(members), None if kind == "may-overlap" else _bytes(relations, sorted(groups)))


def _of_same_bytes(relations: Relations, group: int) -> Iterator[SharingGroup]:
    memory = relations.memory(group)
    held, views = memory.size, relations.views(group) if len(relations.alike[group]) > 1 else ()
    for members in views:
        if len(members) > 1:
            yield SharingGroup("same-view", tuple(members), held)
    if len(views) > 1:
        yield SharingGroup("same-bytes-other-view", relations.alike[group], held)
    if held is not None and memory.visited > held:
        yield SharingGroup("self-overlap", relations.alike[group], held)


def _bytes(relations: Relations, groups: list[int]) -> int | None:
    """Return how many bytes two or more of the groups hold, space by space."""
    spaces = defaultdict(list)
    for group in groups:
        for piece in relations.memory(group).pieces:
            spaces[piece.space].append(piece.layout)
    counts = [held_twice(layouts) for layouts in spaces.values() if len(layouts) > 1]
    return None if None in counts else sum(count or 0 for count in counts)


def _disjoint(relations: Relations, components: list[list[int]]) -> Iterator[SharingGroup]:
    """Yield the storages that hold several components: the first tensor of each stands for all of it."""
    firsts: dict[int, dict[int, None]] = defaultdict(dict)
    for component in components:
        first = min(relations.alike[group][0] for group in component)
        for group in component:
            for piece in relations.memory(group).pieces:
                firsts[piece.storage][first] = None
    for members in dict.fromkeys(tuple(sorted(found)) for found in firsts.values() if len(found) > 1):
        yield SharingGroup("same-storage-disjoint", members, 0)


_ONE_TENSOR = (
    "same-view",
    "self-overlap",
    "equal-not-shared",
    "equal-buffers",
    "equal-constant",
)  # of which numel is the tensor's
_LIKE_A_TIE = ("same-view", "same-bytes-other-view", "equal-not-shared")


def find_sharing(inventory: Inventory, ties: Ties, values: Mapping[int, Values | None]) -> tuple[Sharing, ...]:
    """Return every group of tensors that share, or look as if they should.

    First what is one object under several names, then what shares memory, then declared ties that are none, then what
    is equal bit for bit. `values` are the figures measured already, by the id of a tensor; of a tensor without them
    (meta, lazy, not measured) no equality is claimed.
    """
    with torch._C.DisableTorchFunctionSubclass():
        return tuple(_Found(inventory, ties, values).sharing())


class _Found:
    """Everything found, by the numbers of the inventory's entries."""

    def __init__(self, inventory: Inventory, ties: Ties, values: Mapping[int, Values | None]) -> None:
        self.inventory, self.entries, self.origin = inventory, inventory.entries, ties.origin
        self.kind = ties.kind
        self.declared = TieDeclarations(inventory, ties)
        memories = TensorMemories([entry.tensor for entry in self.entries])
        self.relations = Relations(memories)
        self.memory = groups_of(self.relations)
        alike = _alike(self.entries, values, memories)
        self.equal = _apart(alike, self.entries, self.relations)
        self.equal_to = {number: equal for equal in alike for number in equal.members}
        groups = [group for group in (*self.memory, *self.equal) if group.kind in _LIKE_A_TIE]
        self.like_a_tie = {number: group for group in reversed(groups) for number in group.members}

    def sharing(self) -> Iterator[Sharing]:
        ties = self._broken()
        known = {*self.memory, *self.equal}
        yield from (self._same(entry) for entry in self.entries if len(entry.names) > 1)
        yield from (self._group(group, ties.get(group)) for group in self.memory)
        yield from (self._group(group, kept) for group, kept in ties.items() if group not in known)
        yield from (self._missing(tie) for tie in self.declared.broken() if tie.missing)
        yield from (self._group(group, ties.get(group)) for group in self.equal)

    def _broken(self) -> dict[SharingGroup, int]:
        """Return the groups that were declared ties, each with the number whose values win.

        A tie that fits none of the groups found has one of its own.
        """
        known = {(group.kind, group.members): group for group in (*self.memory, *self.equal)}
        found: dict[SharingGroup, int] = {}
        for tie in self.declared.broken():
            if tie.missing:
                continue
            for group, kept in [self._alone(*tie.entries)] if len(tie.names) == 1 else self._pairs(*tie.entries):
                found.setdefault(known.get((group.kind, group.members), group), kept)
        return found

    def _alone(self, number: int) -> tuple[SharingGroup, int]:
        """Return what a tensor that should be one with some other looks like, and that other."""
        group = self.like_a_tie.get(number, SharingGroup("not-shared", (number,), 0))
        return group, next((member for member in group.members if member != number), number)

    def _pairs(self, *numbers: int) -> Iterator[tuple[SharingGroup, int]]:
        """Yield how each of the tensors stands to the last, which is the one that ties are made to."""
        *others, kept = numbers
        for other in others:
            kind, count = self.relations.between(other, kept), self.relations.shared(other, kept)
            equal = self.equal_to.get(other)
            if count == 0 and equal is not None and self.equal_to.get(kept) is equal:
                kind, count = equal.kind, self.entries[kept].bytes
            yield SharingGroup(kind or "not-shared", tuple(sorted((other, kept))), count), kept

    def _same(self, entry: TensorEntry) -> Sharing:
        owners = {id(self.inventory.modules[path]) for path in entry.owner_names}
        is_parameter, declared = entry.kind == "parameter", self.declared.covers(entry)
        module_names = outermost_module(entry, self.inventory.modules) if len(owners) == 1 else ()
        return Sharing(
            kind="same-parameter" if is_parameter else "same-buffer",
            names=entry.names,
            numel=entry.numel,
            bytes=entry.bytes,
            modules=entry.owner_names,
            same_module=len(owners) == 1,
            declared=declared,
            verdict="intact" if declared else "undeclared" if is_parameter else None,
            origin=None if declared or not is_parameter else self.kind or None,
            module_names=module_names,
            module_type=type(self.inventory.modules[module_names[0]]).__name__ if module_names else None,
        )

    def _group(self, group: SharingGroup, kept: int | None) -> Sharing:
        members = [self.entries[number] for number in group.members]
        return Sharing(
            kind=group.kind,
            names=tuple(entry.name for entry in members),
            numel=members[0].numel if group.kind in _ONE_TENSOR else self._elements(group),
            bytes=group.bytes,
            modules=tuple(entry.owner_names[0] for entry in members),
            same_module=len({id(entry.owner) for entry in members}) == 1,
            declared=kept is not None,
            verdict="broken" if kept is not None else None,
            repair=self._repair(group, kept),
            origin=self.origin if kept is not None else None,
            storage_bytes=self.relations.storage_bytes(group.members),
        )

    def _elements(self, group: SharingGroup) -> int | None:
        """Return the bytes of a group as elements; None where its tensors cut them up differently."""
        if not group.bytes:
            return group.bytes
        memories = [self.relations.memories[number] for number in group.members]
        each, *others = {part.element_size() for memory in memories if memory for part in memory.parts}
        return None if others or group.bytes % each else group.bytes // each

    def _repair(self, group: SharingGroup, kept: int | None) -> str | None:
        if kept is None:
            if group.kind != "same-view":
                return None
            kept = group.members[0]
        others = [self.entries[number] for number in group.members if number != kept]
        return repair(self.inventory.modules[""], self.entries[kept], others) if others else None

    def _missing(self, tie: BrokenTie) -> Sharing:
        return Sharing(
            kind="not-shared",
            names=tie.names,
            numel=0,
            bytes=0,
            declared=True,
            verdict="missing",
            missing=tie.missing,
            origin=self.origin,
        )


def outermost_module(entry: TensorEntry, modules: Mapping[str, nn.Module]) -> tuple[str, ...]:
    """Return the names of the outermost module that is one object under each name that the entry's owner has.

    For the weight of a Linear that is ``enc.fc`` and ``dec.fc`` they are ``("enc", "dec")`` if these are one module.
    """
    names = entry.owner_names
    while True:
        parents, parts = zip(*(name.rpartition(".")[::2] for name in names), strict=True)
        if (
            len(set(parts)) > 1
            or len(set(parents)) < len(names)
            or len({id(modules.get(one, one)) for one in parents}) > 1
        ):
            return names
        names = parents


def _alike(
    entries: Sequence[TensorEntry], values: Mapping[int, Values | None], memories: TensorMemories
) -> list[Equal]:
    """Return what is equal bit for bit among the tensors that were measured and do not overlap themselves."""
    by_extremes: dict[Hashable, list[tuple[int, Values]]] = defaultdict(list)
    for number, entry in enumerate(entries):
        figures = values.get(id(entry.tensor))
        if figures and (number in memories.alone or _lies_once(memories[number])):
            by_extremes[figures.min, figures.max].append((number, figures))
    likely = (one for same in by_extremes.values() if len(same) > 1 for one in same)
    measured = [MeasuredTensor(number, entries[number].tensor, figures) for number, figures in likely]
    return find_equal([one for one in measured if readable(one.tensor)])


def _lies_once(memory: Memory | None) -> bool:
    """Tell whether each of the bytes that a tensor has belongs to one element."""
    return memory is not None and memory.visited == memory.size


def _apart(alike: Sequence[Equal], entries: Sequence[TensorEntry], relations: Relations) -> list[SharingGroup]:
    """Return the groups of tensors with bytes of their own, one for all that share some; constants last.

    Buffers are equal because they are computed alike, as the frequencies of every rotary embedding are.
    """
    found = []
    for equal in alike:
        apart = {relations.component(number): number for number in reversed(equal.members)}
        if len(apart) > 1:
            members = tuple(sorted(apart.values()))
            tables = {entries[number].kind for number in members} <= {"buffer", "constant"}
            kind = "equal-buffers" if tables and not equal.constant else equal.kind
            found.append(SharingGroup(kind, members, entries[members[0]].bytes))
    return sorted(found, key=lambda group: (group.kind != "equal-not-shared", group.members))
