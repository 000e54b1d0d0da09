"""What rules did to a parameter: every fill, what is expected after the last one, and what fills did to each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from paraminspect.frozen import dataclass
from paraminspect.init.computed_weights import ComputedTarget
from paraminspect.init.schemes.expected_moments import UNKNOWN, ExpectedMoments, of_some
from paraminspect.init.slice_text import SLICES, are_all
from paraminspect.init.target import Target
from paraminspect.report import Init

if TYPE_CHECKING:
    import torch
    from torch import nn

    from paraminspect.init.custom_scheme import CustomScheme
    from paraminspect.init.schemes.bound_scheme import BoundScheme
    from paraminspect.modules.row_slices import RowSlice


@dataclass(frozen=True)
class Fill:
    """One fill: which rule, by its number and as it was written, and which of the names it matched.

    `at` is its place among the fills of all rules, `number` that of its rule among the rules. `target` stands for what
    it filled, or for what that is a slice of.
    """

    at: int
    number: int
    rule: str
    names: tuple[str, ...]
    target: int


@dataclass(frozen=True)
class FillRecord:
    """What was done to one parameter, and the moments that its values should have now.

    `init` describes the last fill. `fills` are all of them, in order; what a computed weight is stored in has those of
    the weight too. `scheme` is that of the last fill, with no argument left open. Without rules (what a constructor
    did) `fills` is empty, and `target` and `scheme` are None.

    `slices` were filled after the last fill of the whole, each with a record of its own, in order; `beneath` is what
    was done to the whole before them, None for what no rule did. `alike` says that the moments are those of every
    slice too: no elements were set to zero afterwards.
    """

    init: Init
    moments: ExpectedMoments | None
    fills: tuple[Fill, ...] = ()
    target: Target | None = None
    scheme: BoundScheme | CustomScheme | None = None
    slices: tuple[tuple[RowSlice, FillRecord], ...] = ()
    beneath: FillRecord | None = None
    alike: bool = True

    def of_slice(self, rows: RowSlice) -> FillRecord | None:
        """Return what was done last to all of `rows`, None where no rule did anything.

        Of what was drawn as a part of more only elements that do not depend on each other have known moments.
        """
        over, found = next(((over, one) for over, one in reversed(self.slices) if over.meets(rows)), (None, None))
        if found is None:
            found = self.beneath if self.slices else self
        if found is None or over == rows or not (found.moments or found.fills):  # recognised: by all elements alike
            return found
        found = replace(found, init=replace(found.init, notes=()))  # they are about the whole
        return found.with_moments(of_some(found.moments) if found.moments and found.alike else None)

    def with_slice(self, rows: RowSlice, record: FillRecord) -> FillRecord:
        """Return the record of the whole once `record` was done to a slice of it."""
        kept = tuple((over, one) for over, one in self.slices if not rows.covers(over))
        beneath = self.beneath if self.slices else (self if self.fills else None)
        if self.target is not None and are_all([rows, *(over for over, _ in kept)], self.target.shape):
            beneath = None
        init = Init(SLICES, rule=record.init.rule, notes=self.init.notes if self.slices else ())
        fills = (*self.fills, *record.fills)
        return FillRecord(init, None, fills, self.target, slices=(*kept, (rows, record)), beneath=beneath)

    def seen(self) -> set[int]:
        """Return the numbers of the rules of which something is left."""
        if not self.slices:
            return {self.fills[-1].number} if self.fills else set()
        beneath = self.beneath.seen() if self.beneath else set()
        return beneath | {fill.number for _, one in self.slices for fill in one.fills}

    def unknown(self) -> FillRecord:
        """Return the record where nothing is expected any more, of no slice either."""
        slices = tuple((rows, one.with_moments(None)) for rows, one in self.slices)
        return replace(self.with_moments(None), slices=slices, beneath=self.beneath and self.beneath.with_moments(None))

    def with_note(self, note: str) -> FillRecord:
        """Return the record with one note more; an empty note adds none."""
        return replace(self, init=replace(self.init, notes=(*self.init.notes, note))) if note else self

    def with_moments(self, moments: ExpectedMoments | None) -> FillRecord:
        """Return the record with other moments, None where nothing can be expected."""
        known = moments or UNKNOWN
        init = replace(
            self.init,
            expected_mean=known.mean,
            expected_std=known.std,
            expected_low=known.low,
            expected_high=known.high,
        )
        return replace(self, init=init, moments=moments)


# --- what fills did to each other ---------------------------------------------------------------------------------


def with_interactions(module: nn.Module, done: dict[int, FillRecord]) -> dict[int, FillRecord]:
    """Return the records with notes on what fills did to each other.

    Two rules may claim one Parameter by two of its names, a weight may be filled before what it is stored in, and two
    Parameters may have memory in common. Of values that changed after their own fill nothing is expected.
    """
    records = {key: record.with_note(_conflict(record)) for key, record in done.items()}
    for key, record in records.items():
        if isinstance(record.target, ComputedTarget) and id(record.target) == key:
            records[key] = _unless_refilled(record, record.target, records)
    for one, other in _in_common(module) if records else ():
        for mine, its in ((one, other), (other, one)):
            if id(mine[0]) in records:
                records[id(mine[0])] = _sharing_memory(records[id(mine[0])], records.get(id(its[0])), its[1])
    return records


def _conflict(record: FillRecord) -> str:
    """Say that two rules claim one Parameter through different names: who wrote them may think of two."""
    *earlier, last = record.fills
    for fill in () if record.slices else earlier:
        if not set(fill.names) & set(last.names) and record.target and set(fill.names) <= set(record.target.names):
            claims = f"{fill.rule} by {fill.names[0]!r} and {last.rule} by {last.names[0]!r}"
            return f"one Parameter that two rules claim, {claims}: the last one wins"
    return ""


def _unless_refilled(record: FillRecord, weight: ComputedTarget, records: dict[int, FillRecord]) -> FillRecord:
    """Expect nothing of a computed weight when something it is stored in was filled after it."""
    for tensor, name in zip(weight.stored, weight.stored_names, strict=True):
        part = records.get(id(tensor))
        if part and part.fills[-1].at > record.fills[-1].at:
            return record.unknown().with_note(f"{part.init.rule} filled {name!r} after it")
    return record


def _sharing_memory(record: FillRecord, other: FillRecord | None, name: str) -> FillRecord:
    """Describe a Parameter in whose memory another one lies, called `name`; the later fill is what is there now."""
    if other is None:
        return record.with_note(f"{name!r} lies in the same memory and changed with it")
    if record.fills[-1].at > other.fills[-1].at:
        return record.with_note(f"lies in the memory of {name!r}, which was filled before it")
    note = f"{other.init.rule} filled {name!r} after it, in the same memory"
    same = record.moments == other.moments and not record.slices and not other.slices
    return (record if same else record.unknown()).with_note(note)


_Named = tuple["torch.Tensor", str]


def _in_common(module: nn.Module) -> Iterator[tuple[_Named, _Named]]:
    """Yield the pairs of different Parameters that have bytes in common."""
    from paraminspect.analysis.sharing.relations import Relations
    from paraminspect.analysis.sharing.tensor_memory import TensorMemories
    from paraminspect.modules.walk import names_of_parameters

    named = [(parameter, names[0]) for parameter, names in names_of_parameters(module)]
    relations = Relations(TensorMemories([parameter for parameter, _ in named]))
    for group, members in enumerate(relations.alike):
        near = [number for other in relations.neighbours(group) if other > group for number in relations.alike[other]]
        yield from _pairs(named, members, near)


def _pairs(named: Sequence[_Named], members: Sequence[int], near: Sequence[int]) -> Iterator[tuple[_Named, _Named]]:
    """Yield each pair of members, and each member with each of what lies near."""
    for at, number in enumerate(members):
        for other in (*members[at + 1 :], *near):
            yield named[number], named[other]
