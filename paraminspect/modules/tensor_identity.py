"""What tells one tensor from another: the name of its dtype, its storage, its bits."""

from __future__ import annotations

import torch
from torch import Tensor


def dtype_name(dtype: torch.dtype) -> str:
    """Return ``float32`` for ``torch.float32``."""
    return str(dtype).removeprefix("torch.")


def storage_of(tensor: Tensor) -> int | None:
    """Return the identity of a tensor's storage, None where it has none (lazy, sparse, wrapper subclasses)."""
    try:
        return tensor.untyped_storage()._cdata if tensor.numel() else None
    except (RuntimeError, NotImplementedError, ValueError):
        return None


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Compare shape, dtype and every bit; on the meta device, where there are none, shape and dtype.

    NaN equals itself here, and 0.0 is not −0.0.
    """
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.is_meta or other.is_meta:
        return one.is_meta and other.is_meta
    return torch.equal(_bytes(one), _bytes(other))


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)
