"""How tensors stand to each other by their bytes: each pair exactly, a whole model without comparing all pairs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise

from paraminspect.analysis.sharing.layout import common
from paraminspect.analysis.sharing.memory import Memory, Piece
from paraminspect.analysis.sharing.overlap import candidates
from paraminspect.analysis.sharing.sets import Sets


def relation(one: Memory, other: Memory) -> str | None:
    """Return the kind of sharing of two different tensors by their memory; None where they have nothing in common."""
    if one.pieces == other.pieces:
        return "same-view" if one.view == other.view else "same-bytes-other-view"
    shared = shared_bytes(one, other)
    together = _storages(one) & _storages(other)
    if shared == 0:
        return "same-storage-disjoint" if together else None
    if shared is None:
        return "may-overlap"
    if not together:
        return "foreign-alias"
    sizes = one.size, other.size
    if sizes == (shared, shared):
        return "same-bytes-other-view"
    return "nested" if shared in sizes else "partial-overlap"


def shared_bytes(one: Memory, other: Memory) -> int | None:
    """Return how many bytes two tensors have in common; None where it is unknown."""
    counts = [common(mine.layout, its.layout) for mine in one.pieces for its in other.pieces if mine.space == its.space]
    return None if None in counts else sum(count or 0 for count in counts)


def _storages(memory: Memory) -> set[int]:
    return {piece.storage for piece in memory.pieces}


class Relations:
    """All relations among tensors that are numbered from 0; those without memory have none.

    `alike` are the groups of tensors that hold exactly the same bytes; most are of one tensor.
    """

    def __init__(self, memories: Sequence[Memory | None]) -> None:
        grouped: dict[tuple[Piece, ...], list[int]] = defaultdict(list)
        for number, memory in enumerate(memories):
            if memory is not None:
                grouped[memory.pieces].append(number)
        self.memories = memories
        self.alike = tuple(map(tuple, grouped.values()))
        self._kinds: dict[int, dict[int, str]] = defaultdict(dict)
        self._sets = Sets(len(self.alike))
        for found in _by_space(list(grouped)):
            self._compare(found)
        self._group_of = {number: group for group, numbers in enumerate(self.alike) for number in numbers}

    def between(self, one: int, other: int) -> str | None:
        """Return the kind of any pair of tensors, also of one that was not compared before."""
        mine, its = self.memories[one], self.memories[other]
        return relation(mine, its) if mine is not None and its is not None else None

    def shared(self, one: int, other: int) -> int | None:
        """Return how many bytes two tensors have in common; None where it is unknown."""
        mine, its = self.memories[one], self.memories[other]
        return shared_bytes(mine, its) if mine is not None and its is not None else 0

    def storage_bytes(self, numbers: Sequence[int]) -> int | None:
        """Return the size of the storage that all of these tensors lie in; None where it is not a single one."""
        sizes = {
            piece.storage: part.untyped_storage().nbytes()
            for number in numbers
            if (memory := self.memories[number])
            for piece, part in zip(memory.pieces, memory.parts, strict=True)
        }
        return next(iter(sizes.values())) if len(sizes) == 1 else None

    def component(self, number: int) -> Hashable:
        """Return what stands for all tensors that a tensor's bytes are connected with; for itself, if it has none."""
        group = self._group_of.get(number)
        return -1 - number if group is None else self._sets.find(group)

    def components(self) -> list[list[int]]:
        """Return the indices of groups whose bytes are connected."""
        return self._sets.groups()

    def neighbours(self, group: int) -> Mapping[int, str]:
        """Return the groups that share bytes with a group, each with the kind of sharing."""
        return self._kinds[group]

    def views(self, group: int) -> list[list[int]]:
        """Return the tensors of one group, those that look at the bytes in the same way together."""
        found: dict[Hashable, list[int]] = defaultdict(list)
        for number in self.alike[group]:
            memory = self.memories[number]
            assert memory is not None
            found[memory.view].append(number)
        return list(found.values())

    def memory(self, group: int) -> Memory:
        """Return the bytes of a group."""
        memory = self.memories[self.alike[group][0]]
        assert memory is not None
        return memory

    def _compare(self, owned: list[tuple[int, Piece]]) -> None:
        """Compare what may overlap in one space."""
        groups = [group for group, _ in owned]
        found = candidates([piece.layout for _, piece in owned])
        for first, second in found.pairs:
            self._note(groups[first], groups[second])
        for cluster in found.undecided:
            for first, second in pairwise(cluster):
                self._note(groups[first], groups[second], "may-overlap")

    def _note(self, one: int, other: int, kind: str | None = None) -> None:
        if one == other or other in self._kinds[one]:
            return
        kind = kind or relation(self.memory(one), self.memory(other))
        if kind is not None and kind != "same-storage-disjoint":
            self._kinds[one][other] = self._kinds[other][one] = kind
            self._sets.join(one, other)


def _by_space(groups: Sequence[tuple[Piece, ...]]) -> list[list[tuple[int, Piece]]]:
    """Return the pieces of every space, each with the index of its group."""
    found: dict[Hashable, list[tuple[int, Piece]]] = defaultdict(list)
    for index, pieces in enumerate(groups):
        for piece in pieces:
            found[piece.space].append((index, piece))
    return list(found.values())
