"""Where a tensor keeps its bytes, also one that is not a plain strided tensor; nothing is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import field
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from paraminspect.analysis.sharing.byte_sets import Layout, StridedBytes, layout_of
from paraminspect.frozen import dataclass
from paraminspect.modules.wrapper_tensors import PLAIN

_ADDRESSES: Final = "addresses"
_COMPRESSED_ROWS = {torch.sparse_csr, torch.sparse_bsr}
_COMPRESSED_COLUMNS = {torch.sparse_csc, torch.sparse_bsc}


class Piece(NamedTuple):
    """The bytes of one strided tensor.

    Positions count from the beginning of `space`: the addresses of the CPU, where different storages may overlap, or
    one storage, where addresses are unknown (meta) or not ours to compare.
    """

    space: Hashable
    storage: int
    layout: Layout


@dataclass(frozen=True)
class Memory:
    """All bytes of a tensor, and how it looks at them; equal ones are the same view.

    `visited` counts a byte as often as an element lies there. `parts` are the strided tensors of the pieces, held so
    that their storages keep their identity.
    """

    pieces: tuple[Piece, ...]
    view: Hashable
    visited: int
    parts: tuple[Tensor, ...] = field(compare=False)

    @property
    def size(self) -> int | None:
        """Return the number of different bytes; None where it is unknown."""
        sizes = [piece.layout.size for piece in self.pieces]
        return None if None in sizes else sum(size or 0 for size in sizes)


def memory_of(tensor: Tensor) -> Memory | None:
    """Return the bytes of `tensor`, those of its parts if it is a wrapper; None where it has none or hides them."""
    try:
        if _lies_in_one_run(tensor):
            return _of_one_run(tensor)
        parts = list(strided_parts(tensor))
        found = [(part, piece) for part in parts if (piece := _piece(part))]
        view = (tensor.dtype, _shape(tensor), tuple(map(_view, parts)))
    except Exception:  # a subclass answers with code of its own, and may raise anything
        return None
    if not found:
        return None
    held, pieces = zip(*found, strict=True)
    return Memory(pieces, view, sum(part.numel() * part.element_size() for part in held), held)


def _lies_in_one_run(tensor: Tensor) -> bool:
    """Tell whether a tensor is what most are: of torch's own class, strided, contiguous, in the memory of the CPU."""
    return (
        type(tensor) in PLAIN
        and tensor.is_cpu
        and tensor.layout is torch.strided
        and not tensor.is_nested
        and tensor.is_contiguous()
        and tensor.data_ptr() != 0
    )


def _of_one_run(tensor: Tensor) -> Memory | None:
    """Return the bytes of such a tensor: one run; None where its storage was cut short."""
    storage, count = tensor.untyped_storage(), tensor.numel()
    start, size = tensor.data_ptr(), count * tensor.element_size()
    if not count or start + size > storage.data_ptr() + storage.nbytes():
        return None
    piece = Piece(_ADDRESSES, storage._cdata, StridedBytes(start, ((size, 1),)))
    shape, steps = tuple(tensor.shape), tensor.stride()
    if 1 in shape:
        steps = tuple([step if length > 1 else 0 for length, step in zip(shape, steps, strict=True)])
    looks = (tensor.dtype, shape, steps, tensor.is_conj(), tensor.is_neg())
    return Memory((piece,), (tensor.dtype, shape, (looks,)), size, (tensor,))


