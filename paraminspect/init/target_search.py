"""All that a rule can fill in a module, with every name it goes by: computed weights and Parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from paraminspect.init.computed_weights import ComputedTarget, Parametrised, Pruned, SpectralNormed, WeightNormed
from paraminspect.init.target import StoredTarget, Target

if TYPE_CHECKING:
    from torch import nn


def targets_in(module: nn.Module) -> list[Target]:
    """Return computed weights and Parameters in torch's order, a weight before the Parameters of its module."""
    from paraminspect.modules.hidden_weights import notes_on
    from paraminspect.modules.walk import join, registered, walk

    paths = walk(module).paths
    computed: dict[int, list[ComputedTarget]] = {}
    for weight in computed_weights(paths):
        computed.setdefault(id(weight.owners[0][0]), []).append(weight)
    found: list[ComputedTarget | _Slots] = []
    known: dict[int, _Slots] = {}
    for path, owner in paths:
        found += computed.pop(id(owner), [])
        held = registered(owner, "_parameters")
        roles = notes_on(path, owner) if held else {}
        for leaf, parameter in held:
            slots = known.get(id(parameter))
            if slots is None:
                slots = known[id(parameter)] = _Slots(parameter, roles.get(leaf, ""))
                found.append(slots)
            slots.names.append(join(path, leaf))
            slots.owners.append((owner, leaf))
    return [one.stored() if isinstance(one, _Slots) else one for one in found]


class _Slots:
    """One Parameter with the names and owners under which it is registered, collected while the tree is walked."""

    def __init__(self, parameter: nn.Parameter, role: str) -> None:
        self.parameter, self.role = parameter, role
        self.names: list[str] = []
        self.owners: list[tuple[nn.Module, str]] = []

    def stored(self) -> StoredTarget:
        return StoredTarget(tuple(self.names), tuple(self.owners), self.parameter, self.role)


def computed_weights(paths: Sequence[tuple[str, nn.Module]]) -> Iterator[ComputedTarget]:
    """Yield the computed weights of the modules at `paths` whose computation is known, each once with all its names."""
    prefixes: dict[int, tuple[nn.Module, list[str]]] = {}
    for path, module in paths:
        prefixes.setdefault(id(module), (module, []))[1].append(path)
    for module, found in prefixes.values():
        yield from _parametrised(module, found)
        yield from _hooked(module, found)


def _parametrised(owner: nn.Module, prefixes: list[str]) -> Iterator[Parametrised]:
    from torch import nn
    from torch.nn.utils.parametrize import ParametrizationList

    from paraminspect.modules.hidden_weights import PARAMETRISATIONS
    from paraminspect.modules.walk import join, registered

    lists = dict(registered(owner, "_modules")).get("parametrizations")
    for leaf, steps in registered(lists, "_modules") if isinstance(lists, nn.ModuleDict) else ():
        if isinstance(steps, ParametrizationList) and any(registered(steps, "_parameters")):
            keys = ["original"] if steps.is_tensor else [f"original{number}" for number in range(steps.ntensors)]
            kinds = [type(step).__name__ for step in steps]
            yield Parametrised(
                names=tuple(join(prefix, leaf) for prefix in prefixes),
                owners=((owner, leaf),) * len(prefixes),
                how=" and ".join(PARAMETRISATIONS.get(kind, kind) for kind in kinds),
                stored=tuple(getattr(steps, key) for key in keys),
                stored_names=tuple(join(prefixes[0], f"parametrizations.{leaf}.{key}") for key in keys),
                steps=steps,
            )


def _hooked(owner: nn.Module, prefixes: list[str]) -> Iterator[ComputedTarget]:
    from torch.nn.utils.prune import BasePruningMethod
    from torch.nn.utils.spectral_norm import SpectralNorm
    from torch.nn.utils.weight_norm import WeightNorm

    from paraminspect.modules.walk import attributes_of, join, registered

    kinds: tuple[tuple[Any, Any, str, str, tuple[str, ...]], ...] = (
        (WeightNorm, WeightNormed, "weight_norm", "name", ("_g", "_v")),
        (SpectralNorm, SpectralNormed, "spectral_norm", "name", ("_orig",)),
        (BasePruningMethod, Pruned, "pruning", "_tensor_name", ("_orig",)),
    )
    hooks: Any = attributes_of(owner).get("_forward_pre_hooks") or {}
    parameters = dict(registered(owner, "_parameters"))
    for hook in hooks.values():
        for kind, target, how, attribute, endings in kinds:
            leaf = attributes_of(hook).get(attribute) if isinstance(hook, kind) else None
            keys = [f"{leaf}{ending}" for ending in endings]
            if leaf is not None and all(key in parameters for key in keys):
                yield target(
                    names=tuple(join(prefix, leaf) for prefix in prefixes),
                    owners=((owner, leaf),) * len(prefixes),
                    how=how,
                    stored=tuple(parameters[key] for key in keys),
                    stored_names=tuple(join(prefixes[0], key) for key in keys),
                    hook=hook,
                )
