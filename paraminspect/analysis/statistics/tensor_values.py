"""Measure the values of a tensor, whatever its type, layout and size.

Memory beyond the tensor itself is some megabytes for each thread, however large the tensor is; only a view that
visits the same memory many times over (``Tensor.unfold``) takes eight bytes for each element it visits.
"""

from __future__ import annotations

import itertools
import math
import threading

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from paraminspect.analysis.statistics.block_figures import (
    Array,
    Counts,
    histogram_of,
    weighted_moments_of,
)
from paraminspect.analysis.statistics.careful_sums import CANCELLATION, Floats
from paraminspect.analysis.statistics.elements import Draw, Readable, open_elements, share
from paraminspect.analysis.statistics.number_formats import (
    COUNTABLE,
    WORDS,
    PatternCounts,
    decode,
    magnitudes,
    measure_words,
    values_of,
)
from paraminspect.modules.wrapper_tensors import whole
from paraminspect.report import Number, Values
from paraminspect.report.merge import Moments, merge, merge_all, repeat, values_of_moments

SAMPLE = 4096  # elements that a histogram counts at most
AT_ONCE = 65_536  # elements that a tensor has at most to be measured in one go
# Elements. Threads hand the interpreter lock to each other after every operation of numpy: with an eighth as many
# elements in each, two took longer than one.
BLOCK = 2**20
_GUESS = 4096  # elements that the provisional mean is taken from
_THREAD = threading.local()
_COMPRESSED = {torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc}


def measure(tensor: torch.Tensor, *, histogram: bool = True) -> Values | None:
    """Return the figures of `tensor`, or None where they are unknown: no data (meta, lazy, freed), no known dtype.

    Of a tensor whose class keeps the numbers elsewhere they are known where these are read as they are, see `whole`.

    Counts, `min` and `max` are exact; `mean` is right to 4e-16 times the mean magnitude, `std` and `l2` to 1e-14 of
    themselves, and no digit depends on the number of threads. A figure beyond the range of float64 is infinite.

    NaN and infinities are counted and left out of everything else. Complex numbers count by their magnitude, and
    have no `min`, `max` and histogram. Elements that a sparse tensor does not store count as zeros; it has no
    histogram. Nothing of the tensor changes, nor does any global state of torch.

    The histogram covers all elements up to SAMPLE of them, and an evenly spaced sample of at most SAMPLE elements
    beyond; where all are equal it has them in its ninth bin.
    """
    with torch._C.DisableTorchFunctionSubclass(), np.errstate(all="ignore"):
        plain = whole(tensor)
        if plain is None or not _has_data(plain):
            return None
        try:
            return _measure(plain, histogram)
        except NotImplementedError:  # a tensor that hides its memory, as inside torch.func.vmap
            return None


def _has_data(tensor: torch.Tensor) -> bool:
    return not (is_lazy(tensor) or tensor.is_meta or tensor.is_nested) and tensor.dtype in WORDS


def _measure(tensor: torch.Tensor, histogram: bool) -> Values | None:
    if tensor.layout is not torch.strided:
        return _measure_sparse(tensor)
    if not tensor.numel():
        return Values()
    if tensor.is_neg():
        tensor = tensor.detach().resolve_neg()
    elements = open_elements(tensor, WORDS[tensor.dtype], AT_ONCE)
    if elements is None:
        return None
    if elements.fit(AT_ONCE):
        found = measure_words(elements.sample(AT_ONCE), tensor.dtype, work=_scratch(elements.size))
    else:
        found = _sweep(elements, tensor.dtype)
    words = elements.sample(SAMPLE) if histogram else None
    return _figures(found, tensor.dtype, None if words is None else _histogram(found, words, tensor.dtype))


def measure_words_at_once(words: Array, dtype: torch.dtype, *, histogram: bool) -> Values:
    """Return the figures of the numbers that `words` stand for, as `measure` does: SAMPLE at most."""
    found = measure_words(words, dtype, work=_scratch(words.size))
    return _figures(found, dtype, _histogram(found, words, dtype) if histogram else None)


def _scratch(count: int) -> Floats:
    """Return room for so many numbers: new room for each of a thousand tensors would be paged in a thousand times."""
    room: Floats | None = getattr(_THREAD, "scratch", None)
    if room is None or room.size < count:
        room = _THREAD.scratch = np.empty(count)
    return room


