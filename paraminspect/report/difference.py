"""What two sources have in common and what differs: names, shapes, types, values, ties, metadata."""

from __future__ import annotations

import re
from dataclasses import field
from typing import Final

from paraminspect.frozen import dataclass

Shape = tuple[int, ...]
_INTEGER: Final = re.compile(r"u?int\d|bool")


@dataclass(frozen=True)
class SideOfDiff:
    """One of the two sources: its `kind`, what was typed, its tensors by name and what they take (null: unknown)."""

    kind: str
    name: str
    path: str | None
    format: str
    tensors: int
    numel: int
    bytes: int | None


@dataclass(frozen=True)
class ValueChange:
    """How far the values of a tensor moved from A to B, of the `numel` elements that both have.

    `different` elements are of another value (NaN is no other value than NaN), of which `nonfinite` are NaN or Inf on
    one side at least, and `became_nonfinite` in B alone; `beyond` are further apart than the tolerance allows. The
    other figures are over the elements that are finite on both sides: the largest |B - A|, ‖B - A‖, that relative to
    ‖A‖ (null where A is zero), the cosine of A and B, and `l2_of_a`, which is ‖A‖. `rank` is the numerical rank of
    B - A as a matrix, of `full_rank` that it could have, with the singular values above `rank_tolerance` counted.
    """

    numel: int
    different: int
    beyond: int
    nonfinite: int
    max_abs: float | int | None
    l2: float | None
    relative: float | None
    cosine: float | None
    rank: int | None = None
    full_rank: int | None = None
    rank_tolerance: float | None = None
    became_nonfinite: int = 0
    l2_of_a: float | None = None


@dataclass(frozen=True)
class TensorChange:
    """One tensor that is not the same on both sides.

    `status` is ``added`` (only in B), ``removed`` (only in A) or ``changed``; `changes` says of a changed one in what:
    ``shape``, ``dtype``, ``values``, ``bits`` (equal values in other bits, as -0.0), ``unread`` (the values of one side
    cannot be read, `note` says why), and ``within`` where the tolerance allows it. `name` is that in A, of an added one
    that in B; `renamed` its name in B where that is another. `in_optimizer` is set for what an optimizer keeps of a
    parameter: the name with that of the parameter in it, where it can be told, in the place of a number.
    """

    name: str
    status: str
    changes: tuple[str, ...] = ()
    renamed: str | None = None
    shape: Shape | None = None
    other_shape: Shape | None = None
    dtype: str | None = None
    other_dtype: str | None = None
    bytes: int | None = None
    other_bytes: int | None = None
    values: ValueChange | None = None
    note: str | None = None
    in_optimizer: str | None = None

    @property
    def is_count(self) -> bool:
        """Tell whether both sides are integers, as num_batches_tracked is, or the steps of an optimizer."""
        dtypes = [dtype for dtype in (self.dtype, self.other_dtype) if dtype is not None]
        return all(map(_INTEGER.match, dtypes)) or (self.in_optimizer or "").rpartition(".")[2] == "step"


@dataclass(frozen=True)
class OptimizerChange:
    """How far what optimizers keep moved: of `compared` tensors `moved` did, together by `l2` and `relative`."""

    compared: int
    moved: int
    l2: float | None
    relative: float | None


@dataclass(frozen=True)
class Renaming:
    """Names that differ alike: `in_a` of a name in A stands where `in_b` stands in B.

    `reason` is what makes it certain: ``structure`` where the names tell, ``bytes`` where equal bytes alone do.
    """

    in_a: str
    in_b: str
    names: tuple[tuple[str, str], ...]
    reason: str = "structure"


@dataclass(frozen=True)
class TieChange:
    """Names, as in A where it has them, that are one tensor on the side `only` (``a`` or ``b``) and not on the other.

    `elsewhere` is ``equal`` (tensors of their own with equal bytes), ``different`` or ``left out``.
    """

    names: tuple[str, ...]
    only: str
    elsewhere: str


@dataclass(frozen=True)
class MetadataChange:
    """An entry of the metadata, or a value beside the tensors, that differs: null where a side has none."""

    key: str
    a: str | None
    b: str | None


@dataclass(frozen=True)
class StateDictFit:
    """Whether ``model.load_state_dict(state_dict, strict=True)`` takes the file, as torch answers it.

    `key` is where the state_dict stands in the file. Where it does not fit as it stands, `strip` taken off its names,
    `add` put before them, and `ties` filled may make it: names that it leaves out, each with one that is the same
    Parameter in the model. `fits_then` says whether that is enough. `missing` and `unexpected` are the names that are
    left then, `shapes` those with the shape in the file and that in the model. `message` is torch's own where names
    and shapes do not tell.
    """

    fits: bool
    file: str
    model: str
    key: str = ""
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    shapes: tuple[tuple[str, Shape, Shape], ...] = ()
    ties: tuple[tuple[str, str], ...] = ()
    strip: str = ""
    add: str = ""
    fits_then: bool = False
    message: str = ""


@dataclass(frozen=True)
class AdapterTarget:
    """A weight that a LoRA adapter changes: W + scale·up·down, with the names of both factors and their rank.

    `side` has the adapter; `target` is the weight's name as the adapter has it, `base` as the other side has it (null
    where it has none). `l2` is ‖up·down‖, `relative` that to ‖W‖, both without the scale, which is alpha / rank.
    """

    side: str
    target: str
    base: str | None
    rank: int
    shape: Shape
    down: str
    up: str
    dtype: str
    fits: bool | None = None
    l2: float | None = None
    relative: float | None = None
    scale: float | None = None


@dataclass(frozen=True)
class Difference:
    """Two sources compared: A is where values start from, B where they went.

    `same` says that nothing differs that was compared, which is what the exit code says too. `identical` counts the
    tensors of equal bytes, `within` those whose values differ within the tolerance, `compared` all that both have.
    `tensors` are those that differ, the largest change first and what optimizers keep last, of which `counts` says how
    many differ in what. `l2` is ‖B - A‖ over all whose values moved, `relative` that to their ‖A‖: without integers,
    where there are others, and without what optimizers keep, which is in `optimizer`, null where none is compared.
    `ignored` counts what ``--params`` leaves out.
    `beside` are the parts of a training checkpoint that a model is not compared with, as its optimizer.
    """

    a: SideOfDiff
    b: SideOfDiff
    same: bool
    identical: int
    within: int
    compared: int
    atol: float = 0.0
    rtol: float = 0.0
    tensors: tuple[TensorChange, ...] = ()
    renamings: tuple[Renaming, ...] = ()
    ties: tuple[TieChange, ...] = ()
    metadata: tuple[MetadataChange, ...] = ()
    fit: StateDictFit | None = None
    adapters: tuple[AdapterTarget, ...] = ()
    ignored: int = 0
    beside: tuple[str, ...] = ()
    l2: float | None = None
    relative: float | None = None
    counts: dict[str, int] = field(default_factory=dict)
    optimizer: OptimizerChange | None = None
