"""Read the elements of a tensor as flat numpy arrays, a block at a time, in several threads; it stays as it was."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from paraminspect.modules.wrapper_tensors import PLAIN

Dims = list[tuple[int, int]]  # (size, stride in elements), largest stride first
Index = tuple[int | slice, ...]


def simplified(shape: Sequence[int], strides: Sequence[int]) -> Dims:
    """Return the fewest dimensions that visit the elements as often as these do, in order of memory.

    For example, shape (6, 7, 8) with strides (56, 8, 1) is contiguous: ``[(336, 1)]``.
    """
    dims: Dims = []
    for size, stride in sorted(zip(shape, strides, strict=True), key=lambda dim: -dim[1]):
        if size == 1:
            continue
        if dims and dims[-1][1] == stride * size:
            dims[-1] = (dims[-1][0] * size, stride)
        else:
            dims.append((size, stride))
    return dims or [(1, 1)]


def span(dims: Sequence[tuple[int, int]]) -> int:
    """Return how many elements of memory lie from the first visited to the last, both included."""
    return 1 + sum((size - 1) * stride for size, stride in dims)


def visits(dims: Dims) -> npt.NDArray[np.int64]:
    """Return how often each element of the span is visited; strides must not be 0."""
    counts = np.ones(1, np.int64)
    for size, stride in dims:
        length = counts.size + (size - 1) * stride
        rows = -(-length // stride)
        padded = np.zeros(rows * stride, np.int64)
        padded[: counts.size] = counts
        # Element p gains what p, p - stride, …, p - (size - 1) stride had: a window over every stride-th element.
        sums = padded.reshape(rows, stride).cumsum(axis=0)
        sums[size:] -= sums[:-size].copy()
        counts = sums.reshape(-1)[:length]
    return counts


def lies_whole(tensor: torch.Tensor) -> bool:
    """Tell whether a tensor has elements, in one piece of CPU memory that is all there: freed memory must not be read.

    A subclass may keep its numbers elsewhere, so that it does not.
    """
    if not (
        type(tensor) in PLAIN
        and tensor.is_cpu
        and tensor.layout is torch.strided
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        and not tensor.is_nested
        and not tensor.is_neg()
        and tensor.numel()
        and tensor.data_ptr()
    ):
        return False
    count = tensor.numel()
    if not tensor.is_contiguous() and simplified(tensor.shape, tensor.stride()) != [(count, 1)]:
        return False
    return tensor.untyped_storage().nbytes() >= (tensor.storage_offset() + count) * tensor.element_size()


def blocks(shape: Sequence[int], limit: int) -> list[Index]:
    """Cut an array of `shape` into blocks of at most `limit` elements, in order, none thinner than it must be."""
    axis, inner = len(shape) - 1, 1
    while axis and inner * shape[axis] <= limit:
        inner *= shape[axis]
        axis -= 1
    rows = max(1, limit // inner)
    parts = [slice(start, start + rows) for start in range(0, shape[axis], rows)]
    return [(*outer, part) for outer in itertools.product(*map(range, shape[:axis])) for part in parts]


Array = npt.NDArray[Any]

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Readable(Protocol):
    """Numbers that are read a block at a time, from memory or from a file; see `Elements`."""

    @property
    def size(self) -> int:
        """Return how many elements there are to read."""
        ...

    @property
    def repeat(self) -> int:
        """Return how many equal ones each stands for."""
        ...

    @property
    def visits(self) -> npt.NDArray[np.int64] | None:
        """Return how often each is visited, None where that is once."""
        ...

    def read(self, index: Index) -> Array:
        """Return one block, flat."""
        ...

    def blocks(self, limit: int) -> list[Index]:
        """Return the indices of blocks of at most `limit` elements each that make up the whole."""
        ...

    def sample(self, most: int) -> Array:
        """Return at most `most` elements from all over."""
        ...


class Elements:
    """Give access to `size` elements of a tensor, each standing for `repeat` equal ones.

    Where the tensor visits its memory more often than it has elements there, `visits` says how often it comes to
    each of them; `size` then counts the memory. Reading is safe from several threads.
    """

    def __init__(self, tensor: torch.Tensor, words: np.dtype[Any], dims: Dims, repeat: int, overlapping: bool) -> None:
        self.visits = visits(dims) if overlapping else None
        dims = [(span(dims), 1)] if overlapping else dims
        self.shape = tuple(size for size, _ in dims)
        self.size = math.prod(self.shape)
        self.repeat = repeat
        self._fetch = _fetcher(tensor, words, dims)

    def read(self, index: Index) -> Array:
        """Return one block, flat and in contiguous memory; it may be the tensor's own, and is read-only then."""
        return self._fetch(index).ravel()

    def blocks(self, limit: int) -> list[Index]:
        """Return the indices of blocks of at most `limit` elements each that make up the whole."""
        return blocks(self.shape, limit)

    def sample(self, most: int) -> Array:
        """Return at most `most` elements, evenly spaced.

        The step is odd: one that shares a factor with the width of a matrix would see only some of its columns.
        """
        step = -(-self.size // most)
        if step == 1:
            return self._fetch(...).ravel()
        step += step % 2 == 0
        if len(self.shape) > 1:
            return self._fetch(np.unravel_index(np.arange(0, self.size, step), self.shape))
        words = self.read((slice(None, None, step),))
        return words if self.visits is None else words[self.visits[::step] > 0]

    def fit(self, most: int) -> bool:
        """Say whether a sample of `most` is the whole tensor, every element once."""
        return self.size <= most and self.repeat == 1 and self.visits is None


def open_elements(tensor: torch.Tensor, words: np.dtype[Any], most: int) -> Elements | None:
    """Look at the memory of a strided tensor with elements; None where it has none.

    A tensor of up to `most` elements is read as it is; in a larger one, what a stride of 0 repeats is read once.
    """
    count, repeat, overlapping = tensor.numel(), 1, False
    dims = [(count, 1)] if tensor.is_contiguous() else simplified(tensor.shape, tensor.stride())
    if count > most:
        repeat = math.prod(size for size, stride in dims if not stride)
        dims = [dim for dim in dims if dim[1]] or [(1, 1)]
        overlapping = math.prod(size for size, _ in dims) > span(dims)
    # Memory that was freed (FSDP does it), never read whole or is elsewhere must be unknown, not a segmentation fault.
    needed = (tensor.storage_offset() + span(dims)) * words.itemsize
    if tensor.untyped_storage().nbytes() < needed or (tensor.is_cpu and not tensor.data_ptr()):
        return None
    return Elements(tensor, words, dims, repeat, overlapping)


class _Memory:
    """Lend the memory of a CPU tensor to numpy, read-only.

    ``Tensor.numpy()`` does that too, but forbids the tensor's storage to be resized ever after.
    """

    def __init__(self, tensor: torch.Tensor, words: np.dtype[Any], dims: Dims) -> None:
        self.tensor = tensor  # keeps the memory alive as long as the array is
        self.__array_interface__ = {
            "version": 3,
            "data": (tensor.data_ptr(), True),
            "typestr": words.str,
            "shape": tuple(size for size, _ in dims),
            "strides": tuple(stride * words.itemsize for _, stride in dims),
        }


def _fetcher(tensor: torch.Tensor, words: np.dtype[Any], dims: Dims) -> Callable[[Any], Array]:
    if tensor.is_cpu:
        memory = np.asarray(_Memory(tensor, words, dims))
        return memory.__getitem__
    shape, steps = zip(*dims, strict=True)
    # As integers: not every device can index every type.
    plain = tensor.detach().view(_INTEGERS.get(words.itemsize, tensor.dtype))
    remote = plain.as_strided(shape, steps, plain.storage_offset())

    def fetch(index: Any) -> Array:
        block = remote[index].cpu().contiguous()
        return np.asarray(_Memory(block, words, [(block.numel(), 1)]))

    return fetch


T = TypeVar("T")
Draw = Iterator[tuple[int, Index]]

# Each takes from 8 MiB for float32 to 34 for complex64, and the calls between numpy's operations hold the interpreter
# lock.
_MOST_THREADS = 4


def share(blocks: list[Index], worker: Callable[[Draw], T]) -> list[T]:
    """Call `worker` in up to four threads, as torch allows; each takes numbered blocks until none is left."""
    left = deque(enumerate(blocks))
    threads = min(_MOST_THREADS, torch.get_num_threads(), len(blocks))
    if threads < 2:
        return [worker(_draw(left))]
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(worker, _draw(left)) for _ in range(threads - 1)]
        try:
            return [worker(_draw(left)), *(other.result() for other in others)]
        finally:
            left.clear()  # an interrupt in this thread ends the others too


def _draw(left: deque[tuple[int, Index]]) -> Draw:
    while True:
        try:
            yield left.popleft()
        except IndexError:
            return
