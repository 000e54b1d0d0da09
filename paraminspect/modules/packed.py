"""Weights that torch's quantised layers hold in packed form, where neither parameters() nor buffers() sees them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer

from paraminspect.modules.walk import attributes_of

_CLASSES = ("__torch__.torch.classes.quantized.", "__torch__.torch.classes.rnn.")
_LINEAR = "LinearPackedParamsBase"
_CONVOLUTION = ("Conv2dPackedParamsBase", "Conv3dPackedParamsBase")

UNPACKED = "held packed for a quantised kernel, shown unpacked"
NOT_UNPACKED = "held packed for a quantised kernel, which cannot unpack it"


def unpacked(module: nn.Module) -> Iterator[tuple[str, Tensor, str]]:
    """Yield name, tensor and note of what a module of ``torch.ao.nn.quantized`` holds packed, named as in state_dict.

    What torch cannot unpack any more (qnnpack lets go of the original) is a tensor of unknown size.
    """
    for attribute, value in attributes_of(module).items():
        kind = _kind(value)
        if kind is None:
            continue
        try:
            found = list(_parts(value, kind))
        except RuntimeError:
            yield attribute, UninitializedBuffer(), NOT_UNPACKED
            continue
        for name, tensor in zip(_names(attribute, kind, len(found)), found, strict=True):
            yield name, tensor, UNPACKED


def _kind(value: object) -> str | None:
    """Return the class of one of torch's own packed objects, None for anything else."""
    if type(value) is not torch.ScriptObject:
        return None
    name = str(value._type().qualified_name())
    return name.rpartition(".")[2] if name.startswith(_CLASSES) else None


def _parts(packed: Any, kind: str) -> Iterator[Tensor]:
    """Yield the tensors of a packed object: weight and bias of a layer, those of every gate of a recurrent one."""
    if not packed._has_method("unpack"):
        state, _ = packed.__getstate__()
        for inner in state[-1]:
            yield from _parts(inner, _LINEAR)
        return
    found = packed.unpack()
    for tensor in found if isinstance(found, tuple) else (found,):
        if tensor is not None:
            half = kind == _LINEAR and tensor.ndim == 2 and tensor.dtype == torch.float32
            yield tensor.half() if half else tensor  # float16 is unpacked to float32


def _names(attribute: str, kind: str, number: int) -> list[str]:
    if kind in _CONVOLUTION:
        return ["weight", "bias"][:number]
    return [attribute] if number == 1 and kind != _LINEAR else [f"{attribute}[{i}]" for i in range(number)]
