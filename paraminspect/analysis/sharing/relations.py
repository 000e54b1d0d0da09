"""How tensors stand to each other by their bytes: each pair exactly, a whole model without comparing all pairs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np

from paraminspect.analysis.sharing.byte_sets import Layout, common, list_runs
from paraminspect.analysis.sharing.tensor_memory import Memory, Piece, TensorMemories
from paraminspect.frozen import dataclass


class DisjointSets:
    """Disjoint sets of the numbers below `count`, to be joined."""

    def __init__(self, count: int) -> None:
        self._parents = list(range(count))

    def find(self, one: int) -> int:
        """Return the number that stands for the set of `one`."""
        while self._parents[one] != one:
            self._parents[one] = one = self._parents[self._parents[one]]
        return one

    def join(self, one: int, other: int) -> bool:
        """Make one set of two; tell whether they were two."""
        one, other = sorted((self.find(one), self.find(other)))
        self._parents[other] = one
        return one != other

    def groups(self) -> list[list[int]]:
        """Return the sets, each in order, ordered by their first number."""
        found: dict[int, list[int]] = {}
        for one in range(len(self._parents)):
            found.setdefault(self.find(one), []).append(one)
        return list(found.values())


PAIRS_EACH = 64  # all pairs are compared as long as there are at most so many for each set


@dataclass(frozen=True)
class Candidates:
    """Pairs of indices to compare, and groups that would take too much work to look at.

    Whoever overlaps is connected by pairs. All pairs are there, unless a cluster has more than PAIRS_EACH for each of
    its sets: then as many as connect it.
    """

    pairs: tuple[tuple[int, int], ...]
    undecided: tuple[tuple[int, ...], ...]


def candidates(layouts: Sequence[Layout]) -> Candidates:
    """Return the pairs of sets of one space that may overlap."""
    pairs: list[tuple[int, int]] = []
    undecided = []
    for cluster in _clusters(layouts):
        found = _all_pairs(layouts, cluster)
        if found is None:
            found = _connecting_pairs(layouts, cluster)
        if found is None:
            undecided.append(tuple(cluster))
        else:
            pairs += found
    return Candidates(tuple(pairs), tuple(undecided))


def _clusters(layouts: Sequence[Layout]) -> Iterator[list[int]]:
    """Yield the groups whose extents hang together, in order of their start.

    The end that counts is the furthest so far, not the last one's: a slice at the end of a base lies behind others.
    """
    cluster: list[int] = []
    furthest = 0
    for index in sorted(range(len(layouts)), key=lambda index: (layouts[index].start, -layouts[index].stop)):
        if cluster and layouts[index].start >= furthest:
            if len(cluster) > 1:
                yield cluster
            cluster = []
        furthest = max(furthest, layouts[index].stop) if cluster else layouts[index].stop
        cluster.append(index)
    if len(cluster) > 1:
        yield cluster


def _all_pairs(layouts: Sequence[Layout], cluster: list[int]) -> list[tuple[int, int]] | None:
    """Return all pairs whose extents cross; None where there are too many."""
    starts, stops = ([getattr(layouts[index], end) for index in cluster] for end in ("start", "stop"))
    reach = np.searchsorted(np.array(starts), np.array(stops))
    if (reach - np.arange(1, len(cluster) + 1)).sum() > PAIRS_EACH * len(cluster):
        return None
    return [(cluster[i], cluster[j]) for i in range(len(cluster)) for j in range(i + 1, int(reach[i]))]


def _connecting_pairs(layouts: Sequence[Layout], cluster: list[int]) -> list[tuple[int, int]] | None:
    """Sweep over the runs instead: a run that starts before the furthest end so far overlaps the run that ends there.

    None where there are too many runs.
    """
    listed = list_runs([layouts[index] for index in cluster])
    if listed is None:
        return None
    starts, stops, owners = listed
    order = np.argsort(starts, kind="stable")
    starts, stops, owners = starts[order], stops[order], owners[order]
    furthest = np.maximum.accumulate(stops)
    is_further = np.concatenate([[True], stops[1:] > furthest[:-1]])
    holder = np.maximum.accumulate(np.where(is_further, np.arange(len(stops)), 0))
    meeting = np.flatnonzero(starts[1:] < furthest[:-1])
    met = np.unique(np.stack([owners[holder[meeting]], owners[meeting + 1]]), axis=1)
    sets = DisjointSets(len(cluster))
    return [(cluster[i], cluster[j]) for i, j in met.T.tolist() if sets.join(i, j)]


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

    def __init__(self, memories: Sequence[Memory | None] | TensorMemories) -> None:
        numbers = memories.others if isinstance(memories, TensorMemories) else range(len(memories))
        grouped: dict[tuple[Piece, ...], list[int]] = defaultdict(list)
        for number in numbers:
            memory = memories[number]
            if memory is not None:
                grouped[memory.pieces].append(number)
        self.memories = memories
        self.alike = tuple(map(tuple, grouped.values()))
        self._kinds: dict[int, dict[int, str]] = defaultdict(dict)
        self._sets = DisjointSets(len(self.alike))
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
        """Return the key of a tensor's component, which all tensors share that overlap directly or through others.

        A tensor without memory is alone in its component.
        """
        group = self._group_of.get(number)
        return -1 - number if group is None else self._sets.find(group)

    def components(self) -> list[list[int]]:
        """Return the indices of groups whose bytes are connected."""
        return self._sets.groups()

    def neighbours(self, group: int) -> Mapping[int, str]:
        """Return the groups that share bytes with a group, each with the kind of sharing."""
        return self._kinds[group]

    def views(self, group: int) -> list[list[int]]:
        """Return the tensors of one group, those with equal dtype, shape and strides together."""
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
