"""What a rule fills: a Parameter, here; a weight that is computed from stored ones, in `computed_weights`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from paraminspect.errors import UserError
from paraminspect.frozen import dataclass

if TYPE_CHECKING:
    import torch
    from torch import nn

    from paraminspect.init.custom_scheme import CustomScheme
    from paraminspect.init.schemes.bound_scheme import BoundScheme


@dataclass(frozen=True)
class Outcome:
    """How what a target holds now differs from what the scheme drew, and notes that say so.

    `zeros` is the share of elements that were set to zero afterwards; `kept` is false where the rest are not what was
    drawn either.
    """

    zeros: float = 0.0
    kept: bool = True
    notes: tuple[str, ...] = ()


class Target(Protocol):
    """Something that a rule can fill: a Parameter, or a weight that is computed from stored tensors."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return all the names by which the module tree knows the target."""

    @property
    def owners(self) -> tuple[tuple[nn.Module, str], ...]:
        """Return the module and the attribute behind each name."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape to fill."""

    @property
    def known_shape(self) -> tuple[int, ...] | None:
        """Return the shape, None for a lazy Parameter."""

    @property
    def dtype(self) -> str:
        """Return the dtype to fill, e.g. ``float32``."""

    def refuse(self) -> None:
        """Raise UserError if no scheme can fill the target."""

    def fill(self, scheme: BoundScheme | CustomScheme, name: str) -> Outcome:
        """Fill the target in place; `name` is the one of its names that the rule matched."""


@dataclass(frozen=True, eq=False)
class StoredTarget:
    """A Parameter; `role` says which weight it is stored for, where another one is computed from it."""

    names: tuple[str, ...]
    owners: tuple[tuple[nn.Module, str], ...]
    parameter: nn.Parameter
    role: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the Parameter's shape."""
        return tuple(self.parameter.shape)

    @property
    def known_shape(self) -> tuple[int, ...] | None:
        """Return the Parameter's shape, None before the first forward of a lazy one."""
        from torch.nn.parameter import is_lazy

        return None if is_lazy(self.parameter) else self.shape

    @property
    def dtype(self) -> str:
        """Return the Parameter's dtype, e.g. ``float32``."""
        return str(self.parameter.dtype).removeprefix("torch.")

    def refuse(self) -> None:
        """Raise UserError for a lazy Parameter."""
        if self.known_shape is None:
            message = f"parameter {self.names[0]!r} has no shape before the first forward"
            raise UserError(message, hint="give the layer its sizes", code="lazy-parameter")

    def fill(self, scheme: BoundScheme | CustomScheme, name: str) -> Outcome:
        """Fill the Parameter, and set the padding row of an embedding to zero again."""
        scheme.apply(self.parameter, name)
        padding = padding_rows(self.owners)
        if padding:
            zero_rows(self.parameter, padding)
        notes = [f"filled as it is: {self.role}"] if self.role else []
        notes += [f"padding row {row} set to zero again" for row in padding]
        return Outcome(len(padding) / self.shape[0] if padding else 0.0, notes=tuple(notes))


def padding_rows(owners: tuple[tuple[nn.Module, str], ...]) -> tuple[int, ...]:
    """Return the rows that embeddings among the owners of a weight keep at zero for padding."""
    from paraminspect.modules.row_slices import padding_row

    rows = (padding_row(owner, leaf) for owner, leaf in owners)
    return tuple(dict.fromkeys(row for row in rows if row is not None))


def weight_shape(owner: nn.Module) -> tuple[int, ...]:
    """Return the shape of a module's weight, () where it has none.

    It looks at what `owner` holds and asks for no attribute: a parametrised weight would be computed by that.
    """
    from paraminspect.modules.walk import attributes_of, registered

    weight = dict(registered(owner, "_parameters")).get("weight", attributes_of(owner).get("weight"))
    return tuple(getattr(weight, "shape", ()))


def zero_rows(tensor: torch.Tensor, rows: tuple[int, ...]) -> None:
    """Set rows to zero without recording a gradient."""
    import torch

    with torch.no_grad():
        for row in rows:
            tensor[row].zero_()
