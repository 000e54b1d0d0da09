"""The values of the tensors of a checkpoint, streamed from its files: memory is bounded whatever their size."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import groupby
from typing import Any, Final, NamedTuple, Self, TypeAlias

import numpy as np
import torch

from paraminspect.analysis.statistics.elements import Readable
from paraminspect.analysis.statistics.four_bit import measure_four_bit
from paraminspect.analysis.statistics.number_formats import WORDS
from paraminspect.analysis.statistics.streamed_elements import JoinedElements, StreamedElements, is_tangled
from paraminspect.analysis.statistics.tensor_values import measure_elements
from paraminspect.errors import UserError
from paraminspect.experiments.checkpoint_report import selected
from paraminspect.report import Checkpoint, Failure, Fault, StoredRecord, TensorHeader, Values
from paraminspect.sources.checkpoint.file_bytes import Bytes, ReadAhead, is_remote, open_bytes
from paraminspect.sources.checkpoint.piecewise_crc import PiecewiseCrc
from paraminspect.sources.checkpoint.torch_zip import read_zip

_FOUR_BIT: Final = "float4_e2m1fn_x2"
_LARGE: Final = 2**21
"""Elements from which on a tensor has all threads to itself; smaller ones have one each."""

_Crcs: TypeAlias = dict[tuple[int, int, int], PiecewiseCrc]
"""By file, first byte and length."""

_BLOCK: Final = 2**20
_MOST_THREADS: Final = 4
_MOST_FAILURES: Final = 10


class MeasuredValues(NamedTuple):
    """The figures of tensors by their names, None where they cannot be read, what went wrong, what was changed."""

    values: dict[str, Values | None]
    failures: tuple[Failure, ...] = ()
    faults: tuple[Fault, ...] = ()


def measure_checkpoint(
    checkpoint: Checkpoint, params: Sequence[str], advance: Callable[[int], None] = lambda _: None
) -> MeasuredValues:
    """Measure the tensors that the globs select, file after file, each in the order of its bytes.

    `advance` is told how many bytes were read more. A tensor that cannot be read is a failure; the rest is measured.
    """
    found: dict[str, Values | None] = {}
    failures: list[Failure] = []
    same: dict[Any, list[TensorHeader]] = {}
    for tensor in selected(checkpoint.tensors, params):
        same.setdefault(_view(tensor), []).append(tensor)
    first = sorted((members[0] for members in same.values()), key=_place)
    records = _records(checkpoint, {tensor.name for members in same.values() for tensor in members})
    crcs = {_extent(record): PiecewiseCrc(record.length) for record in records}
    with _Reader(checkpoint.paths) as reader, ThreadPoolExecutor(_threads()) as pool:
        for _, members in groupby(first, key=lambda tensor: (tensor.file, tensor.numel >= _LARGE)):
            one = partial(_one, reader=reader, advance=advance, crcs=crcs)
            tensors = list(members)
            large = tensors[0].numel >= _LARGE or _threads() == 1
            for tensor, values in zip(tensors, map(one, tensors) if large else pool.map(one, tensors), strict=True):
                if isinstance(values, Failure):
                    failures.append(values)
                for name in (other.name for other in same[_view(tensor)]):
                    found[name] = None if isinstance(values, Failure) else values
        faults = tuple(fault for fault in pool.map(partial(_changed, reader, advance, crcs), records) if fault)
    return MeasuredValues(found, tuple(failures[:_MOST_FAILURES]), faults)


def bytes_to_read(checkpoint: Checkpoint, params: Sequence[str]) -> int:
    """Return how many bytes the tensors take that the globs select, and the records that no tensor is all of."""
    tensors = selected(checkpoint.tensors, params)
    names = {tensor.name for tensor in tensors}
    values = sum({_view(tensor): tensor.bytes or 0 for tensor in tensors}.values())
    whole = {(tensor.file, tensor.start, tensor.bytes) for tensor in tensors if tensor.stride is None}
    return values + sum(one.length for one in _records(checkpoint, names) if _extent(one) not in whole)


def _extent(record: StoredRecord) -> tuple[int, int, int]:
    return record.file, record.start, record.length


def _records(checkpoint: Checkpoint, names: Container[str]) -> list[StoredRecord]:
    """Return the records whose checksums are looked at: those of sound files here, as others are read twice for it."""
    is_sound = not any(fault.severity == "error" for fault in checkpoint.faults)
    return [one for one in checkpoint.records if one.name in names and is_sound and not is_remote(checkpoint.path)]


def _changed(reader: _Reader, advance: Callable[[int], None], crcs: _Crcs, record: StoredRecord) -> Fault | None:
    """Return a fault where the bytes of a record are not those that were saved.

    They are read here unless a tensor was measured that is all of them.
    """
    crc = crcs[_extent(record)].whole()
    try:
        if crc is None:
            crc = _crc(record, reader.file(record.file), advance)
    except UserError:  # as the values of the same bytes, which say so
        return None
    if crc == record.crc:
        return None
    message = f"its bytes are not those that were saved: their CRC-32 is {crc:08x}, the archive says {record.crc:08x}"
    return Fault("changed-bytes", "error", record.name, message)


def _crc(record: StoredRecord, file: Bytes, advance: Callable[[int], None]) -> int:
    crc = 0
    for at in range(0, record.length, _BLOCK):
        piece = file.read(record.start + at, min(_BLOCK, record.length - at))
        crc = zlib.crc32(piece, crc)
        advance(len(piece))
    return crc


def _view(tensor: TensorHeader) -> Any:
    """Return what tensors of the very same elements have in common."""
    if tensor.start is None or not tensor.numel:
        return tensor.name
    return tensor.storage, tensor.start, tensor.shape, tensor.stride, tensor.dtype


def _place(tensor: TensorHeader) -> tuple[int, int]:
    return (-1 if tensor.file is None else tensor.file, tensor.start or 0)


def _threads() -> int:
    return min(_MOST_THREADS, torch.get_num_threads())


def _one(tensor: TensorHeader, reader: _Reader, advance: Callable[[int], None], crcs: _Crcs) -> Values | Failure | None:
    try:
        return _measured(tensor, reader, advance, crcs)
    except UserError as error:
        return Failure(error.code, error.message, tensor.name)


def _measured(tensor: TensorHeader, reader: _Reader, advance: Callable[[int], None], crcs: _Crcs) -> Values | None:
    dtype = getattr(torch, tensor.dtype, None)
    is_packed = tensor.dtype == _FOUR_BIT
    if not isinstance(dtype, torch.dtype) or (dtype not in WORDS and not is_packed):
        return None
    if not tensor.numel:
        return Values()
    words = np.dtype(np.uint8) if is_packed else WORDS[dtype]
    parts: list[Readable] = []
    crc: PiecewiseCrc | None = None
    for header in _headers(tensor, reader):
        stride = header.stride
        if header.start is None or header.file is None:
            return None
        if stride is not None and (is_packed or is_tangled(header.shape, stride)):
            return None
        shape = (header.bytes or 0,) if is_packed else header.shape
        crc = crcs.get((header.file, header.start, header.bytes or 0)) if stride is None else None
        read = partial(_read, reader, header.file, header.start, advance, crc)
        parts.append(StreamedElements(shape, words, read, stride))
    if not parts:
        return None
    elements = parts[0] if len(parts) == 1 else JoinedElements(parts)
    found = measure_four_bit(elements) if is_packed else measure_elements(elements, dtype)
    if crc is not None:
        crc.whole()  # of a tensor of a terabyte there are two million pieces
    return found


def _headers(tensor: TensorHeader, reader: _Reader) -> Iterator[TensorHeader]:
    """Yield where the elements lie: in one place, or in a small zip of torch.save for each block."""
    if not tensor.pieces:
        yield tensor
    for piece in tensor.pieces:
        inner = read_zip(reader.file(piece.file), piece.file, piece.start, piece.bytes).tensors
        if len(inner) != 1 or inner[0].dtype != tensor.dtype or inner[0].numel != np.prod(piece.shape, dtype=object):
            message = f"its chunk at {list(piece.offsets)} is not the tensor that .metadata says"
            raise UserError(message, where=tensor.name, code="lying-size")
        yield inner[0]


def _read(
    reader: _Reader,
    file: int,
    start: int,
    advance: Callable[[int], None],
    crc: PiecewiseCrc | None,
    at: int,
    buffer: memoryview,
) -> None:
    reader.file(file).read_into(start + at, buffer)
    if crc is not None:
        crc.add(at, buffer)
    advance(len(buffer))


class _Reader:
    """Files of a checkpoint, each opened when it is first read; those far away are read ahead, one at a time."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._files: dict[int, Bytes] = {}
        self._stack, self._lock = ExitStack(), threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def file(self, number: int) -> Bytes:
        """Return the file of a number."""
        with self._lock:
            if number not in self._files:
                path = self._paths[number]
                file: Bytes = ReadAhead(open_bytes(path)) if is_remote(path) else open_bytes(path)
                self._files[number] = self._stack.enter_context(file)
            return self._files[number]
