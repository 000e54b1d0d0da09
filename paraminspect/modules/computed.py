"""Weights that are computed from stored ones: parametrisations, torch's older norms, pruning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from paraminspect.modules.walk import attributes_of, join, registered

_HOOKS: tuple[tuple[type, str, str, tuple[str, ...]], ...] = (
    (WeightNorm, "weight_norm", "name", ("_g", "_v")),
    (SpectralNorm, "spectral_norm", "name", ("_orig", "_u", "_v")),
    (BasePruningMethod, "prune", "_tensor_name", ("_orig", "_mask")),
)
PARAMETRISATIONS = {"_WeightNorm": "weight_norm", "_SpectralNorm": "spectral_norm", "_Orthogonal": "orthogonal"}


@dataclass(frozen=True)
class Computed:
    """A weight that `how` computes; `stored` are the names, on the same module, of what it is computed from."""

    name: str
    how: str
    stored: tuple[str, ...]


def computed_by(module: nn.Module) -> tuple[Computed, ...]:
    """Return the plain attributes of `module` that a hook of torch computes, or that look as if one like them did."""
    by_hook, by_name = tuple(_by_hook(module)), tuple(_by_name(module))
    known = {one.name for one in by_hook}
    return (*by_hook, *(one for one in by_name if one.name not in known)) if by_name else by_hook


def _by_hook(module: nn.Module) -> Iterator[Computed]:
    hooks: Any = attributes_of(module).get("_forward_pre_hooks")
    for hook in dict.values(hooks) if issubclass(type(hooks), dict) else ():
        for kind, how, attribute, endings in _HOOKS:
            name = attributes_of(hook).get(attribute) if issubclass(type(hook), kind) else None
            if type(name) is str:
                yield Computed(name, how, tuple(name + ending for ending in endings))


def _by_name(module: nn.Module) -> Iterator[Computed]:
    """Recognise ``weight_orig``, and ``weight_g`` with ``weight_v``, beside a plain attribute ``weight``."""
    names = {name for name, _ in registered(module, "_parameters")}
    if not any("_" in name for name in names):
        return
    attributes = attributes_of(module)
    for stored in names:
        weight, _, ending = stored.rpartition("_")
        if weight in attributes and weight not in names:
            if ending == "orig":
                yield Computed(weight, "its module", (stored, f"{weight}_mask"))
            elif ending == "g" and f"{weight}_v" in names:
                yield Computed(weight, "its module", (stored, f"{weight}_v"))


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
