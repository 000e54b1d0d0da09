"""What is asked for: which part of a model is looked at, which rows are shown, and in which order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from torch import nn

from paraminspect.analysis.inventory import Inventory, TensorEntry, take_inventory
from paraminspect.errors import UserError, did_you_mean
from paraminspect.frozen import dataclass
from paraminspect.modules.subject import Ties
from paraminspect.modules.walk import walk, without_prefix
from paraminspect.report import Number, Parameter
from paraminspect.text.escape import some_names


@dataclass(frozen=True)
class Ranking:
    """Say in which order modules are shown and how many, the largest first; `depth` sums up what lies deeper.

    `key` is ``parameters``, ``macs``, ``saved``, ``bytes`` or ``name``; without one it is ``parameters``.
    """

    key: str | None = None
    top: int | None = None
    depth: int | None = None


@dataclass(frozen=True)
class Request:
    """What the user asked to see; without `params`, globs, it is every tensor, without `modules` every module.

    With `gates` it is the gates and projections of each tensor too.
    """

    command: str
    params: tuple[str, ...] = ()
    layer: str | None = None
    values: bool = False
    forward: bool = True
    backward: bool = True
    all_uses: bool = False
    statistics: bool = True
    recognise: bool = False
    gates: bool = False
    sort: str | None = None
    top: int | None = None
    modules: tuple[str, ...] = ()
    sharing: bool = True
    ranking: Ranking | None = None

    def selects(self, names: Iterable[str]) -> bool:
        """Tell whether a tensor of these names is shown: one of them matches one of the globs."""
        if not self.params:
            return True
        return matches(names, [spelling for glob in self.params for spelling in (glob, without_prefix(glob))])

    def nothing_selected(self, inventory: Inventory) -> UserError:
        """Build the error for globs that match no name."""
        names = [name for entry in inventory.entries for name in entry.names]
        within = f"*{self.params[0].strip('*')}*"
        near = f"did you mean {within!r}?" if any(fnmatchcase(name, within) for name in names) else ""
        hint = near or did_you_mean(self.params[0], names) or f"parameters: {some_names(names)}"
        wanted = " or ".join(map(repr, self.params))
        return UserError(f"{wanted} matches no parameter", where="--params", hint=hint, code="glob-matches-nothing")


def matches(names: Iterable[str], globs: Sequence[str]) -> bool:
    """Tell whether one of the names matches one of the globs."""
    return any(fnmatchcase(name, glob) for name in names for glob in globs)


@dataclass(frozen=True)
class Scope:
    """The part of a model that is looked at: all of it, or the one module that ``--layer`` names.

    `inventory` lists the tensors of that part, by their names as seen from it; `whole` those of all the model.
    """

    module: nn.Module
    inventory: Inventory
    whole: Inventory
    layer: str | None = None

    def relative(self, path: str) -> str | None:
        """Return a path of the model as seen from the part; None when it lies outside."""
        if self.layer is None:
            return path
        if path == self.layer:
            return ""
        return path[len(self.layer) + 1 :] if path.startswith(f"{self.layer}.") else None

    def with_entries(self, found: Iterable[TensorEntry]) -> Scope:
        """Return the part with more tensors of the model, those that lie inside, under their names as seen from it."""
        seen = ((entry, self.relative(entry.owner_names[0])) for entry in found)
        inside = [
            replace(entry, names=(self.relative(entry.name) or entry.name,), owner_names=(path,))
            for entry, path in seen
            if path is not None
        ]
        if not inside:
            return self
        return replace(self, inventory=replace(self.inventory, entries=(*self.inventory.entries, *inside)))

    def inside(self, ties: Ties) -> Ties:
        """Return the ties whose names all lie inside, as seen from the part."""
        seen = (tuple(map(self.relative, tie)) for tie in ties.names)
        names = (tuple(name for name in tie if name is not None) for tie in seen if None not in tie)
        return Ties(tuple(names), ties.origin, ties.kind)


def scope_of(module: nn.Module, whole: Inventory, layer: str | None) -> Scope:
    """Return the part of `module` that `layer` names, all of it for None. Raises UserError for an unknown name."""
    if layer is None:
        return Scope(module, whole, whole)
    children = dict(walk(module).paths)
    if layer not in children:
        layer = without_prefix(f"{layer}.").removesuffix(".")
        if not layer:  # the wrapped model itself
            return Scope(children[""], whole, whole)
    if layer not in children:
        names = [name for name in children if name]
        hint = did_you_mean(layer, names) or f"layers: {some_names(names)}"
        raise UserError(f"there is no layer {layer!r}", where="--layer", hint=hint, code="no-such-layer")
    child = children[layer]
    return Scope(child, whole if child is module else take_inventory(child), whole, layer)


# --- the order of the rows -------------------------------------------------------------------------------------

SORTS: dict[str, Callable[[Parameter], Number | None]] = {
    "numel": lambda row: row.numel,
    "bytes": lambda row: row.bytes,
    "mean": lambda row: row.values.mean if row.values else None,
    "std": lambda row: row.values.std if row.values else None,
    "rms": lambda row: row.values.rms if row.values else None,
    "gradient": lambda row: row.gradient.rms if row.gradient else None,
}


def in_order(rows: Sequence[Parameter], sort: str | None, top: int | None) -> tuple[Parameter, ...]:
    """Return the rows sorted, the largest first (names from A to Z), and of these the first `top`.

    What has no figure comes last. `top` alone takes the rows with most elements. Equal rows keep their order.
    """
    key = sort or ("numel" if top is not None else None)
    found = list(rows)
    if key == "name":
        found.sort(key=lambda row: row.name)
    elif key is not None:
        figure = SORTS[key]
        found.sort(key=lambda row: _descending(figure(row)))
    return tuple(found[:top])


def _descending(figure: Number | None) -> Number:
    return math.inf if figure is None or math.isnan(figure) else -figure
