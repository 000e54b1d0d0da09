"""Tensors whose class keeps the numbers in other tensors: DTensor, the quantised ones of torchao, and their like."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from torch import Tensor, nn

PLAIN = (Tensor, nn.Parameter)
"""The classes, to the letter, that run no code of their own and whose tensors are never lazy: those of most tensors."""
_DEEPEST = 8


def is_wrapper(tensor: Tensor) -> bool:
    """Tell whether the class of a tensor runs operations itself: its numbers are not where a plain tensor has them."""
    return type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__


def plain_tensors(tensor: Tensor) -> list[Tensor]:
    """Return the tensors that hold the numbers: itself, or those that its class names; none where the class hides them.

    A class names them in ``__tensor_flatten__``, which is code of its own, as torch.compile asks it to.
    """
    return list(_plain(tensor, 0)) if is_wrapper(tensor) else [tensor]


def _plain(tensor: Tensor, depth: int) -> Iterator[Tensor]:
    if not is_wrapper(tensor):
        yield tensor
    elif depth < _DEEPEST and hasattr(type(tensor), "__tensor_flatten__"):
        try:
            names, _ = tensor.__tensor_flatten__()  # type: ignore[attr-defined]  # of wrapper subclasses
            inner = [getattr(tensor, name) for name in names]
        except (Exception, SystemExit):
            return
        for part in inner:
            if isinstance(part, Tensor):  # a DTensor names its mesh, too
                yield from _plain(part, depth + 1)


def whole(tensor: Tensor) -> Tensor | None:
    """Return the plain tensor that holds the very numbers: itself, or what a DTensor has here if that is all of it."""
    if not is_wrapper(tensor):
        return tensor
    if not _is_dtensor(tensor):
        return None
    local = tensor._local_tensor  # type: ignore[attr-defined]  # to_local() would add to the graph
    partial = any(placement.is_partial() for placement in tensor.placements)  # type: ignore[attr-defined]
    return None if partial or local.shape != tensor.shape else whole(local)


def _is_dtensor(tensor: Tensor) -> bool:
    """Tell whether a tensor is a DTensor, without importing what its process may never have needed."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and issubclass(type(tensor), module.DTensor)


def why_unread(tensor: Tensor) -> str | None:
    """Say why the values of a tensor are not read; nothing of one whose memory can be read."""
    if whole(tensor) is not None:
        return None
    kind = str(type.__getattribute__(type(tensor), "__name__"))
    if _is_dtensor(tensor):
        placed = ", ".join(map(str, tensor.placements))  # type: ignore[attr-defined]  # see above
        return f"its values are not read: its class is {kind}, of which this process holds a part, {placed}"
    held = dict.fromkeys(str(part.dtype).removeprefix("torch.") for part in plain_tensors(tensor))
    inside = f"which keeps them as {' and '.join(held)}" if held else "which keeps them out of sight"
    return f"its values are not read: its class is {kind}, {inside}"


def bytes_held(tensor: Tensor) -> int | None:
    """Return the bytes of what a tensor keeps its numbers in, None where that is hidden, or a part of the whole."""
    parts = plain_tensors(tensor)
    if _is_dtensor(tensor) or not parts:
        return None
    return sum(part.numel() * part.element_size() for part in parts)
