"""One row for several: counts added up, figures pooled as if the tensors were one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from paraminspect.frozen import dataclass
from paraminspect.report import Gradient, Init, Parameter, Values
from paraminspect.report.merge import merge_figures
from paraminspect.rules.wording import by_severity, in_a_word

_Same = TypeVar("_Same")


@dataclass(frozen=True)
class Several(Parameter):
    """A row that stands for `members`, rows of the report.

    `times` is how many rows were folded into this one, `tensors` how many each of those sums up: 0 where each is a
    tensor of the one `shape`. `places` are the modules that use it, spelled like the name.
    """

    members: tuple[Parameter, ...] = ()
    times: int = 1
    tensors: int = 0
    places: tuple[str, ...] = ()


def members_of(row: Parameter) -> tuple[Parameter, ...]:
    """Return the rows of the report that a row stands for: itself, unless it is one for several."""
    return row.members if isinstance(row, Several) else (row,)


def sum_up(
    rows: Sequence[Parameter],
    name: str,
    aliases: tuple[str, ...] = (),
    times: int = 1,
    tensors: int = 0,
    places: tuple[str, ...] = (),
) -> Several:
    """Return one row for several; what they do not have in common is empty."""
    members = tuple(member for row in rows for member in members_of(row))
    first = members[0]
    counts = [member.numel for member in members]
    return Several(
        name=name,
        aliases=aliases,
        module=first.module if len(members) == times else name,
        module_type=common((member.module_type for member in members), ""),
        kind=first.kind,
        shape=common((member.shape for member in members), ()),
        dtype=_dtype(members),
        numel=_sum(counts),
        bytes=_sum([member.bytes for member in members]),
        device=common((member.device for member in members), ""),
        requires_grad=any(member.requires_grad for member in members),
        identity=first.identity,
        storage=first.storage,
        values=pool_values([member.values for member in members], counts),
        gradient=pool_gradients([member.gradient for member in members], counts),
        init=_init([member.init for member in members], tensors),
        before=pool_values([member.before for member in members], counts),
        note=common((member.note for member in members), None),
        persistent=common((member.persistent for member in members), None),
        members=members,
        times=times,
        tensors=tensors,
        places=places,
    )


def common(found: Iterable[_Same], otherwise: _Same) -> _Same:
    """Return what all are, or the other value where they differ."""
    first, *rest = set(found)
    return otherwise if rest else first


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _dtype(members: Sequence[Parameter]) -> str:
    found = {member.dtype for member in members}
    return f"{len(found)} dtypes" if len(found) > 1 else members[0].dtype


_BY_SHAPE = ("expected_mean", "expected_std", "expected_low", "expected_high", "fan_in", "fan_out")


def _init(found: Sequence[Init | None], tensors: int) -> Init | None:
    """Return the scheme that all have, of several how many; what a scheme expects holds for a tensor, not for a sum."""
    known = [init for init in found if init is not None]
    schemes = Counter(init.distribution or init.scheme for init in known)
    if len(schemes) == 1 and not tensors:
        return replace(known[0], **{key: common((getattr(init, key) for init in known), None) for key in _BY_SHAPE})
    if len(schemes) > 1 and not tensors and known[0].distribution is not None:
        ((most, times),) = schemes.most_common(1)
        return Init(known[0].scheme, distribution=f"{times:,} of {len(known):,} {most}")
    return Init(f"{len(schemes)} schemes" if len(schemes) > 1 else next(iter(schemes))) if known else None


def pool_values(found: Sequence[Values | None], counts: Sequence[int | None]) -> Values | None:
    """Return the figures of all elements together; None where some were not measured."""
    parts = [(values, count) for values, count in zip(found, counts, strict=True) if values and count is not None]
    if len(parts) < len(found):
        return None
    return replace(merge_figures(parts), histogram=_histogram(parts))


def _histogram(found: Sequence[tuple[Values, int]]) -> tuple[int, ...] | None:
    """Return one histogram of all elements, each tensor weighing as much as it has of them; None if one has none."""
    if not any(one.histogram for one, _ in found):
        return None
    from paraminspect.analysis.statistics.pooled_histograms import Binned, pool_histograms  # numpy comes with it

    parts = [
        Binned(float(one.min), float(one.max), one.histogram, count)
        for one, count in found
        if one.histogram and one.min is not None and one.max is not None
    ]
    if len(parts) < sum(count > 0 for _, count in found):
        return None
    return pool_histograms(parts)[2] if parts else None


def pool_gradients(found: Sequence[Gradient | None], counts: Sequence[int | None]) -> Gradient | None:
    """Return the worst status, and the figures of the gradients that there are."""
    known = [(gradient, count) for gradient, count in zip(found, counts, strict=True) if gradient is not None]
    if not known:
        return None
    worst = by_severity({in_a_word(gradient) for gradient, _ in known})[0]
    first = next(gradient for gradient, _ in known if in_a_word(gradient) == worst)
    whole = Gradient(first.status, rounding=first.rounding, reason=first.reason, seeds=first.seeds)
    parts = [(g, count) for g, count in known if count is not None and None not in (g.zeros, g.nan, g.inf)]
    if not parts:
        return whole
    figures = vars(merge_figures(parts))
    return replace(whole, **{k: value for k, value in figures.items() if k != "histogram"})


# --- by module ---------------------------------------------------------------------------------------------------


def at_depth(rows: Sequence[Parameter], depth: int) -> list[Parameter]:
    """Return the rows whose names have at most `depth` components, and one row a module for those below it.

    Kinds stay apart. A module's row stands where the first of its tensors stood.
    """
    groups: dict[Hashable, list[Parameter]] = {}
    for index, row in enumerate(rows):
        module = _module(row.name, depth)
        groups.setdefault((row.kind, module) if module else index, []).append(row)
    return [_one_row(members, depth) for members in groups.values()]


def _module(name: str, depth: int) -> str:
    """Return the first components of a longer name; nothing for a name that is short enough."""
    parts = name.split(".", depth)
    return ".".join(parts[:depth]) if len(parts) > depth else ""


def _one_row(members: list[Parameter], depth: int) -> Parameter:
    module = _module(members[0].name, depth)
    return sum_up(members, module, tensors=len(members)) if module else members[0]
