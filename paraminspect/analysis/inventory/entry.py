"""One tensor of a model, with every name it goes by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

_HALF_BYTES = {torch.quint4x2, torch.quint2x4}  # several elements in a byte: only the memory tells how many bytes
_COMPRESSED = {
    torch.sparse_csr: ("crow_indices", "col_indices", "values"),
    torch.sparse_csc: ("ccol_indices", "row_indices", "values"),
    torch.sparse_bsr: ("crow_indices", "col_indices", "values"),
    torch.sparse_bsc: ("ccol_indices", "row_indices", "values"),
    torch.sparse_coo: ("_indices", "_values"),
}


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
    _listed: _Size | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Return the first of its names."""
        return self.names[0]

    @property
    def lazy(self) -> bool:
        """Tell whether its shape is unknown until the first forward."""
        return is_lazy(self.tensor)

    @property
    def requires_grad(self) -> bool:
        """Tell whether the tensor asks for a gradient."""
        with torch._C.DisableTorchFunctionSubclass():
            return self.tensor.requires_grad

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape, nothing where it is unknown or there is none: a nested tensor has several."""
        return self._size.shape if self._size else ()

    @property
    def numel(self) -> int | None:
        """Return the number of elements, None where it is unknown."""
        return self._size.numel if self._size else None

    @property
    def bytes(self) -> int | None:
        """Return elements times bytes per element, for a sparse tensor those it stores; None where it is unknown."""
        return self._size.bytes if self._size else None

    @property
    def _size(self) -> _Size | None:
        """Return how large the tensor was when it was listed, or, if it was lazy then, how large it is now."""
        return self._listed or _size_of(self.tensor)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_listed", _size_of(self.tensor))  # a forward may put other memory in its place


class _Size(NamedTuple):
    shape: tuple[int, ...]
    numel: int
    bytes: int


def _size_of(tensor: Tensor) -> _Size | None:
    """Return the size of a tensor, None where it is unknown until the first forward."""
    if is_lazy(tensor):
        return None
    with torch._C.DisableTorchFunctionSubclass():
        shape = () if tensor.is_nested else tuple(tensor.shape)
        return _Size(shape, tensor.numel(), _bytes(tensor))


def _bytes(tensor: Tensor) -> int:
    if tensor.dtype in _HALF_BYTES:
        return tensor.untyped_storage().nbytes()
    stored = [getattr(tensor, part)() for part in _COMPRESSED.get(tensor.layout, ())] or [tensor]
    return sum(part.numel() * part.element_size() for part in stored)