class TensorMemories:
    """The memory of tensors by their numbers, described when it is asked for: most have nothing in common.

    `alone` are the numbers of those that are one run of bytes, and whose storage and bytes no other tensor has;
    `others` those that have to be compared.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = tensors
        self._known: dict[int, Memory | None] = {}
        runs: dict[int, tuple[int, int, int]] = {}
        others: dict[int, None] = {}
        extents: list[tuple[int, int, int]] = []
        for number, tensor in enumerate(tensors):
            run = _run_of(tensor)
            if run is not None:
                runs[number] = run
            elif memory := self[number]:
                others[number] = None
                extents += [
                    (piece.layout.start, piece.layout.stop, piece.storage)
                    for piece in memory.pieces
                    if piece.space == _ADDRESSES
                ]
        crowded = _crowded([*runs.values(), *extents])
        others |= {number: None for number, meets in zip(runs, crowded, strict=False) if meets}
        self.others = sorted(others)
        self.alone = runs.keys() - others.keys()

    def __getitem__(self, number: int) -> Memory | None:
        if number not in self._known:
            self._known[number] = memory_of(self._tensors[number])
        return self._known[number]


def _run_of(tensor: Tensor) -> tuple[int, int, int] | None:
    """Return start, stop and storage of a tensor that is one run of bytes in the memory of the CPU; None of others."""
    try:
        if not _lies_in_one_run(tensor):
            return None
        storage, start = tensor.untyped_storage(), tensor.data_ptr()
        stop = start + tensor.nbytes
        return (start, stop, storage._cdata) if start < stop <= storage.data_ptr() + storage.nbytes() else None
    except Exception:  # where `memory_of` has none
        return None


def _crowded(extents: Sequence[tuple[int, int, int]]) -> list[bool]:
    """Tell of each extent, its start, stop and storage, whether its bytes or its storage are another's too."""
    if not extents:
        return []
    starts, stops, storages = zip(*extents, strict=True)
    order = np.argsort(np.array(starts), kind="stable")
    furthest = np.maximum.accumulate(np.array(stops)[order])
    meets = np.array(starts)[order][1:] < furthest[:-1]
    crossed = np.zeros(len(extents), bool)
    crossed[order[1:]] = meets
    crossed[order[:-1]] |= meets
    times = Counter(storages)
    return [crosses or times[storage] > 1 for crosses, storage in zip(crossed.tolist(), storages, strict=True)]


def strided_parts(tensor: Tensor) -> Iterator[Tensor]:
    """Yield the strided tensors that hold the elements: the local one of a DTensor, indices and values of a sparse."""
    if is_lazy(tensor):
        return
    if hasattr(type(tensor), "__tensor_flatten__"):
        names, _ = tensor.__tensor_flatten__()  # type: ignore[attr-defined]  # of wrapper subclasses
        inner = (getattr(tensor, name) for name in names)
        for part in inner:
            if isinstance(part, Tensor):  # a DTensor names its mesh, too
                yield from strided_parts(part)
    elif tensor.layout is torch.sparse_coo:
        yield from (tensor._indices(), tensor._values())
    elif tensor.layout in _COMPRESSED_ROWS:
        yield from (tensor.crow_indices(), tensor.col_indices(), tensor.detach().values())
    elif tensor.layout in _COMPRESSED_COLUMNS:
        yield from (tensor.ccol_indices(), tensor.row_indices(), tensor.detach().values())
    elif tensor.is_nested:
        yield tensor.detach().values()
    elif tensor.layout is torch.strided:
        yield tensor


def _piece(tensor: Tensor) -> Piece | None:
    """Return the bytes of a strided tensor; None where it has no elements, or its storage was cut short."""
    storage = tensor.untyped_storage()
    identity, address = storage._cdata, _address(storage)  # private: all that keeps storages without addresses apart
    start = int(tensor.storage_offset()) * tensor.element_size()
    layout = layout_of(start + address, tensor.element_size(), tensor.shape, tensor.stride())
    if layout is None or (address and layout.stop > address + storage.nbytes()):
        return None
    return Piece(_ADDRESSES if address else identity, identity, layout)


def _address(storage: torch.UntypedStorage) -> int:
    """Return where a storage of the CPU begins; 0 where there is no memory behind it, or not the CPU's."""
    try:
        return storage.data_ptr() if storage.device.type == "cpu" else 0
    except RuntimeError:  # a wrapper's storage, or a fake one
        return 0


def _shape(tensor: Tensor) -> Hashable:
    nested = tensor.is_nested and tensor.layout is torch.strided
    return str(tensor._nested_tensor_size().tolist()) if nested else tuple(tensor.shape)


def _view(tensor: Tensor) -> Hashable:
    """Return how a strided tensor looks at its bytes; the stride of one row says nothing."""
    steps = tuple(step if count > 1 else 0 for count, step in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.dtype, tuple(tensor.shape), steps, tensor.is_conj(), tensor.is_neg()
