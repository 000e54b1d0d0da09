"""One row for several: counts added up, figures pooled as if the tensors were one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from paraminspect.render.coverage import worst
from paraminspect.report import Gradient, Init, Parameter, Values

_Figure = float | None
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


def _init(found: Sequence[Init | None], tensors: int) -> Init | None:
    """Return the scheme that all have, of several how many; what a scheme expects holds for a tensor, not for a sum."""
    known = [init for init in found if init is not None]
    schemes = {init.scheme for init in known}
    if len(schemes) == 1 and not tensors:
        return known[0]
    return Init(f"{len(schemes)} schemes" if len(schemes) > 1 else known[0].scheme) if known else None


def pool_values(found: Sequence[Values | None], counts: Sequence[int | None]) -> Values | None:
    """Return the figures of all elements together; None where some were not measured."""
    parts = [(values, count) for values, count in zip(found, counts, strict=True) if values and count is not None]
    if len(parts) < len(found):
        return None
    mean, std, rms, low, high, l2 = _pool(parts)
    zeros, nan, inf = (sum(getattr(values, key) for values, _ in parts) for key in ("zeros", "nan", "inf"))
    return Values(mean, std, rms, low, high, l2, zeros, nan, inf, _histogram([values for values, _ in parts]))


def _histogram(found: Sequence[Values]) -> tuple[int, ...] | None:
    """Add up histograms of the same bins; others do not add up."""
    histograms = [values.histogram for values in found if values.histogram]
    if len(histograms) < len(found) or len({(v.min, v.max, len(v.histogram or ())) for v in found}) > 1:
        return None
    return tuple(map(sum, zip(*histograms, strict=True)))


def pool_gradients(found: Sequence[Gradient | None], counts: Sequence[int | None]) -> Gradient | None:
    """Return the worst status, and the figures of the gradients that there are."""
    known = [(gradient, count) for gradient, count in zip(found, counts, strict=True) if gradient is not None]
    if not known:
        return None
    status = worst({gradient.status for gradient, _ in known})
    parts = [(g, count) for g, count in known if count is not None and None not in (g.zeros, g.nan, g.inf)]
    if not parts:
        return Gradient(status)
    zeros, nan, inf = (sum(getattr(gradient, key) for gradient, _ in parts) for key in ("zeros", "nan", "inf"))
    mean, std, rms, low, high, l2 = _pool(parts)
    return Gradient(status, mean, std, rms, low, high, l2, zeros, nan, inf)


def _pool(
    parts: Iterable[tuple[Values | Gradient, int]],
) -> tuple[_Figure, _Figure, _Figure, _Figure, _Figure, _Figure]:
    """Return mean, std, rms, min, max and l2 of the finite elements of all parts; None where a part has none.

    Nothing overflows that the result does not: the weights are shares, and squares stay inside `math.hypot`.
    """
    finite = [(part, count - (part.nan or 0) - (part.inf or 0)) for part, count in parts]
    finite = [(part, count) for part, count in finite if count > 0]
    total = sum(count for _, count in finite)
    shares = [count / total for _, count in finite]
    means, stds, rmss, lows, highs, norms = (
        _known([getattr(part, key) for part, _ in finite]) for key in ("mean", "std", "rms", "min", "max", "l2")
    )
    mean = _mean(means, shares)
    return (
        mean,
        _std(stds, means, mean, shares),
        _rms(rmss, shares),
        min(lows, default=None),
        max(highs, default=None),
        math.hypot(*norms) if norms else None,
    )


def _known(figures: list[float | None]) -> list[float]:
    """Return the figures; none where one is unknown."""
    known = [figure for figure in figures if figure is not None]
    return known if len(known) == len(figures) else []


def _mean(means: Sequence[float], shares: Sequence[float]) -> float | None:
    """Return the weighted mean; of equal numbers that number itself, without a rounding."""
    if len(set(means)) <= 1:
        return means[0] if means else None
    return math.fsum(share * mean for share, mean in zip(shares, means, strict=True))


def _rms(figures: Sequence[float], shares: Sequence[float]) -> float | None:
    """Return the root of the weighted mean square; of equal numbers that number itself."""
    if len(set(figures)) <= 1:
        return figures[0] if figures else None
    return math.hypot(*(math.sqrt(share) * figure for share, figure in zip(shares, figures, strict=True)))


def _std(stds: Sequence[float], means: Sequence[float], mean: float | None, shares: Sequence[float]) -> float | None:
    """Return the population value: the spread inside the parts and that of their means, in quadrature."""
    inside = _rms(stds, shares)
    if inside is None or mean is None or len(set(means)) == 1:
        return inside
    roots = [math.sqrt(share) for share in shares]
    return math.hypot(inside, *(root * one - root * mean for root, one in zip(roots, means, strict=True)))
