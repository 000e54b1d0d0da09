"""Which names are one Parameter."""

from __future__ import annotations

from torch import nn

from paraminspect.analysis.inventory import Entry, Inventory
from paraminspect.report import Sharing


def find_sharing(module: nn.Module, inventory: Inventory, declared: tuple[tuple[str, ...], ...]) -> tuple[Sharing, ...]:
    """Group the names of each Parameter that goes by more than one.

    `declared` are the ties that were meant. Only ``same-parameter`` is looked for: a spec can make no other kind.
    """
    modules = dict(module.named_modules(remove_duplicate=False))
    return tuple(_same(entry, modules, declared) for entry in inventory.entries if len(entry.names) > 1)


def _same(entry: Entry, modules: dict[str, nn.Module], declared: tuple[tuple[str, ...], ...]) -> Sharing:
    owners = {id(modules[name]) for name in entry.owner_names}
    return Sharing(
        kind="same-parameter" if entry.kind == "parameter" else "same-buffer",
        names=entry.names,
        numel=entry.numel or 0,
        bytes=entry.bytes or 0,
        modules=entry.owner_names,
        same_module=len(owners) == 1,
        declared=len(owners) == 1 or any(set(tie) <= set(entry.names) for tie in declared),
    )
