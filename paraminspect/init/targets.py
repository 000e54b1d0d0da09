"""All that a rule can fill in a module, with every name it goes by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paraminspect.init.parametrised import Computed, computed_weights
from paraminspect.init.target import Stored, Target

if TYPE_CHECKING:
    from torch import nn


def targets_in(module: nn.Module) -> list[Target]:
    """Return computed weights and Parameters in torch's order, a weight before the Parameters of its module."""
    from paraminspect.modules.hidden_weights import notes_on
    from paraminspect.modules.walk import join, registered, walk

    paths = walk(module).paths
    computed: dict[int, list[Computed]] = {}
    for weight in computed_weights(paths):
        computed.setdefault(id(weight.owners[0][0]), []).append(weight)
    found: list[Computed | _Slots] = []
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
    """The registrations of one Parameter."""

    def __init__(self, parameter: nn.Parameter, role: str) -> None:
        self.parameter, self.role = parameter, role
        self.names: list[str] = []
        self.owners: list[tuple[nn.Module, str]] = []

    def stored(self) -> Stored:
        return Stored(tuple(self.names), tuple(self.owners), self.parameter, self.role)
