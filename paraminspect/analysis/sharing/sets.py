"""Disjoint sets of numbers, to be joined."""

from __future__ import annotations


class Sets:
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
