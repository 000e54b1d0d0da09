"""The losses by name, each with the lines of PyTorch that a script would use, and the user's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from paraminspect.errors import UserError
from paraminspect.isolation.user_code import call
from paraminspect.modules.nested_tensors import dtype_name, tensors_in
from paraminspect.modules.subject import Loss

_HOW = "write it as def loss(output): return output.square().mean()"


def compute_loss(loss: Loss, output: Any) -> Tensor:
    """Return the scalar loss of `output`, of which every tensor counts once.

    ``sum`` and ``mean`` take all floating tensors (``sum`` also whole numbers, if there are no others); ``mse``
    compares the first with zeros; ``cross_entropy`` takes its last dimension as logits (N, C) and the classes
    0, 1, … C−1, 0, … as targets: neither needs random numbers. ``random`` draws a cotangent, see `_random`. The
    user's function takes the output as it is. Raises UserError when there is nothing that the loss could take, or
    the user's function returns no real scalar.
    """
    if loss.function is not None:
        return _own(loss.name, loss.function, output)
    name, tensors = loss.name, tensors_in(output)
    floats = [tensor for tensor in tensors if tensor.is_floating_point()]
    if name == "random":
        floats = [tensor for tensor in tensors if tensor.is_floating_point() or tensor.is_complex()]
    if not floats and name == "sum":  # of whole numbers, as torch has it; no gradient comes of it
        floats = [tensor for tensor in tensors if not tensor.is_complex()]
    if not floats:
        found = ", ".join(dtype_name(tensor.dtype) for tensor in tensors) or "no tensor"
        message = f"the {name} needs a floating-point output, got {found}"
        hint = "try --loss random" if any(tensor.is_complex() for tensor in tensors) else ""
        raise UserError(message, hint=hint, code="no-loss")
    if name == "random":
        return _random(floats)
    if name == "cross_entropy":
        return _cross_entropy(floats[0])
    if name == "mse":
        return functional.mse_loss(floats[0], torch.zeros_like(floats[0]))
    reduce = torch.sum if name == "sum" else torch.mean
    return _total([reduce(tensor) for tensor in floats])


def _total(parts: list[Tensor]) -> Tensor:
    """Add up what each tensor of the output gives, on the device of the first."""
    if len(parts) == 1:
        return parts[0]
    return torch.stack([part.to(parts[0].device) for part in parts]).sum()


def _cross_entropy(logits: Tensor) -> Tensor:
    if logits.dim() == 0:
        raise UserError("cross_entropy needs logits of shape (N, C), the output is a single number", code="no-loss")
    rows = logits.reshape(-1, logits.shape[-1])
    targets = torch.arange(rows.shape[0], device=rows.device) % rows.shape[1]
    return functional.cross_entropy(rows, targets)


def _random(outputs: list[Tensor]) -> Tensor:
    """Return ⟨c, y⟩, the real part of it for complex outputs: the gradient at the output is c.

    c is normal and of norm 1 over all outputs together. It is drawn on the CPU's random stream after the forward,
    one output after the other, in float32 where the output has a lower precision.
    """
    drawn = [_normal(tensor) for tensor in outputs]
    norms = [torch.linalg.vector_norm(cotangent) for cotangent in drawn]
    norm = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))
    return _total([_inner(c / norm.to(c.device), y) for c, y in zip(drawn, outputs, strict=True)])


def _normal(output: Tensor) -> Tensor:
    exact = (torch.float64, torch.complex64, torch.complex128)
    dtype = output.dtype if output.dtype in exact else torch.float32
    return torch.randn(output.shape, dtype=dtype, device="meta" if output.is_meta else "cpu")


def _inner(cotangent: Tensor, output: Tensor) -> Tensor:
    product = cotangent.to(output.device, output.dtype).conj() * output
    return product.sum().real if output.is_complex() else product.sum()


def _own(name: str, function: Callable[[Any], Any], output: Any) -> Tensor:
    """Return what the user's function makes of the output, if a backward can start from it."""
    value = call(name, function, output)
    if not isinstance(value, Tensor):
        raise _wrong(f"{name} returned {_named(value)}, a loss is a tensor")
    if value.numel() != 1:
        raise _wrong(f"{name} returned a tensor of shape {tuple(value.shape)}, a loss is one number")
    if value.is_complex():
        raise _wrong(f"{name} returned a {dtype_name(value.dtype)} number, a loss is real")
    if not value.requires_grad and torch.is_grad_enabled() and any(t.requires_grad for t in tensors_in(output)):
        raise _wrong(f"{name} returned a tensor without a gradient: it was detached, or not made of the output")
    return value


def _named(value: Any) -> str:
    return "None" if value is None else f"an object of type {type(value).__name__}"


def _wrong(message: str) -> UserError:
    return UserError(message, hint=_HOW, code="bad-loss")


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
