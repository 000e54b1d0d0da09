"""Weights that ``parameters()`` does not show as they are used.

They are computed from stored ones, by parametrisations, torch's older norms and pruning; or held packed by torch's
quantised layers, where neither ``parameters()`` nor ``buffers()`` sees them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from paraminspect.frozen import dataclass
from paraminspect.modules.walk import attributes_of, join, own_attributes, registered

_HOOKS: tuple[tuple[type, str, str, tuple[str, ...]], ...] = (
    (WeightNorm, "weight_norm", "name", ("_g", "_v")),
    (SpectralNorm, "spectral_norm", "name", ("_orig", "_u", "_v")),
    (BasePruningMethod, "prune", "_tensor_name", ("_orig", "_mask")),
)
PARAMETRISATIONS = {"_WeightNorm": "weight_norm", "_SpectralNorm": "spectral_norm", "_Orthogonal": "orthogonal"}


@dataclass(frozen=True)
class ComputedWeight:
    """A weight that `how` computes; `stored` are the names, on the same module, of what it is computed from."""

    name: str
    how: str
    stored: tuple[str, ...]


def computed_by(module: nn.Module) -> tuple[ComputedWeight, ...]:
    """Return the plain attributes of `module` that a hook of torch computes, or that look as if one like them did."""
    if not _may_compute(attributes_of(module)):
        return ()
    by_hook, by_name = tuple(_by_hook(module)), tuple(_by_name(module))
    known = {one.name for one in by_hook}
    return (*by_hook, *(one for one in by_name if one.name not in known)) if by_name else by_hook


def _may_compute(attributes: Mapping[str, Any]) -> bool:
    """Tell whether a module has a hook before its forward, or a Parameter whose name has a part: most have neither."""
    parameters = attributes.get("_parameters")
    if attributes.get("_forward_pre_hooks") or type(parameters) is not dict:
        return True
    return "_" in "".join(parameters) if {*map(type, parameters)} <= {str} else True


def _by_hook(module: nn.Module) -> Iterator[ComputedWeight]:
    hooks: Any = attributes_of(module).get("_forward_pre_hooks")
    for hook in dict.values(hooks) if issubclass(type(hooks), dict) else ():
        for kind, how, attribute, endings in _HOOKS:
            name = attributes_of(hook).get(attribute) if issubclass(type(hook), kind) else None
            if type(name) is str:
                yield ComputedWeight(name, how, tuple(name + ending for ending in endings))


def _by_name(module: nn.Module) -> Iterator[ComputedWeight]:
    """Recognise ``weight_orig``, and ``weight_g`` with ``weight_v``, beside a plain attribute ``weight``."""
    names = {name for name, _ in registered(module, "_parameters")}
    if not any("_" in name for name in names):
        return
    attributes = attributes_of(module)
    for stored in names:
        weight, _, ending = stored.rpartition("_")
        if weight in attributes and weight not in names:
            if ending == "orig":
                yield ComputedWeight(weight, "its module", (stored, f"{weight}_mask"))
            elif ending == "g" and f"{weight}_v" in names:
                yield ComputedWeight(weight, "its module", (stored, f"{weight}_v"))


def notes_on(path: str, module: nn.Module) -> dict[str, str]:
    """Return, for the tensors of the module at `path` that a weight is computed from, what to say of them."""
    if issubclass(type(module), ParametrizationList):
        owner, _, weight = path.rpartition(".")
        computed = join(owner.removesuffix("parametrizations").removesuffix("."), weight)
        steps = [type(step).__name__ for _, step in registered(module, "_modules")]
        how = " and ".join(PARAMETRISATIONS.get(step, step) for step in steps)
        return {stored: _note(computed, how) for stored, _ in registered(module, "_parameters")}
    return {stored: _note(join(path, one.name), one.how) for one in computed_by(module) for stored in one.stored}


def _note(computed: str, how: str) -> str:
    return f"stored for {computed!r}, which {how} computes"


_PACKED_CLASSES = ("__torch__.torch.classes.quantized.", "__torch__.torch.classes.rnn.")
_PACKED_LINEAR = "LinearPackedParamsBase"
_PACKED_CONVOLUTION = ("Conv2dPackedParamsBase", "Conv3dPackedParamsBase")

UNPACKED = "held packed for a quantised kernel, shown unpacked"
NOT_UNPACKED = "held packed for a quantised kernel, which cannot unpack it"


def unpacked(module: nn.Module) -> Iterator[tuple[str, Tensor, str]]:
    """Yield name, tensor and note of what a module of ``torch.ao.nn.quantized`` holds packed, named as in state_dict.

    What torch cannot unpack any more (qnnpack lets go of the original) is a tensor of unknown size.
    """
    for attribute, value in own_attributes(module):
        if type(value) is not torch.ScriptObject or (kind := _kind(value)) is None:
            continue
        try:
            found = list(_parts(value, kind))
        except RuntimeError:
            yield attribute, UninitializedBuffer(), NOT_UNPACKED
            continue
        for name, tensor in zip(_names(attribute, kind, len(found)), found, strict=True):
            yield name, tensor, UNPACKED


def _kind(value: torch.ScriptObject) -> str | None:
    """Return the class of one of torch's own packed objects, None for anything else."""
    name = str(value._type().qualified_name())
    return name.rpartition(".")[2] if name.startswith(_PACKED_CLASSES) else None


def _parts(packed: Any, kind: str) -> Iterator[Tensor]:
    """Yield the tensors of a packed object: weight and bias of a layer, those of every gate of a recurrent one."""
    if not packed._has_method("unpack"):
        state, _ = packed.__getstate__()
        for inner in state[-1]:
            yield from _parts(inner, _PACKED_LINEAR)
        return
    found = packed.unpack()
    for tensor in found if isinstance(found, tuple) else (found,):
        if tensor is not None:
            half = kind == _PACKED_LINEAR and tensor.ndim == 2 and tensor.dtype == torch.float32
            yield tensor.half() if half else tensor  # float16 is unpacked to float32


def _names(attribute: str, kind: str, number: int) -> list[str]:
    if kind in _PACKED_CONVOLUTION:
        return ["weight", "bias"][:number]
    return [attribute] if number == 1 and kind != _PACKED_LINEAR else [f"{attribute}[{i}]" for i in range(number)]
