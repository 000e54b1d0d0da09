"""The bytes of one tensor of a checkpoint in the order of its elements, wherever they lie in the files."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from paraminspect.errors import UserError
from paraminspect.report import TensorHeader
from paraminspect.sources.checkpoint.file_bytes import Bytes
from paraminspect.sources.checkpoint.torch_zip import read_zip

Raw = np.ndarray[Any, np.dtype[np.uint8]]
Fill = Callable[[int, memoryview], None]
"""Fill memory with the bytes from a position on."""


class FlatBytes(NamedTuple):
    """`length` bytes that `fill` gives from any position on: those from `start` on, in a file where others lie too.

    Where `whole` is set they lie in no order that could be read piece by piece: it returns all of them.
    """

    fill: Fill | None
    start: int
    length: int
    whole: Callable[[], Raw] | None = None
    place: int | None = None

    def array(self) -> Raw:
        """Return all the bytes."""
        if self.whole is not None:
            return self.whole()
        found = np.empty(self.length, np.uint8)
        if self.fill is not None and self.length:
            self.fill(self.start, memoryview(found))  # type: ignore[arg-type]  # an array is a buffer
        return found


def flat_bytes(header: TensorHeader, files: Sequence[Bytes]) -> FlatBytes | None:
    """Return where the bytes of a tensor are, None where they cannot be read."""
    if header.bytes is None or header.why:
        return None
    if not header.bytes:
        return FlatBytes(None, 0, 0)
    if header.pieces:
        return FlatBytes(None, 0, header.bytes, lambda: _joined(header, files))
    if header.start is None or header.file is None:
        return None
    file = files[header.file]
    if header.stride is None:
        return FlatBytes(file.read_into, header.start, header.bytes, place=header.file)
    return FlatBytes(None, 0, header.bytes, lambda: _strided(header, file))


def _strided(header: TensorHeader, file: Bytes) -> Raw:
    """Read all the memory that a tensor spans, and pick its elements in their order."""
    assert header.bytes is not None and header.stride is not None and header.start is not None
    width = header.bytes // max(header.numel, 1)
    reach = 1 + sum((size - 1) * step for size, step in zip(header.shape, header.stride, strict=True))
    memory = np.empty((reach, width), np.uint8)
    file.read_into(header.start, memoryview(memory.reshape(-1)))  # type: ignore[arg-type]  # an array is a buffer
    elements = np.lib.stride_tricks.as_strided(
        memory, (*header.shape, width), (*(step * width for step in header.stride), 1), writeable=False
    )
    return np.ascontiguousarray(elements).reshape(-1)


def _joined(header: TensorHeader, files: Sequence[Bytes]) -> Raw:
    """Put a tensor together from its blocks, each a file of torch.save of its own."""
    assert header.bytes is not None
    width = header.bytes // max(math.prod(header.shape), 1)
    found = np.empty((*header.shape, width), np.uint8)
    for piece in header.pieces:
        file = files[piece.file]
        inner = read_zip(file, piece.file, piece.start, piece.bytes).tensors
        part = flat_bytes(inner[0], files) if len(inner) == 1 else None
        if part is None or part.length != math.prod(piece.shape) * width:
            message = f"its chunk at {list(piece.offsets)} of {header.name!r} is not the tensor that .metadata says"
            raise UserError(message, where=file.name, hint="save it again", code="lying-size")
        where = tuple(slice(at, at + size) for at, size in zip(piece.offsets, piece.shape, strict=True))
        found[where] = part.array().reshape((*piece.shape, width))
    return found.reshape(-1)
