"""The status and the figures of one gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from paraminspect.analysis.inventory.small_tensors import Numbers, numbers_of
from paraminspect.analysis.statistics.tensor_values import measure
from paraminspect.report import Gradient, Values

NOTHING = Numbers()


def summarise(grad: Tensor, wanted: bool = False) -> Gradient:
    """Return the figures of a gradient, and the elements themselves if they are `wanted` and few."""
    shown = numbers_of(dense(grad)) if wanted else NOTHING
    return described(measure(grad, histogram=False), grad.numel(), shown)


def described(values: Values | None, numel: int, shown: Numbers = NOTHING) -> Gradient:
    """Return the figures with their status: ``unknown`` on the meta device, not a guess."""
    if values is None:
        return Gradient("unknown")
    status = "nonfinite" if values.nan or values.inf else "zero" if values.zeros == numel else "ok"
    return Gradient(
        status,
        mean=values.mean,
        std=values.std,
        rms=values.rms,
        min=values.min,
        max=values.max,
        l2=values.l2,
        zeros=values.zeros,
        nan=values.nan,
        inf=values.inf,
        data=shown.data,
        text=shown.text,
    )


def dense(grad: Tensor) -> Tensor:
    """Return a gradient with every element in memory; a sparse one has only some."""
    return grad if grad.layout is torch.strided else grad.to_dense()
