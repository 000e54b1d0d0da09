"""Are two tensors the same to the bit? NaN equals itself here, and 0.0 is not −0.0."""

from __future__ import annotations

import torch
from torch import Tensor


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Compare shape, dtype and every bit; on the meta device, where there are none, shape and dtype."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.is_meta or other.is_meta:
        return one.is_meta and other.is_meta
    return torch.equal(_bytes(one), _bytes(other))


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)
