"""TieDeclarations ties held against what is there, and the line of PyTorch that makes a broken one true."""

from __future__ import annotations

import keyword
from collections.abc import Iterable

from torch import nn

from paraminspect.analysis.inventory import Inventory, TensorEntry
from paraminspect.analysis.sharing.relations import DisjointSets
from paraminspect.frozen import dataclass
from paraminspect.modules.subject import Ties


@dataclass(frozen=True)
class BrokenTie:
    """A declared tie that is none: the numbers of the entries its names belong to, and the names nothing has."""

    names: tuple[str, ...]
    entries: tuple[int, ...]
    missing: tuple[str, ...]


class TieDeclarations:
    """What is meant to be one.

    A tie of a single name is meant to be one with some other, which the declaration leaves open. A module that is
    registered twice is a declaration too: both paths lead to its tensors, and nobody can mean otherwise.
    """

    def __init__(self, inventory: Inventory, ties: Ties) -> None:
        self._ties = tuple(dict.fromkeys(ties.names))
        self._entries = inventory.entries
        several = [entry for entry in inventory.entries if len(entry.names) > 1]
        if not (self._ties or several):  # as in most models
            return
        self._owners = {name: number for number, entry in enumerate(inventory.entries) for name in entry.names}
        self._numbers = {name: number for number, name in enumerate(self._owners)}
        self._meant = DisjointSets(len(self._numbers))
        for names in (*self._ties, *_registered_twice(several, inventory)):
            numbers = [self._numbers[name] for name in names if name in self._numbers]
            for number in numbers[1:]:
                self._meant.join(numbers[0], number)
        self._open = {tie[0] for tie in self._ties if len(tie) == 1}

    def covers(self, entry: TensorEntry) -> bool:
        """Tell whether all names of an entry are meant to be one."""
        meant = {self._meant.find(self._numbers[name]) for name in entry.names}
        return len(meant) == 1 or not self._open.isdisjoint(entry.names)

    def broken(self) -> list[BrokenTie]:
        """Return every tie whose names are not all one tensor, or are not all there."""
        found = []
        for tie in self._ties:
            numbers = tuple(dict.fromkeys(self._owners[name] for name in tie if name in self._owners))
            missing = tuple(name for name in tie if name not in self._owners)
            alone = len(tie) == 1 and any(len(self._entries[number].names) == 1 for number in numbers)
            if missing or alone or len(numbers) > 1:
                found.append(BrokenTie(tie, numbers, missing))
        return found


def _registered_twice(several: Iterable[TensorEntry], inventory: Inventory) -> list[list[str]]:
    """Return the names, of tensors of several, that are one attribute of one module, reached by several paths."""
    found: dict[tuple[int, str], list[str]] = {}
    for entry in several:
        for name, path in zip(entry.names, entry.owner_names, strict=True):
            key = id(inventory.modules[path]), name.rpartition(".")[2]
            found.setdefault(key, []).append(name)
    return [names for names in found.values() if len(names) > 1]


def repair(root: nn.Module, kept: TensorEntry, others: Iterable[TensorEntry]) -> str | None:
    """Return the line that gives every name of `others` the Parameter of `kept`, whose values win.

    The module that was inspected is called ``model`` in it. None where no assignment can make them one: shapes or
    types differ, or they are not all Parameters.
    """
    others = tuple(others)
    if not all(_fits(kept, other) for other in others):
        return None
    names = [name for other in others for name in _places(root, other)]
    source = _path(root, kept.name)
    targets = [_path(root, name) for name in names]
    if source is not None and None not in targets:
        return " = ".join([*filter(None, targets), source])
    return "; ".join(f"setattr({_owner(name)}, {_leaf(name)!r}, model.get_parameter({kept.name!r}))" for name in names)


def _fits(kept: TensorEntry, other: TensorEntry) -> bool:
    if kept.kind != "parameter" or other.kind != "parameter" or kept.lazy or other.lazy:
        return False
    return kept.tensor.shape == other.tensor.shape and kept.tensor.dtype == other.tensor.dtype


def _places(root: nn.Module, entry: TensorEntry) -> list[str]:
    """Return the names of a Parameter, one for each attribute of each module: a module may be reached by several."""
    found = {(id(_module(root, name)), _leaf(name)): name for name in reversed(entry.names)}
    return list(reversed(found.values()))


def _module(root: nn.Module, name: str) -> nn.Module:
    return root.get_submodule(name.rpartition(".")[0])


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _owner(name: str) -> str:
    path = name.rpartition(".")[0]
    return f"model.get_submodule({path!r})" if path else "model"


def _path(root: nn.Module, name: str) -> str | None:
    """Return ``model.layers[0].weight``; None where the name cannot be written so."""
    module, written = root, "model"
    *modules, leaf = name.split(".")
    for part in modules:
        step = _step(module, part)
        if step is None:
            return None
        written, module = written + step, module.get_submodule(part)
    step = _step(module, leaf)
    return None if step is None else written + step


def _step(module: nn.Module, part: str) -> str | None:
    """Return how a child or a parameter of `module` is reached: by attribute, index or key."""
    if part.isidentifier() and part.isascii() and not keyword.iskeyword(part):
        return f".{part}"
    if isinstance(module, nn.Sequential | nn.ModuleList):
        names = list(module._modules)
        return f"[{part}]" if part.isdecimal() and part in names and names.index(part) == int(part) else None
    if isinstance(module, nn.ParameterList) and part.isdecimal():
        return f"[{int(part)}]"
    if isinstance(module, nn.ModuleDict | nn.ParameterDict):
        return f"[{part!r}]"
    return None
