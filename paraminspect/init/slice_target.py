"""A slice of a parameter as something that a rule fills: one gate, some rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paraminspect.errors import UserError
from paraminspect.frozen import dataclass
from paraminspect.init.computed_weights import ComputedTarget
from paraminspect.init.slice_text import EACH, SliceText
from paraminspect.init.target import Outcome, StoredTarget, Target, padding_rows
from paraminspect.text.numbers import plural

if TYPE_CHECKING:
    import torch
    from torch import nn

    from paraminspect.init.custom_scheme import CustomScheme
    from paraminspect.init.schemes.bound_scheme import BoundScheme
    from paraminspect.modules.row_slices import RowSlice, SliceNames


@dataclass(frozen=True, eq=False)
class SliceTarget:
    """The slice `rows` of a Parameter, or of a weight that is computed from stored ones."""

    whole: StoredTarget | ComputedTarget
    rows: RowSlice

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the whole, with the slice behind each."""
        return tuple(f"{name}{self.rows.label}" for name in self.whole.names)

    @property
    def owners(self) -> tuple[tuple[nn.Module, str], ...]:
        """Return the owners of the whole."""
        return self.whole.owners

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the slice."""
        return self.rows.shape_in(self.whole.shape)

    @property
    def known_shape(self) -> tuple[int, ...] | None:
        """Return the shape of the slice, which is only made of a known one."""
        return self.shape

    @property
    def dtype(self) -> str:
        """Return the dtype of the whole."""
        return self.whole.dtype

    def refuse(self) -> None:
        """Raise UserError if the whole cannot be filled."""
        self.whole.refuse()

    def fill(self, scheme: BoundScheme | CustomScheme, name: str) -> Outcome:
        """Fill the slice and leave the rest; a padding row in it is zero again, unless it was asked for by name."""
        whole, rows = self.whole, self.rows

        def fill_rows(tensor: torch.Tensor) -> None:
            import torch

            with torch.no_grad():
                scheme.apply(rows.of(tensor), name)

        if isinstance(whole, ComputedTarget):
            return whole.fill_part(fill_rows, scheme.name, whole.names[0])
        fill_rows(whole.parameter.detach())
        for row in self.padding:
            whole.parameter.detach()[row].zero_()
        notes = tuple(f"padding row {row} set to zero again" for row in self.padding)
        return Outcome(len(self.padding) / (rows.stop - rows.start), notes=notes)

    @property
    def padding(self) -> tuple[int, ...]:
        """Return the padding rows inside of the slice; none where it is the padding row that was asked for by name."""
        rows = self.rows
        if rows.dim or rows.name == "padding":
            return ()
        return tuple(row for row in padding_rows(self.owners) if rows.start <= row < rows.stop)


def slices_of(target: Target, wanted: SliceText, names: SliceNames, where: str) -> tuple[RowSlice, ...]:
    """Return the slices of a target that a rule means; none where it has no gate of that name.

    Raises UserError, placed at `where`, for rows that the target does not have.
    """
    from paraminspect.modules.row_slices import RowSlice

    shape = target.known_shape
    if shape is None:
        target.refuse()
    if not shape:
        return ()
    named = {one.name: one for owner, leaf in target.owners for one in names.named(owner, leaf, shape)}
    if not wanted.names:
        start, stop, _ = slice(wanted.start, wanted.stop).indices(shape[0])
        given = [end for end in (wanted.start, wanted.stop) if end is not None]
        if start >= stop or any(not -shape[0] <= end <= shape[0] for end in given):
            message = f"[{wanted.text}] does not lie in {target.names[0]!r}, which has {plural(shape[0], 'row')}"
            raise UserError(message, where=where, hint=_rows_hint(shape[0]), code="no-such-rows")
        same = (one for one in named.values() if (one.start, one.stop, one.dim) == (start, stop, 0))
        return (next(same, RowSlice("", start, stop)),)
    stacked = tuple(one for one in named.values() if one.name != "padding")
    found = (stacked if name == EACH else (named[name],) if name in named else () for name in wanted.names)
    return tuple(dict.fromkeys(one for some in found for one in some))


def _rows_hint(rows: int) -> str:
    return f"rows count from 0: [0:{rows}] is all of them; a glob must match only tensors that have those rows"
