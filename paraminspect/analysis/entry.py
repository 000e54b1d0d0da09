"""One tensor of a model, with every name it goes by."""

from __future__ import annotations

from dataclasses import dataclass

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
        with torch._C.DisableTorchFunctionSubclass():
            return () if self.lazy or self.tensor.is_nested else tuple(self.tensor.shape)

    @property
    def numel(self) -> int | None:
        """Return the number of elements, None where it is unknown."""
        if self.lazy:
            return None
        with torch._C.DisableTorchFunctionSubclass():
            return self.tensor.numel()

    @property
    def bytes(self) -> int | None:
        """Return elements times bytes per element, for a sparse tensor those it stores; None where it is unknown."""
        if self.lazy:
            return None
        with torch._C.DisableTorchFunctionSubclass():
            return _bytes(self.tensor)


def _bytes(tensor: Tensor) -> int:
    if tensor.dtype in _HALF_BYTES:
        return tensor.untyped_storage().nbytes()
    stored = [getattr(tensor, part)() for part in _COMPRESSED.get(tensor.layout, ())] or [tensor]
    return sum(part.numel() * part.element_size() for part in stored)
