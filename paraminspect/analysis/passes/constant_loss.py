"""Outputs whose sum is constant by construction, so that a loss of ``sum`` or ``mean`` has the gradient 0."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from paraminspect.modules.nested import tensors_in
from paraminspect.modules.subject import Loss

# What shows every element of a tensor once, whatever the shape and the dtype.
_SAME_ELEMENTS = {
    "Alias",
    "Clone",
    "Permute",
    "ReshapeAlias",
    "Squeeze",
    "T",
    "ToCopy",
    "Transpose",
    "Unsqueeze",
    "UnsafeView",
    "View",
}
_NAMES = {
    "Softmax": "a softmax",
    "NativeLayerNorm": "a LayerNorm whose weights are equal",
    "NativeGroupNorm": "a GroupNorm whose weights are equal",
    "NativeBatchNorm": "a BatchNorm in training",
    "CudnnBatchNorm": "a BatchNorm in training",
}


def why_constant(loss: Loss, output: Any) -> str | None:
    """Say why the loss cannot depend on what comes before the last operation, or return None.

    Reads the graph, so it is to be asked before the backward frees it. Nothing is compared with a threshold: a softmax
    adds up to 1; a normalisation subtracts the mean, and adds up to a constant if all is scaled alike.
    """
    if loss.function is not None or loss.name not in ("sum", "mean"):
        return None
    floats = [tensor for tensor in tensors_in(output) if tensor.is_floating_point()]
    kinds = [_kind(tensor) for tensor in floats]
    if not kinds or None in kinds:
        return None
    names = " and ".join(dict.fromkeys(_NAMES[kind] for kind in kinds if kind))
    return f"the {loss.name} of {names} is constant, so the gradient before it is 0 by construction: try --loss random"


def _kind(tensor: Tensor) -> str | None:
    """Return the operation that the tensor comes straight from, if its sum is constant."""
    node: Any = tensor.grad_fn
    while node is not None and _operation(node) in _SAME_ELEMENTS:
        node = node.next_functions[0][0]
    name = "" if node is None else _operation(node)
    return name if name in _NAMES and _adds_up(name, node) else None


def _operation(node: Any) -> str:
    return re.sub(r"Backward\d*$", "", node.name())


def _adds_up(name: str, node: Any) -> bool:
    if name == "Softmax":
        return True
    if name.endswith("BatchNorm"):  # of every channel, whatever its weight
        return bool(node._saved_training)
    weight = node._saved_weight
    return weight is None or (not weight.is_meta and bool((weight == weight.flatten()[:1]).all()))
