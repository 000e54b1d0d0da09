"""Which tensors hold the same bits in bytes of their own. Figures that are known already leave few tensors to read."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import compress

import numpy as np
import torch
from torch import Tensor

from paraminspect.analysis.statistics.elements import Array, blocks, open_elements
from paraminspect.analysis.statistics.number_formats import WORDS
from paraminspect.frozen import dataclass
from paraminspect.report import Values

BLOCK = 2**18  # elements that are in memory a second time, for a tensor that is not contiguous


@dataclass(frozen=True)
class MeasuredTensor:
    """A tensor with the figures of its values, under its number."""

    number: int
    tensor: Tensor
    values: Values


@dataclass(frozen=True)
class Equal:
    """Tensors, by number and in order, that are equal bit for bit; `constant` if all their elements are equal, too."""

    members: tuple[int, ...]
    constant: bool

    @property
    def kind(self) -> str:
        """Return the kind of sharing: constants are equal without ever having been one."""
        return "equal-constant" if self.constant else "equal-not-shared"


def find_equal(measured: Sequence[MeasuredTensor]) -> list[Equal]:
    """Return all groups of two and more, ordered by their first tensor.

    NaN equals itself, and 0.0 is not −0.0. Only tensors are read that have shape, type, extremes and counts in common.
    """
    found = []
    for alike in _several(measured, _exact_figures):
        if _proves_constant(alike[0]):
            found.append(Equal(tuple(one.number for one in alike), constant=True))
        else:
            groups = _same_bits(alike)
            found += [Equal(tuple(one.number for one in same), _is_constant(same[0].tensor)) for same in groups]
    return sorted(found, key=lambda equal: equal.members)


def _same_bits(alike: list[MeasuredTensor]) -> Iterator[list[MeasuredTensor]]:
    """Yield the groups whose bits are the same.

    Copies of one layer are all like the first, and comparing is ten times as fast as a digest. What differs from the
    first is told apart by digests, so that no tensor is read often: of the beginning, then of those that begin alike.
    """
    first, *others = alike
    like_first = [_equal(first.tensor, one.tensor) for one in others]
    if any(like_first):
        yield [first, *compress(others, like_first)]
    rest = [one for one, like in zip(others, like_first, strict=True) if not like]
    for similar in _several(rest, lambda one: _digest(one.tensor, 1)):
        yield from _several(similar, lambda one: _digest(one.tensor))


def _equal(one: Tensor, other: Tensor) -> bool:
    """Compare the bits of two tensors of one shape and type, up to the first block that differs."""
    pairs = zip(_words(one), _words(other), strict=True)
    return all(np.array_equal(mine.view("u1"), its.view("u1")) for mine, its in pairs)


def _several(
    measured: Iterable[MeasuredTensor], key: Callable[[MeasuredTensor], Hashable]
) -> Iterator[list[MeasuredTensor]]:
    """Yield the groups of one key that have more than one member."""
    groups: dict[Hashable, list[MeasuredTensor]] = defaultdict(list)
    for one in measured:
        groups[key(one)].append(one)
    yield from (group for group in groups.values() if len(group) > 1)


def _exact_figures(one: MeasuredTensor) -> Hashable:
    """Return what equal bits have in common; mean and std are not in it: their rounding follows the order in memory."""
    tensor, values = one.tensor, one.values
    return tensor.dtype, tuple(tensor.shape), values.min, values.max, values.zeros, values.nan, values.inf


def _proves_constant(one: MeasuredTensor) -> bool:
    """Tell whether the figures alone prove one constant; those of zeros do not tell 0.0 from −0.0."""
    values = one.values
    finite = values.min is not None and values.min == values.max and not values.nan and not values.inf
    return finite and (values.min != 0 or not one.tensor.dtype.is_floating_point)


def _digest(tensor: Tensor, most: int | None = None) -> bytes:
    """Return a digest of the bits, in the order of the elements; of the first blocks, if so many are enough."""
    digest = hashlib.blake2b(digest_size=32)
    for words in _words(tensor, most):
        digest.update(words.view("u1").data)
    return digest.digest()


def _is_constant(tensor: Tensor) -> bool:
    first = None
    for words in _words(tensor):
        patterns = words.view("u1").reshape(len(words), -1)
        first = patterns[:1] if first is None else first
        if (patterns != first).any():
            return False
    return True


def _words(tensor: Tensor, most: int | None = None) -> Iterator[Array]:
    """Yield the elements in their order, as flat arrays of the words that stand for them."""
    whole = tensor.detach()
    whole = whole.unsqueeze(0) if whole.dim() == 0 else whole
    for index in blocks(whole.shape, BLOCK)[:most]:
        block = whole[index].resolve_conj().resolve_neg().contiguous()
        elements = open_elements(block, WORDS[tensor.dtype], block.numel())
        assert elements is not None  # values were measured, so the memory is there
        yield elements.read((slice(None),))


def readable(tensor: Tensor) -> bool:
    """Tell whether the elements of a tensor can be compared: strided, of a known type, and there are some."""
    return tensor.layout is torch.strided and tensor.dtype in WORDS and tensor.numel() > 0