def measure_elements(elements: Readable, dtype: torch.dtype) -> Values:
    """Return the figures of numbers that are read a block at a time, from a file for example; see `measure`."""
    with np.errstate(all="ignore"):
        short = _all_at_once(elements)
        if short is not None and short.size <= SAMPLE:
            return measure_words_at_once(short, dtype, histogram=True)
        found = measure_words(short, dtype, work=_scratch(short.size)) if short is not None else _sweep(elements, dtype)
        return _figures(found, dtype, _histogram(found, elements.sample(SAMPLE), dtype))


def _all_at_once(elements: Readable) -> Array | None:
    """Return all elements of a short tensor, as `measure` takes them; None of any other."""
    if elements.size > AT_ONCE or elements.repeat != 1 or elements.visits is not None:
        return None
    blocks = elements.blocks(AT_ONCE)
    return elements.read(blocks[0]) if len(blocks) == 1 else None


def _measure_sparse(tensor: torch.Tensor) -> Values | None:
    if tensor.layout is torch.sparse_coo:
        stored = tensor.detach().coalesce().values()
    elif tensor.layout in _COMPRESSED:
        stored = tensor.detach().values()
    else:
        return None
    found, absent = Moments(), tensor.numel() - stored.numel()
    if stored.numel():
        elements = open_elements(stored, WORDS[tensor.dtype], 0)
        if elements is None:
            return None
        found = _sweep(elements, tensor.dtype)
    zeros = Moments(absent, min=0, max=0, zeros=absent) if absent else Moments()
    return _figures(merge(found, zeros), tensor.dtype, None)


def _sweep(elements: Readable, dtype: torch.dtype) -> Moments:
    """Measure all elements, block by block."""
    if elements.visits is not None:
        once = _visited(elements, elements.visits, dtype)
    elif dtype in COUNTABLE:
        once = weighted_moments_of(values_of(dtype), _count(elements, values_of(dtype).size))
    else:
        once = _summed(elements, dtype)
    return repeat(once, elements.repeat)


def _count(elements: Readable, kinds: int) -> Counts:
    def worker(draw: Draw) -> Counts:
        found = PatternCounts(kinds)
        for _, index in draw:
            found.add(elements.read(index))
        return found.counts()

    first, *others = share(elements.blocks(BLOCK), worker)
    return sum(others, start=first)


def _summed(elements: Readable, dtype: torch.dtype) -> Moments:
    origin = 0.0 if dtype.is_complex else _guess(elements, dtype)

    def worker(draw: Draw) -> list[tuple[int, Moments]]:
        work = np.empty(BLOCK)
        with np.errstate(all="ignore"):
            return [(number, measure_words(elements.read(index), dtype, origin, work)) for number, index in draw]

    parts = sorted(itertools.chain.from_iterable(share(elements.blocks(BLOCK), worker)))
    return merge_all(part for _, part in parts)


def _guess(elements: Readable, dtype: torch.dtype) -> float:
    """Return a mean to sum deviations from: 0, which costs nothing, where the mean is not large beside the std."""
    found = measure_words(elements.sample(_GUESS), dtype)
    far = found.mean**2 * found.n > CANCELLATION * found.m2
    return math.ldexp(found.mean, found.exponent) if far else 0.0


def _visited(elements: Readable, visits: Counts, dtype: torch.dtype) -> Moments:
    parts = []
    for index in elements.blocks(BLOCK):
        numbers, exponent = decode(elements.read(index), dtype), 0
        if dtype.is_complex:
            numbers, exponent = magnitudes(numbers)
        part = weighted_moments_of(numbers, visits[index])
        parts.append(part._replace(exponent=part.exponent + exponent))
    return merge_all(parts)


def _histogram(found: Moments, sample: Array, dtype: torch.dtype) -> tuple[int, ...] | None:
    if found.min is None or found.max is None or dtype.is_complex:
        return None
    numbers = decode(sample, dtype)
    if found.nan or found.inf:
        numbers = numbers[np.isfinite(numbers)]
    return histogram_of(numbers, found.min, found.max)


def _figures(found: Moments, dtype: torch.dtype, histogram: tuple[int, ...] | None) -> Values:
    number = _no_number if dtype.is_complex else float if dtype.is_floating_point else int
    return values_of_moments(found, number, histogram)


def _no_number(_: Number) -> None:
    """Complex numbers have no smallest and no largest one."""
