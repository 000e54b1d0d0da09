"""Why a forward failed, in the words of the layer that failed: what it expected and what it got."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from paraminspect.analysis.losses import tensors_in
from paraminspect.report import ForwardError

_LAST = {"Linear": "in_features", "RNN": "input_size", "LSTM": "input_size", "GRU": "input_size"}
_SECOND = {"Conv": "in_channels", "BatchNorm": "num_features", "InstanceNorm": "num_features"}


def explain(name: str, module: nn.Module | None, args: tuple[Any, ...], error: Exception) -> ForwardError:
    """Name the module, what it expects and what it got, then what torch said."""
    text = str(error).strip()
    said = text.splitlines()[0] if text else type(error).__name__
    if module is None:
        return ForwardError(name, said)
    got = ", ".join(f"{tuple(tensor.shape)} {_dtype(tensor)}" for tensor in tensors_in(args)) or "no tensor"
    expected = _expectation(module)
    if expected:
        return ForwardError(name, f"{type(module).__name__} expects {expected}, got {got} ({said})")
    return ForwardError(name, f"{type(module).__name__} got {got}: {said}")


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _expectation(module: nn.Module) -> str:
    """Say what input a layer takes, for the layers whose attributes tell."""
    kind = type(module).__name__
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return f"integers from 0 to {module.num_embeddings - 1}"
    dtype = next((f" of {_dtype(parameter)}" for parameter in module.parameters(recurse=False)), "")
    if kind in _LAST:
        return f"(…, {getattr(module, _LAST[kind])}){dtype}"
    if kind == "LayerNorm":
        return f"(…, {', '.join(map(str, getattr(module, 'normalized_shape', ())))}){dtype}"
    attribute = next((attribute for prefix, attribute in _SECOND.items() if kind.startswith(prefix)), None)
    return f"(N, {getattr(module, attribute)}, …){dtype}" if attribute and hasattr(module, attribute) else ""
