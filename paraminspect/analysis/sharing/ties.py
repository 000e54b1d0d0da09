"""Declared ties held against what is there."""

from __future__ import annotations

from dataclasses import dataclass

from paraminspect.analysis.inventory.entry import Entry
from paraminspect.analysis.inventory.model_inventory import Inventory
from paraminspect.analysis.sharing.sets import Sets
from paraminspect.modules.subject import Ties


@dataclass(frozen=True)
class Broken:
    """A declared tie that is none: the numbers of the entries its names belong to, and the names nothing has."""

    names: tuple[str, ...]
    entries: tuple[int, ...]
    missing: tuple[str, ...]


class Declared:
    """What is meant to be one.

    A tie of a single name is meant to be one with some other, which the declaration leaves open. A module that is
    registered twice is a declaration too: both paths lead to its tensors, and nobody can mean otherwise.
    """

    def __init__(self, inventory: Inventory, ties: Ties) -> None:
        self._ties = tuple(dict.fromkeys(ties.names))
        self._entries = inventory.entries
        self._owners = {name: number for number, entry in enumerate(inventory.entries) for name in entry.names}
        self._numbers = {name: number for number, name in enumerate(self._owners)}
        self._meant = Sets(len(self._numbers))
        for names in (*self._ties, *_registered_twice(inventory)):
            numbers = [self._numbers[name] for name in names if name in self._numbers]
            for number in numbers[1:]:
                self._meant.join(numbers[0], number)
        self._open = {tie[0] for tie in self._ties if len(tie) == 1}

    def covers(self, entry: Entry) -> bool:
        """Tell whether all names of an entry are meant to be one."""
        meant = {self._meant.find(self._numbers[name]) for name in entry.names}
        return len(meant) == 1 or not self._open.isdisjoint(entry.names)

    def broken(self) -> list[Broken]:
        """Return every tie whose names are not all one tensor, or are not all there."""
        found = []
        for tie in self._ties:
            numbers = tuple(dict.fromkeys(self._owners[name] for name in tie if name in self._owners))
            missing = tuple(name for name in tie if name not in self._owners)
            alone = len(tie) == 1 and any(len(self._entries[number].names) == 1 for number in numbers)
            if missing or alone or len(numbers) > 1:
                found.append(Broken(tie, numbers, missing))
        return found


def _registered_twice(inventory: Inventory) -> list[list[str]]:
    """Return the names that are one attribute of one module, reached by several paths."""
    found: dict[tuple[int, str], list[str]] = {}
    for entry in inventory.entries:
        for name, path in zip(entry.names, entry.owner_names, strict=True):
            key = id(inventory.modules[path]), name.rpartition(".")[2]
            found.setdefault(key, []).append(name)
    return [names for names in found.values() if len(names) > 1]
