"""Which names are one Parameter."""

from __future__ import annotations

from paraminspect.analysis.inventory import Entry, Inventory
from paraminspect.report import Sharing


def find_sharing(inventory: Inventory, declared: tuple[tuple[str, ...], ...]) -> tuple[Sharing, ...]:
    """Group the names of each Parameter that goes by more than one.

    `declared` are the ties that were meant. Parameters give ``same-parameter``, buffers ``same-buffer``: a spec
    can make no other kind.
    """
    return tuple(_same(entry, inventory, declared) for entry in inventory.entries if len(entry.names) > 1)


def _same(entry: Entry, inventory: Inventory, declared: tuple[tuple[str, ...], ...]) -> Sharing:
    owners = {id(inventory.modules[name]) for name in entry.owner_names}
    return Sharing(
        kind="same-parameter" if entry.kind == "parameter" else "same-buffer",
        names=entry.names,
        numel=entry.numel,
        bytes=entry.bytes,
        modules=entry.owner_names,
        same_module=len(owners) == 1,
        declared=len(owners) == 1 or any(set(tie) <= set(entry.names) for tie in declared),
    )
