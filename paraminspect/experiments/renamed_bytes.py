"""Tensors that only their bytes show to be the same, under names that have nothing in common."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from paraminspect.experiments.compared_bytes import Comparer, comparable
from paraminspect.experiments.name_pairs import Pairs
from paraminspect.report import Renaming
from paraminspect.sources.checkpoint.flat_bytes import FlatBytes, Raw
from paraminspect.sources.diff_sides import Side

_FIRST = 65536


def pair_by_bytes(pairs: Pairs, a: Side, b: Side, comparer: Comparer) -> None:
    """Pair what one side alone has with what the other alone has if shape, type and bytes are the same.

    Of each there has to be one only, and its values must not be all the same: zeros are equal by chance.
    """
    if not pairs.removed or not pairs.added:
        return
    kinds = _kinds(pairs.removed, a) & _kinds(pairs.added, b)
    of_a, of_b = _beginnings(pairs.removed, a, kinds), _beginnings(pairs.added, b, kinds)
    likely = [
        (names[0], of_b[key][0]) for key, names in of_a.items() if len(names) == 1 and len(of_b.get(key, ())) == 1
    ]
    compared = [comparable(a.tensors[one], b.tensors[other], a, b) for one, other in likely]
    unequal = comparer.unequal([pair for pair in compared if pair is not None])
    certain = [pair for at, pair in enumerate(likely) if at not in unequal]
    pairs.renamings += [Renaming(one, other, ((one, other),), "bytes") for one, other in certain]
    pairs.take(certain)


def _kinds(names: list[str], side: Side) -> set[object]:
    return {(tensor.dtype, tensor.shape) for tensor in map(side.tensors.__getitem__, names)}


def _beginnings(names: list[str], side: Side, kinds: set[object]) -> dict[object, list[str]]:
    """Return the names of some kinds by kind and first bytes, without those whose numbers are all the same there."""
    found: dict[object, list[str]] = defaultdict(list)
    for name in names:
        tensor = side.tensors[name]
        if (tensor.dtype, tensor.shape) not in kinds:
            continue
        source = side.flat(tensor)
        first = None if source is None or not source.length else _first(source)
        if first is not None and tensor.numel > 1:
            width = max(source.length // tensor.numel, 1) if source is not None else 1
            elements = first[: len(first) // width * width].reshape(-1, width)
            if len(elements) > 1 and (elements != elements[0]).any():
                found[tensor.dtype, tensor.shape, first.tobytes()].append(name)
    return found


def _first(source: FlatBytes) -> Raw:
    if source.whole is not None or source.fill is None:
        return source.array()[:_FIRST]
    found = np.empty(min(source.length, _FIRST), np.uint8)
    source.fill(source.start, memoryview(found))  # type: ignore[arg-type]  # an array is a buffer
    return found
