"""The elements of a small tensor, as JSON has them and as PyTorch prints them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

SMALL = 1000  # as many elements as PyTorch prints without leaving some out


@dataclass(frozen=True)
class Numbers:
    """`data`: nested lists, non-finite and complex elements as None; `text`: what ``print(tensor)`` shows."""

    data: Any = None
    text: str | None = None


def numbers_of(tensor: Tensor, limit: int = SMALL) -> Numbers:
    """Return the elements of `tensor`, or nothing when it has more than `limit` or holds no data."""
    if tensor.is_meta or tensor.numel() > limit:
        return Numbers()
    plain = tensor.detach().cpu()
    try:
        if isinstance(tensor, torch.nn.Parameter):
            plain = plain.data
        return Numbers(_plain(plain.tolist()), str(plain))
    except (RuntimeError, NotImplementedError):  # a dtype that torch stores but cannot print
        return Numbers()


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value
