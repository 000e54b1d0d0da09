"""Why a forward failed, in the words of the layer that failed: what it expected and what it got."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from paraminspect.analysis.inventory import dtype_name
from paraminspect.analysis.losses import tensors_in
from paraminspect.report import ForwardError

_LAST = {"Linear": "in_features", "RNN": "input_size", "LSTM": "input_size", "GRU": "input_size"}
_SECOND = {"Conv": "in_channels", "BatchNorm": "num_features", "InstanceNorm": "num_features"}


def explain(name: str, module: nn.Module, args: tuple[Any, ...], error: Exception) -> ForwardError:
    """Name the module, what it expects and what it got where the two disagree, then what torch said."""
    said = first_line(error)
    given = tensors_in(args)
    got = ", ".join(f"{tuple(tensor.shape)} {dtype_name(tensor.dtype)}" for tensor in given) or "no tensor"
    expected = _expectation(module)
    if expected and not (given and _fits(module, given[0])):
        return ForwardError(name, f"{type(module).__name__} expects {expected}, got {got} ({said})")
    return ForwardError(name, f"{type(module).__name__} got {got}: {said}")


def first_line(error: Exception) -> str:
    """Return the first line of what `error` says, or its class."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _expectation(module: nn.Module) -> str:
    """Say what input a layer takes, for the layers whose attributes tell."""
    kind = type(module).__name__
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return f"integers from 0 to {module.num_embeddings - 1}"
    dtype = next((f" of {dtype_name(parameter.dtype)}" for parameter in module.parameters(recurse=False)), "")
    if kind in _LAST:
        return f"(…, {getattr(module, _LAST[kind])}){dtype}"
    if kind == "LayerNorm":
        return f"(…, {', '.join(map(str, getattr(module, 'normalized_shape', ())))}){dtype}"
    attribute = next((attribute for prefix, attribute in _SECOND.items() if kind.startswith(prefix)), None)
    return f"(N, {getattr(module, attribute)}, …){dtype}" if attribute and hasattr(module, attribute) else ""


def _fits(module: nn.Module, given: Tensor) -> bool:
    """Tell whether shape and dtype are what the layer takes, so that something else is wrong."""
    kind = type(module).__name__
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return False
    dtype = next((parameter.dtype for parameter in module.parameters(recurse=False)), given.dtype)
    if kind == "LayerNorm":
        shape = tuple(getattr(module, "normalized_shape", ()))
        return given.dtype == dtype and tuple(given.shape[-len(shape) :]) == shape
    at = -1 if kind in _LAST else 1
    attribute = _LAST.get(kind) or next((found for prefix, found in _SECOND.items() if kind.startswith(prefix)), "")
    sizes = tuple(given.shape)
    return given.dtype == dtype and len(sizes) > 1 and sizes[at] == getattr(module, attribute, None)
