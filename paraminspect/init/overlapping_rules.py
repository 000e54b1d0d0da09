"""What one fill did to another: two names of one Parameter, a weight and what it is stored in, memory in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from paraminspect.init.applied import Applied
from paraminspect.init.parametrised import Computed

if TYPE_CHECKING:
    import torch
    from torch import nn


def interplay(module: nn.Module, done: dict[int, Applied]) -> dict[int, Applied]:
    """Return what rules did with notes on what they did to each other; what changed afterwards is not judged."""
    found = {key: applied.noting(_conflict(applied)) for key, applied in done.items()}
    for key, applied in found.items():
        if isinstance(applied.target, Computed) and id(applied.target) == key:
            found[key] = _undone(applied, applied.target, found)
    for one, other in _in_common(module) if found else ():
        for mine, its in ((one, other), (other, one)):
            if id(mine[0]) in found:
                found[id(mine[0])] = _beside(found[id(mine[0])], found.get(id(its[0])), its[1])
    return found


def _conflict(applied: Applied) -> str:
    """Say that two rules claim one Parameter through different names: who wrote them may think of two."""
    *earlier, last = applied.touches
    for touch in earlier:
        if not set(touch.names) & set(last.names) and applied.target and set(touch.names) <= set(applied.target.names):
            claims = f"{touch.rule} by {touch.names[0]!r} and {last.rule} by {last.names[0]!r}"
            return f"one Parameter that two rules claim, {claims}: the last one wins"
    return ""


def _undone(applied: Applied, weight: Computed, found: dict[int, Applied]) -> Applied:
    """Expect nothing of a computed weight when something it is stored in was filled after it."""
    for tensor, name in zip(weight.stored, weight.stored_names, strict=True):
        part = found.get(id(tensor))
        if part and part.touches[-1].at > applied.touches[-1].at:
            return applied.expecting(None).noting(f"{part.init.rule} filled {name!r} after it")
    return applied


def _beside(applied: Applied, other: Applied | None, name: str) -> Applied:
    """Describe a Parameter in whose memory another one lies, called `name`; the later fill is what is there now."""
    if other is None:
        return applied.noting(f"{name!r} lies in the same memory and changed with it")
    if applied.touches[-1].at > other.touches[-1].at:
        return applied.noting(f"lies in the memory of {name!r}, which was filled before it")
    note = f"{other.init.rule} filled {name!r} after it, in the same memory"
    return (applied if applied.moments == other.moments else applied.expecting(None)).noting(note)


_Named = tuple["torch.Tensor", str]


def _in_common(module: nn.Module) -> Iterator[tuple[_Named, _Named]]:
    """Yield the pairs of different Parameters that have bytes in common."""
    from paraminspect.analysis.sharing.memory import memory_of
    from paraminspect.analysis.sharing.relations import Relations
    from paraminspect.modules.walk import names_of_parameters

    named = [(parameter, names[0]) for parameter, names in names_of_parameters(module)]
    relations = Relations([memory_of(parameter) for parameter, _ in named])
    for group, members in enumerate(relations.alike):
        near = [number for other in relations.neighbours(group) if other > group for number in relations.alike[other]]
        yield from _pairs(named, members, near)


def _pairs(named: Sequence[_Named], members: Sequence[int], near: Sequence[int]) -> Iterator[tuple[_Named, _Named]]:
    for at, number in enumerate(members):
        for other in (*members[at + 1 :], *near):
            yield named[number], named[other]
