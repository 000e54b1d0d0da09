"""What is there: every parameter, buffer and forgotten tensor of a module, with all its names and its owner."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from paraminspect.report import Totals


@dataclass(frozen=True)
class Entry:
    """One tensor of the model with every name it goes by.

    `tensor` is held so that its ``id`` stays its own. `owner` is the module the first name hangs on.
    """

    names: tuple[str, ...]
    tensor: Tensor
    owner: nn.Module
    kind: str
    owner_names: tuple[str, ...] = ()
    note: str | None = None
    persistent: bool | None = None

    @property
    def name(self) -> str:
        """Return the first of its names."""
        return self.names[0]

    @property
    def lazy(self) -> bool:
        """Tell whether its shape is unknown until the first forward."""
        return is_lazy(self.tensor)

    @property
    def numel(self) -> int | None:
        """Return the number of elements, None where it is unknown."""
        return None if self.lazy else self.tensor.numel()

    @property
    def bytes(self) -> int | None:
        """Return elements times bytes per element, None where it is unknown."""
        return None if self.lazy else self.tensor.numel() * self.tensor.element_size()


@dataclass(frozen=True)
class Inventory:
    """Every tensor of a module; objects and storages are numbered by first appearance, so that no address is shown.

    `modules` maps every path to its module, one that is reached twice under both paths.
    """

    entries: tuple[Entry, ...]
    modules: dict[str, nn.Module]
    _identities: dict[int, int] = field(default_factory=dict)
    _storages: dict[int, int] = field(default_factory=dict)

    def identity(self, tensor: Tensor) -> int:
        """Return the number of this tensor object, counted from 1 by first appearance."""
        return self._identities.setdefault(id(tensor), len(self._identities) + 1)

    def storage(self, tensor: Tensor) -> int | None:
        """Return the number of the tensor's storage, None where it has none.

        Keyed by the storage object, never by data_ptr: that is 0 for every meta and every empty tensor.
        """
        if is_lazy(tensor):
            return None
        try:
            key = tensor.untyped_storage()._cdata  # private, and the only identity that meta tensors keep apart
        except (RuntimeError, NotImplementedError):
            return None
        return self._storages.setdefault(key, len(self._storages) + 1)

    def of_kind(self, kind: str) -> tuple[Entry, ...]:
        """Return the entries of one kind: parameter, buffer or unregistered."""
        return tuple(entry for entry in self.entries if entry.kind == kind)


def take_inventory(module: nn.Module) -> Inventory:
    """List parameters first, then buffers, then tensors that only hang on a module as attributes.

    Linear in the number of paths that lead to a module: one reached twice counts twice, for it has two names.
    """
    modules: dict[str, nn.Module] = dict(module.named_modules(remove_duplicate=False))
    found = [*_registered(modules, "parameter"), *_registered(modules, "buffer")]
    known = {id(entry.tensor) for entry in found}
    inventory = Inventory((*found, *_unregistered(modules, known)), modules)
    for entry in inventory.entries:
        inventory.identity(entry.tensor)
        inventory.storage(entry.tensor)
    return inventory


def names_of(module: nn.Module) -> list[tuple[nn.Parameter, tuple[str, ...]]]:
    """Return every Parameter of `module` once, with all its names."""
    found: dict[int, tuple[nn.Parameter, list[str]]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        found.setdefault(id(parameter), (parameter, []))[1].append(name)
    return [(parameter, tuple(names)) for parameter, names in found.values()]


def _registered(modules: dict[str, nn.Module], kind: str) -> Iterator[Entry]:
    """Group the names of every registered tensor, in the order in which torch names them."""
    grouped: dict[int, tuple[Tensor, list[str], list[str]]] = {}
    for path, owner in modules.items():
        own = owner.named_parameters if kind == "parameter" else owner.named_buffers
        for name, tensor in own(recurse=False, remove_duplicate=False):
            _, names, paths = grouped.setdefault(id(tensor), (tensor, [], []))
            names.append(f"{path}.{name}" if path else name)
            paths.append(path)
    for tensor, names, paths in grouped.values():
        yield Entry(tuple(names), tensor, modules[paths[0]], kind, tuple(paths))


def _unregistered(modules: dict[str, nn.Module], known: set[int]) -> Iterator[Entry]:
    """Find tensors in the instance attributes of every module that no module registers."""
    for path, owner in modules.items():
        for attribute, value in vars(owner).items():
            if not isinstance(value, Tensor) or id(value) in known:
                continue
            known.add(id(value))
            name = f"{path}.{attribute}" if path else attribute
            yield Entry((name,), value, owner, "unregistered", (path,), _why_forgotten(value))


def _why_forgotten(tensor: Tensor) -> str:
    if isinstance(tensor, nn.Parameter) or tensor.requires_grad:
        return "requires grad, but no module registers it: an optimizer never sees it, state_dict never saves it"
    return "a plain tensor attribute: not in parameters(), not in state_dict, does not follow .to(device)"


def count(inventory: Inventory) -> Totals:
    """Add up an inventory; a shared parameter counts once, `as_named` counts it under each of its names."""
    parameters = inventory.of_kind("parameter")
    known = [entry for entry in parameters if entry.numel is not None]
    trainable = sum(entry.tensor.numel() for entry in known if entry.tensor.requires_grad)
    total = sum(entry.tensor.numel() for entry in known)
    buffers = [entry for entry in inventory.of_kind("buffer") if entry.numel is not None]
    return Totals(
        parameters=total,
        trainable=trainable,
        frozen=total - trainable,
        as_named=sum(entry.tensor.numel() * len(entry.names) for entry in known),
        bytes=sum(entry.bytes or 0 for entry in known),
        buffers=sum(entry.tensor.numel() for entry in buffers),
        buffer_bytes=sum(entry.bytes or 0 for entry in buffers),
        unregistered=sum(entry.numel or 0 for entry in inventory.of_kind("unregistered")),
        unknown=sum(entry.numel is None for entry in inventory.entries),
    )


def dtype_name(dtype: torch.dtype) -> str:
    """Return ``float32`` for ``torch.float32``."""
    return str(dtype).removeprefix("torch.")
