"""Blocks that repeat as one row for each of their layers: how its figures go from the first block to the last.

A row that goes elsewhere in between, or that has something wrong with it, stays by itself: what the table is for is how
the signal grows or shrinks. Layers one after another are no blocks, so a plain network keeps a row for each.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

from paraminspect.frozen import dataclass
from paraminspect.page.repeated_blocks import (
    FEWEST_ROWS,
    HollowName,
    NameGroup,
    fold_groups,
    kinds_of_blocks,
    parse_name,
)
from paraminspect.report import SignalHistogram, SignalLayer
from paraminspect.text.numbers import plural

_STRAYS = 2.0
_FEWEST_LAYERS = 2


@dataclass(frozen=True)
class LayersAlike(SignalLayer):
    """One layer of every block, in order; `module` is the pattern that expands to their names."""

    members: tuple[SignalLayer, ...] = ()


def members_alike(layer: SignalLayer) -> tuple[SignalLayer, ...]:
    """Return the layers that a row stands for."""
    return layer.members if isinstance(layer, LayersAlike) else (layer,)


def fold_layers(layers: Sequence[SignalLayer], wrong: Callable[[SignalLayer], str]) -> list[SignalLayer]:
    """Return the rows of the table, those of repeated blocks folded; `wrong` says what is wrong with a layer."""
    if len(layers) < FEWEST_ROWS:
        return list(layers)
    names = [parse_name(layer.module) for layer in layers]
    seen: Counter[str] = Counter()
    structures: list[Hashable] = []
    for layer in layers:
        known = (layer.pre.rms is None, layer.grad_norm is None, layer.depth is None)
        structures.append((seen[layer.module], layer.type, layer.activation, known))
        seen[layer.module] += 1
    kinds = kinds_of_blocks([layer.module for layer in layers], names, structures)
    held = Counter(block for name in names if name for block in name.blocks)
    alike: dict[Hashable, list[int]] = {}
    for at, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        if name is not None and name.numbers:
            levels = [
                kind[level] if held[block] >= _FEWEST_LAYERS else ("alone", name.numbers[level])
                for level, block in enumerate(name.blocks)
            ]
            alike.setdefault((name.parts, *levels, structures[at], at if wrong(layers[at]) else None), []).append(at)

    def one_row(group: NameGroup, name: HollowName) -> SignalLayer | None:
        members = [layers[at] for at in sorted(group.rows)]
        return None if _strays(members) else _one_row(members, name, group.sets)

    return fold_groups(layers, names, alike.values(), one_row)


def _strays(members: Sequence[SignalLayer]) -> bool:
    """Tell whether a figure is somewhere in between far from where it is at both ends."""
    for found in ([layer.pre.rms for layer in members], [layer.grad_norm for layer in members]):
        values = [value for value in found if value is not None]
        if any(not math.isfinite(value) for value in values):
            return True
        if values:
            low, high = sorted((values[0], values[-1]))
            if not low / _STRAYS <= min(values) <= max(values) <= high * _STRAYS:
                return True
    return False


def _one_row(members: Sequence[SignalLayer], name: HollowName, sets: Sequence[tuple[int, ...]]) -> LayersAlike:
    first = members[0]
    whole = replace(
        first,
        module=name.spell(sets),
        pre=replace(first.pre, rms=_pooled([layer.pre.rms for layer in members])),
        grad_norm=_pooled([layer.grad_norm for layer in members]),
        pre_histogram=_histogram([layer.pre_histogram for layer in members]),
        out_histogram=_histogram([layer.out_histogram for layer in members]),
    )
    return LayersAlike(**vars(whole), members=tuple(members))


def _pooled(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.hypot(*(value / math.sqrt(len(known)) for value in known)) if known else None


def _histogram(found: Sequence[SignalHistogram | None]) -> SignalHistogram | None:
    """Return one histogram of all elements; None if one layer has none."""
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return None
    from paraminspect.analysis.statistics.pooled_histograms import Binned, pool_histograms  # numpy comes with it

    return SignalHistogram(*pool_histograms([Binned(one.low, one.high, one.counts, sum(one.counts)) for one in known]))


def folded_layers(rows: Sequence[SignalLayer]) -> str:
    """Say how many layers were folded into how many rows; nothing where none were."""
    times = [len(row.members) for row in rows if isinstance(row, LayersAlike)]
    told = f"{sum(times):,} layers of repeated blocks in {plural(len(times), 'row')}, from the first to the last"
    return told if times else ""
