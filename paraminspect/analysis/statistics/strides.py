"""Which elements a strided tensor visits, from its shape and strides alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Dims = list[tuple[int, int]]  # (size, stride in elements), largest stride first
Index = tuple[int | slice, ...]


def simplified(shape: Sequence[int], strides: Sequence[int]) -> Dims:
    """Return the fewest dimensions that visit the same elements as often, in order of memory."""
    dims: Dims = []
    for size, stride in sorted(zip(shape, strides, strict=True), key=lambda dim: -dim[1]):
        if size == 1:
            continue
        if dims and dims[-1][1] == stride * size:
            dims[-1] = (dims[-1][0] * size, stride)
        else:
            dims.append((size, stride))
    return dims or [(1, 1)]


def span(dims: Dims) -> int:
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


def blocks(shape: Sequence[int], limit: int) -> list[Index]:
    """Cut an array of `shape` into blocks of at most `limit` elements, in order, none thinner than it must be."""
    axis, inner = len(shape) - 1, 1
    while axis and inner * shape[axis] <= limit:
        inner *= shape[axis]
        axis -= 1
    rows = max(1, limit // inner)
    parts = [slice(start, start + rows) for start in range(0, shape[axis], rows)]
    return [(*outer, part) for outer in itertools.product(*map(range, shape[:axis])) for part in parts]
