"""Lines of a table for the parts of a parameter, below its own: gates, projections, slices that rules filled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from paraminspect.frozen import dataclass
from paraminspect.page.several import Several, members_of, sum_up
from paraminspect.report import Parameter, ParameterPart

PART = "part"


@dataclass(frozen=True)
class PartOf(Several):
    """A line for one part of the row above; `label` is ``[forget]``. Its elements are counted in that row."""

    label: str = ""


def counted(row: Parameter) -> tuple[Parameter, ...]:
    """Return the tensors whose elements a row counts: none where it is a part of the row above."""
    return () if isinstance(row, PartOf) else members_of(row)


def with_parts(rows: Iterable[Parameter]) -> Iterator[Parameter]:
    """Yield every row, and behind it its parts; those of a folded row have the figures of all it stands for."""
    for row in rows:
        yield row
        yield from part_lines(row)


def part_lines(row: Parameter) -> Iterator[PartOf]:
    """Yield the parts of a row; a row that sums up a module has none."""
    if not isinstance(row, Several) and not row.parts:  # as most have none
        return
    members = members_of(row)
    if isinstance(row, Several) and row.tensors:
        return
    for parts in zip(*(member.parts for member in members), strict=True):
        pieces = [as_row(member, part) for member, part in zip(members, parts, strict=True)]
        label = parts[0].label
        if len(pieces) == 1:
            yield PartOf(**vars(pieces[0]), members=tuple(pieces), label=label)
        else:
            together = sum_up(pieces, f"{row.name}{label}", times=len(pieces))
            yield PartOf(**{**vars(together), "times": 1}, label=label)


def as_row(whole: Parameter, part: ParameterPart) -> Parameter:
    """Return a part as a row of its own, under the name that it has behind that of the whole."""
    size = None if whole.bytes is None or not whole.numel else whole.bytes * part.numel // whole.numel
    return Parameter(
        name=f"{whole.name}{part.label}",
        aliases=(),
        module=whole.module,
        module_type=whole.module_type,
        kind=PART,
        shape=part.shape,
        dtype=whole.dtype,
        numel=part.numel,
        bytes=size,
        device=whole.device,
        requires_grad=whole.requires_grad,
        identity=whole.identity,
        storage=whole.storage,
        values=part.values,
        gradient=part.gradient,
        init=part.init,
        before=part.before,
    )
