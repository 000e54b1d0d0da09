"""What is there: every parameter, buffer and forgotten tensor of a module, with all its names and its owner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from paraminspect.frozen import dataclass
from paraminspect.modules.forgotten import MOST_VALUES, Forgotten, Search
from paraminspect.modules.hidden_weights import notes_on, unpacked
from paraminspect.modules.nested_tensors import leaves_of
from paraminspect.modules.script_constants import FROZEN, graph_constants, packed_constants
from paraminspect.modules.walk import MOST_ALIASES, Path, Walk, attributes_of, join, registered, walk
from paraminspect.modules.wrapper_tensors import PLAIN, bytes_held, is_wrapper, why_unread
from paraminspect.report import Totals
from paraminspect.text.numbers import plural, some_of

_HALF_BYTES = {torch.quint4x2, torch.quint2x4}  # several elements in a byte: only the memory tells how many bytes
_COMPRESSED = {
    torch.sparse_csr: ("crow_indices", "col_indices", "values"),
    torch.sparse_csc: ("ccol_indices", "row_indices", "values"),
    torch.sparse_bsr: ("crow_indices", "col_indices", "values"),
    torch.sparse_bsc: ("ccol_indices", "row_indices", "values"),
    torch.sparse_coo: ("_indices", "_values"),
}


@dataclass(frozen=True)
class TensorEntry:
    """One tensor with every name it goes by.

    `kind` is ``parameter``, ``buffer``, ``unregistered``, ``constant`` or ``graph-constant``.

    `owner` is the module that the first name hangs on, None for a tensor of no module; `owner_names` has the path of
    the owner for each name: ``("encoder", "decoder")`` for the names ``encoder.weight`` and ``decoder.weight``.
    `persistent` tells of a buffer whether state_dict saves it. The tensor is held so that its ``id`` stays its own.
    """

    names: tuple[str, ...]
    tensor: Tensor
    kind: str
    owner: nn.Module | None = None
    owner_names: tuple[str, ...] = ()
    note: str | None = None
    persistent: bool | None = None
    _listed: _Size | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Return the first of its names."""
        return self.names[0]

    @property
    def lazy(self) -> bool:
        """Tell whether its shape is unknown until the first forward."""
        return self._listed is None and is_lazy(self.tensor)

    @property
    def requires_grad(self) -> bool:
        """Tell whether the tensor asks for a gradient."""
        if type(self.tensor) in PLAIN:
            return self.tensor.requires_grad
        with torch._C.DisableTorchFunctionSubclass():
            return self.tensor.requires_grad

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape, nothing where it is unknown or there is none: a nested tensor has several."""
        return size.shape if (size := self._size) else ()

    @property
    def numel(self) -> int | None:
        """Return the number of elements, None where it is unknown."""
        return size.numel if (size := self._size) else None

    @property
    def bytes(self) -> int | None:
        """Return elements times bytes per element, for a sparse tensor those it stores; None where it is unknown."""
        return size.bytes if (size := self._size) else None

    @property
    def _size(self) -> _Size | None:
        """Return how large the tensor was when it was listed, or, if it was lazy then, how large it is now."""
        return self._listed or _size_of(self.tensor)

    def __post_init__(self) -> None:
        vars(self)["_listed"] = _size_of(self.tensor)  # a forward may put other memory in its place


class _Size(NamedTuple):
    shape: tuple[int, ...]
    numel: int
    bytes: int


def _size_of(tensor: Tensor) -> _Size | None:
    """Return the size of a tensor, None where it is unknown until the first forward."""
    if type(tensor) in PLAIN and tensor.layout is torch.strided and not tensor.is_nested:
        stored = tensor.untyped_storage().nbytes() if tensor.dtype in _HALF_BYTES else tensor.nbytes
        return _Size(tuple(tensor.shape), tensor.numel(), stored)
    if is_lazy(tensor):
        return None
    with torch._C.DisableTorchFunctionSubclass():
        shape = () if tensor.is_nested else tuple(tensor.shape)
        return _Size(shape, tensor.numel(), _bytes(tensor))


def _bytes(tensor: Tensor) -> int:
    if is_wrapper(tensor) and (held := bytes_held(tensor)) is not None:
        return held
    if tensor.dtype in _HALF_BYTES:
        return tensor.untyped_storage().nbytes()
    stored = [getattr(tensor, part)() for part in _COMPRESSED.get(tensor.layout, ())] or [tensor]
    return sum(part.numel() * part.element_size() for part in stored)


@dataclass(frozen=True)
class Inventory:
    """Every tensor of a model; objects and storages are numbered by first appearance, so that no address is shown.

    Tensors without a module make an inventory too: ``Inventory((TensorEntry(("w",), tensor, "parameter"),))``.

    `modules` maps every path to its module, one that is reached twice under both paths; the ones that nothing registers
    come last, by where they hang. `notes` say which names are left out, and where the search was cut short; `cut` that
    there are too many names to list. `computed` are attributes that were computed before, from whatever leaves. The
    tensors were found by the paths that were `walked`.
    """

    entries: tuple[TensorEntry, ...]
    modules: dict[str, nn.Module] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    cut: bool = False
    computed: tuple[TensorEntry, ...] = ()
    walked: Walk = field(default_factory=lambda: Walk(()))
    _identities: dict[int, int] = field(default_factory=dict, init=False, repr=False)
    _storages: dict[int, int] = field(default_factory=dict, init=False, repr=False)
    _by_kind: dict[str, tuple[TensorEntry, ...]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for entry in self.entries:
            self.identity(entry.tensor)
            self.storage(entry.tensor)

    def identity(self, tensor: Tensor) -> int:
        """Return the number of this tensor object, counted from 1 by first appearance."""
        return self._identities.setdefault(id(tensor), len(self._identities) + 1)

    def storage(self, tensor: Tensor) -> int | None:
        """Return the number of the tensor's storage, None where it has none.

        Keyed by the storage object, never by data_ptr: that is 0 for every meta and every empty tensor.
        """
        if type(tensor) not in PLAIN and is_lazy(tensor):
            return None
        try:
            if type(tensor) in PLAIN:
                key = tensor.untyped_storage()._cdata  # private, and the only identity that meta tensors keep apart
            else:
                with torch._C.DisableTorchFunctionSubclass():
                    key = tensor.untyped_storage()._cdata
        except (RuntimeError, NotImplementedError):
            return None
        return self._storages.setdefault(key, len(self._storages) + 1)

    def of_kind(self, kind: str) -> tuple[TensorEntry, ...]:
        """Return the entries of one kind: parameter, buffer, unregistered or constant."""
        if kind not in self._by_kind:
            self._by_kind[kind] = tuple([entry for entry in self.entries if entry.kind == kind])
        return self._by_kind[kind]


def take_inventory(module: nn.Module) -> Inventory:
    """List parameters first, then buffers, packed ones among them, then what no module registers.

    Linear in the number of paths that lead to a module: one reached twice counts twice, for it has two names. None of
    the module's own code runs.
    """
    found = walk(module)
    entries = [*_registered(found, "parameter"), *_registered(found, "buffer"), *_packed(found)]
    search = Search(found.once(), [entry.tensor for entry in entries])
    entries += map(unregistered, search.tensors())
    entries += _in_graphs(found)
    modules = dict(found.paths)
    modules |= {path: hidden for path, hidden in search.modules.items() if path not in modules}
    computed = tuple(map(unregistered, search.computed))
    return Inventory(tuple(entries), modules, tuple(_notes(found, search)), found.cut, computed, found)


_Slot = tuple[str, nn.Module, str, Tensor]
"""One registration: the module at a path holds the tensor under a name."""


def _registered(found: Walk, kind: str) -> Iterator[TensorEntry]:
    """Group the names of every registered tensor, in the order in which torch names them."""
    grouped: dict[int, list[_Slot]] = {}
    what = f"_{kind}s"
    for path, owner in found.paths:
        held = attributes_of(owner).get(what)
        if held or type(held) is not dict:  # most have no buffers
            for leaf, tensor in registered(owner, what):
                grouped.setdefault(id(tensor), []).append((path, owner, leaf, tensor))
    notes: dict[str, dict[str, str]] = {}
    for slots in grouped.values():
        path, owner, leaf, tensor = slots[0]
        if path not in notes:
            notes[path] = notes_on(path, owner)
        note = notes[path].get(leaf)
        if note is None and type(tensor) is not nn.Parameter:
            note = _unread(tensor) or _why_untrained(tensor, found)
        alone = len(slots) == 1  # as most are
        yield TensorEntry(
            names=(join(path, leaf),) if alone else tuple([join(slot[0], slot[2]) for slot in slots]),
            tensor=tensor,
            owner=owner,
            kind=kind,
            owner_names=(path,) if alone else tuple([slot[0] for slot in slots]),
            note=note,
            persistent=any(map(_is_persistent, slots)) if kind == "buffer" else None,
        )


def _is_persistent(slot: _Slot) -> bool:
    _, owner, leaf, _ = slot
    return leaf not in attributes_of(owner).get("_non_persistent_buffers_set", ())


def _unread(tensor: Tensor) -> str | None:
    with torch._C.DisableTorchFunctionSubclass():
        return why_unread(tensor)


def _why_untrained(tensor: Tensor, found: Walk) -> str | None:
    """Say that a buffer will not train though it requires grad: of one that was computed, if its leaves will not."""
    with torch._C.DisableTorchFunctionSubclass():
        if isinstance(tensor, nn.Parameter) or not tensor.requires_grad:
            return None
        parameters = {id(one) for _, module in found.once() for _, one in registered(module, "_parameters")}
        trained = not tensor.is_leaf and all(id(leaf) in parameters for leaf in leaves_of(tensor))
    return None if trained else "requires grad, but is a buffer: no optimizer sees it; use nn.Parameter"


def _packed(found: Walk) -> Iterator[TensorEntry]:
    for path, owner in found.once():
        for name, tensor, note in unpacked(owner):
            yield TensorEntry((join(path, name),), tensor, "buffer", owner, (path,), note, persistent=True)


def _scripts(found: Walk) -> list[Path]:
    return [(path, owner) for path, owner in found.once() if issubclass(type(owner), torch.jit.ScriptModule)]


def _in_graphs(found: Walk) -> Iterator[TensorEntry]:
    """List what TorchScript holds in graphs: the weights of a frozen script, and tables."""
    for path, owner in _scripts(found):
        for name, tensor, weight in graph_constants(owner):
            kind, note = ("graph-constant", FROZEN) if weight else ("constant", None)
            yield TensorEntry((join(path, name),), tensor, kind, owner, (path,), note)


def unregistered(one: Forgotten) -> TensorEntry:
    """Return the entry of a tensor that no module registers."""
    kind = "constant" if one.constant else "unregistered"
    return TensorEntry((one.name,), one.tensor, kind, one.owner, (one.path,), one.note or None)


def _notes(found: Walk, search: Search) -> Iterator[str]:
    """Say which names are left out, and where there was more than was looked at."""
    own = found.overridden
    if own:
        yield f"{own}: the rows are what is registered, which is what state_dict saves"
    if found.cycles:
        yield f"left out, for they lead back to a module above them: {some_of([*map(repr, found.cycles)])}"
    for path, owner in _scripts(found):
        if packed := packed_constants(owner):
            where = f"the graph of {path!r}" if path else "the graph"
            yield f"{where} holds {plural(packed, 'packed object')}: how many weights they hold is unknown"
    if found.cut:
        yield f"modules go by more than {MOST_ALIASES:,} further names: some are left out, no tensor is"
    for name in search.cut:
        yield f"{name!r} leads to more than {MOST_VALUES:,} values: forgotten tensors behind it may be missing"


def count(inventory: Inventory) -> Totals:
    """Add up an inventory; a shared parameter counts once, `as_named` counts it under each of its names."""
    parameters = inventory.of_kind("parameter")
    buffers = inventory.of_kind("buffer")
    sizes = [entry.numel or 0 for entry in parameters]
    total = sum(sizes)
    trainable = sum([size for size, entry in zip(sizes, parameters, strict=True) if entry.requires_grad])
    return Totals(
        parameters=total,
        trainable=trainable,
        frozen=total - trainable,
        as_named=sum([size * len(entry.names) for size, entry in zip(sizes, parameters, strict=True)]),
        bytes=sum([entry.bytes or 0 for entry in parameters]),
        buffers=_numel(buffers),
        buffer_bytes=sum(entry.bytes or 0 for entry in buffers),
        unregistered=_numel(inventory.of_kind("unregistered")),
        constants=_numel(inventory.of_kind("constant")) + _numel(inventory.of_kind("graph-constant")),
        unknown=sum([entry.numel is None for entry in inventory.entries]),
    )


def _numel(entries: Iterable[TensorEntry]) -> int:
    return sum(entry.numel or 0 for entry in entries)


def counted_by_torch(module: nn.Module, walked: Walk | None = None) -> int | None:
    """Return ``sum(p.numel() for p in module.parameters())`` without the lazy ones; None where torch cannot tell.

    That is where a class puts its own `parameters` in the place of torch's: it may leave out what it pleases, and
    running it may have effects. And where torch's own walk, which recurses, is not deep enough or never began.
    """
    if (walked or walk(module)).overridden:
        return None
    try:
        with torch._C.DisableTorchFunctionSubclass():
            every = module.parameters()
            return sum(one.numel() for one in every if type(one) is nn.Parameter or not is_lazy(one))
    except (Exception, SystemExit):  # modules that cannot be hashed, names that are no text, code of the user's
        return None
