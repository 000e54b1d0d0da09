"""The losses by name, each with the line of PyTorch that a script would use."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from paraminspect.analysis.inventory import dtype_name
from paraminspect.errors import UserError
from paraminspect.sources.subject import Loss


def tensors_in(output: Any) -> list[Tensor]:
    """Return the tensors of an output: itself, or those in a tuple, list or dict, in order."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict):
        output = list(output.values())
    if isinstance(output, (tuple, list)):
        return [tensor for item in output for tensor in tensors_in(item)]
    return []


def compute_loss(loss: Loss, output: Any) -> Tensor:
    """Return the scalar loss of `output`.

    ``sum`` and ``mean`` take all floating tensors (``sum`` also whole numbers, if there are no others); ``mse``
    compares the first with zeros; ``cross_entropy`` takes its last dimension as logits (N, C) and the classes
    0, 1, … C−1, 0, … as targets: neither needs random numbers. Raises UserError when the output holds no floating
    tensor; a complex one has no gradient.
    """
    name = loss.name
    floats = [tensor for tensor in tensors_in(output) if tensor.is_floating_point()]
    if not floats and name == "sum":  # of whole numbers, as torch has it; no gradient comes of it
        floats = [tensor for tensor in tensors_in(output) if not tensor.is_complex()]
    if not floats:
        found = ", ".join(dtype_name(tensor.dtype) for tensor in tensors_in(output)) or "no tensor"
        raise UserError(f"the {name} needs a floating-point output, got {found}", code="no-loss")
    if name == "cross_entropy":
        return _cross_entropy(floats[0])
    if name == "mse":
        return functional.mse_loss(floats[0], torch.zeros_like(floats[0]))
    reduce = torch.sum if name == "sum" else torch.mean
    return reduce(floats[0]) if len(floats) == 1 else torch.stack([reduce(tensor) for tensor in floats]).sum()


def _cross_entropy(logits: Tensor) -> Tensor:
    if logits.dim() == 0:
        raise UserError("cross_entropy needs logits of shape (N, C), the output is a single number", code="no-loss")
    rows = logits.reshape(-1, logits.shape[-1])
    targets = torch.arange(rows.shape[0], device=rows.device) % rows.shape[1]
    return functional.cross_entropy(rows, targets)
