"""What set the values that a parameter has before the forward: a rule, or the constructor of its module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import nn

from paraminspect.analysis.inventory import Inventory, TensorEntry
from paraminspect.errors import UserError
from paraminspect.init.apply import apply_rules, constructed
from paraminspect.init.calibration import scale_to_batch
from paraminspect.init.fill_record import FillRecord
from paraminspect.init.rules import BoundRule
from paraminspect.init.schemes.expected_moments import ExpectedMoments
from paraminspect.isolation.torch_state import around, draw_batch
from paraminspect.modules.subject import Batch, Subject


def initialise(subject: Subject, rules: Sequence[BoundRule]) -> tuple[dict[int, FillRecord], Batch | None]:
    """Apply the rules, on a batch where one of them needs it: the very one that the forward then runs on.

    Keyed by the id of the Parameter, see `apply_rules`. Raises UserError when a batch is needed and no input is known.
    """
    needs = next((rule for rule in rules if rule.needs_batch), None)
    if needs and subject.make_input is None:
        message = f"{needs.scheme.name} needs an input to run the network on"
        raise UserError(message, where=needs.rule.where, hint="pass --input, e.g. --input 64,784", code="no-input")
    applied = apply_rules(subject.module, rules, subject.seed or 0)
    if needs is None or subject.make_input is None:
        return applied, None
    batch = draw_batch(subject.make_input)
    return scale_to_batch(subject.module, batch.args, batch.kwargs, applied, lambda: around(subject.foreign)), batch


def initialiser(
    entry: TensorEntry, at: int, inventory: Inventory, applied: Mapping[int, FillRecord], kind: str
) -> FillRecord | None:
    """Return what set a parameter, as seen from the module that holds it under its name number `at`.

    That is the rule that touched it, else torch's constructor. `kind` is that of the source: only the network of a
    ``spec`` has nothing that changes a parameter after its constructor. None for what is not known.
    """
    parameter, path = entry.tensor, entry.owner_names[at]
    if id(parameter) in applied:
        return applied[id(parameter)]
    if kind != "spec" or entry.lazy or not isinstance(parameter, nn.Parameter) or _redrawn(path, inventory):
        return None
    return constructed(inventory.modules[path], entry.names[at], parameter)


def initialisers(
    entries: Iterable[TensorEntry], inventory: Inventory, applied: Mapping[int, FillRecord], kind: str
) -> dict[int, FillRecord]:
    """Return what set each parameter, by its id, as seen from the first module that holds it."""
    found = ((entry, initialiser(entry, 0, inventory, applied, kind)) for entry in entries if entry.kind == "parameter")
    return {id(entry.tensor): one for entry, one in found if one is not None}


def moments_of(inventory: Inventory, applied: Mapping[int, FillRecord], kind: str) -> dict[int, ExpectedMoments]:
    """Return the moments that the values of each parameter were drawn with, by its id: what theory starts from.

    Of a shared one it is the first module that tells; what is not known is left out.
    """
    found: dict[int, ExpectedMoments] = {}
    for entry in inventory.of_kind("parameter"):
        for at in range(len(entry.names)):
            known = initialiser(entry, at, inventory, applied, kind)
            if known is not None and known.moments is not None:
                found.setdefault(id(entry.tensor), known.moments)
    return found


def _redrawn(path: str, inventory: Inventory) -> bool:
    """Tell whether a module above draws anew what the constructors of its parts drew, as nn.Transformer does."""
    parts = path.split(".")
    above = (inventory.modules.get(".".join(parts[:depth])) for depth in range(len(parts) + 1))
    return any(isinstance(module, nn.Transformer) for module in above)
