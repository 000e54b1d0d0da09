"""On the meta device, run attention and dropout as an accelerator does: in one operation that saves little.

Torch has no fused attention for meta tensors and falls back on matrix products, whose backward needs the weights of
every pair of positions; and dropout there keeps a mask of the input's dtype. No accelerator does either: the fused
kernels keep one number a row of the weights, and a mask of one byte an element.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten
_library: Any = torch.library.Library  # torch leaves it untyped


@contextlib.contextmanager
def fused_kernels() -> Iterator[None]:
    """Have tensors on the meta device attended to, and dropped out, by the fused operations, only here."""
    library: Any = _library("aten", "IMPL")
    library.impl("scaled_dot_product_attention", _attention, "AutogradMeta")
    library.impl("dropout", _dropout, "AutogradMeta")
    try:
        yield
    finally:
        library._destroy()


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attend in one operation where one takes these arguments: 4 dimensions, equal widths, no gradient of the mask."""
    mask = attn_mask
    learnt = mask is not None and mask.requires_grad
    if learnt or any(one.dim() != 4 or one.shape[-1] != query.shape[-1] for one in (query, key, value)):
        options: dict[str, Any] = {"scale": scale, "enable_gqa": enable_gqa}
        found = _aten._scaled_dot_product_attention_math(query, key, value, mask, dropout_p, is_causal, None, **options)
        return _first(found)
    if mask is not None and mask.dtype is torch.bool:
        zero, never = (torch.full((), one, dtype=query.dtype, device="meta") for one in (0.0, -math.inf))
        mask = torch.where(mask, zero, never)
    return _first(
        _aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, dropout_p, is_causal, attn_mask=mask, scale=scale
        )
    )


def _dropout(input: Tensor, p: float, train: bool) -> Tensor:
    if not train or p == 0 or not input.numel():
        return input
    return input * 0 if p == 1 else _first(torch.native_dropout(input, p, True))


def _first(results: tuple[Tensor, ...]) -> Tensor:
    return results[0]
