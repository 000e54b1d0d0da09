"""A folder of torch.distributed.checkpoint: its ``.metadata``, and files that are zips one behind the other."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cache, partial
from typing import Any, Final

from paraminspect.errors import UserError
from paraminspect.report import Checkpoint, Chunk, Fault, OptimizerGroups, Part, Shape, TensorHeader
from paraminspect.sources.checkpoint.distributed_metadata import (
    ItemPlace,
    chunks_of,
    dtype_of,
    fields_of,
    items_of,
    metadata_of,
    places_of,
    size_of,
)
from paraminspect.sources.checkpoint.element_types import TORCH_BITS
from paraminspect.sources.checkpoint.file_bytes import Bytes, is_remote, open_bytes, without_secrets
from paraminspect.sources.checkpoint.file_contents import FaultList
from paraminspect.sources.checkpoint.pickle_walk import Called
from paraminspect.sources.checkpoint.shard_index import in_folder
from paraminspect.sources.checkpoint.torch_zip import read_zip
from paraminspect.text.numbers import plural

_FOR_A_BYTE: Final = 4
"""Bytes in memory that the pickle may take for a byte of data: its smallest item takes 1.2 kB there, 5 kB here."""

_MOST_CHUNKS: Final = 4_000_000
_MOST_COMPARED: Final = 1_000_000
_MOST_OBJECTS: Final = 1_000
_MOST_OF_OBJECTS: Final = 2**23
"""Bytes: reading a pickle as data takes about a second a megabyte, and a file can name one object many times."""


def read_distributed(folder: str, names: list[str]) -> Checkpoint:
    """List such a folder, given the names of its files. Raises UserError where its ``.metadata`` is unreadable."""
    if ".metadata" not in names:
        message = "was being written when something ended that: there is .metadata.tmp, and no .metadata"
        raise UserError(
            message,
            where=without_secrets(folder),
            hint="its tensors cannot be placed; save it again",
            code="interrupted",
        )
    length_of = cache(partial(_length, folder))
    metadata, count = metadata_of(in_folder(folder, ".metadata"), _FOR_A_BYTE * _data_bytes(names, length_of))
    faults: list[Fault] = []
    if ".metadata.tmp" in names:
        faults.append(
            Fault("interrupted", "warning", without_secrets(folder), "has .metadata.tmp: a later save was interrupted")
        )
    places = places_of(metadata.get("storage_data"))
    files = sorted({place.path for found in places.values() for place in found.values()})
    parts, lengths = _parts(files, names, length_of, faults)
    numbers = {name: number for number, name in enumerate(files)}
    tensors: list[TensorHeader] = []
    objects: dict[str, dict[Shape | None, ItemPlace]] = {}
    left = _MOST_CHUNKS
    for name, described in items_of(metadata.get("state_dict_metadata")):
        kind = described.name if isinstance(described, Called) else ""
        if kind.endswith("TensorStorageMetadata"):
            left -= _count(described)
            if left < 0:
                message = f"has more than {_MOST_CHUNKS:,} chunks of tensors: they are not read"
                raise UserError(message, where=folder, code="bad-pickle")
            tensors.append(_tensor(name, described, places.get(name, {}), numbers, lengths, faults))
        else:
            objects[name] = places.get(name, {})
    other, read, sizes, optimizers = _objects(objects, folder, lengths, faults)
    return Checkpoint(
        "torch.distributed.checkpoint",
        without_secrets(folder),
        tuple(parts),
        tuple(tensors),
        tuple(in_folder(folder, name) for name in files),
        other=other,
        faults=tuple(FaultList(faults).faults(without_secrets(folder))),
        bytes_read=count + read,
        optimizers=optimizers,
        value_bytes=sizes,
    )


def _objects(
    items: dict[str, dict[Shape | None, ItemPlace]], folder: str, lengths: dict[str, int | None], faults: list[Fault]
) -> tuple[dict[str, str], int, dict[str, int], tuple[OptimizerGroups, ...]]:
    """Return the objects beside the tensors as short texts by their path, and how many bytes were read for that.

    Also how many bytes they take, by the first part of their path, and what is said of optimizers. Each is a zip of
    torch.save, of which torch would run the pickle when it loads it: here it is read as data. Those that are large, far
    away or beyond a number are named with their bytes alone.
    """
    found: dict[str, str] = {}
    sizes: dict[str, int] = {}
    optimizers: list[OptimizerGroups] = []
    unsafe: dict[str, Fault] = {}
    with ExitStack() as stack:
        opened: dict[str, Bytes] = {}
        left = _MOST_OF_OBJECTS
        for number, (name, places) in enumerate(items.items()):
            found[name] = f"{sum(place.length for place in places.values()):,} bytes, not read"
            first = name.partition(".")[0]
            sizes[first] = sizes.get(first, 0) + sum(place.length for place in places.values())
            place = next(iter(places.values()), None)
            if place is None or number >= _MOST_OBJECTS or place.length > left or is_remote(folder):
                continue
            if lengths.get(place.path) is None:
                continue
            left -= max(place.length, 0)
            try:
                if place.path not in opened:
                    opened[place.path] = stack.enter_context(open_bytes(in_folder(folder, place.path)))
                objects = read_zip(opened[place.path], 0, place.start, place.length, name)
            except UserError as error:
                faults.append(Fault(error.code, "warning", name, error.message))
                continue
            if objects.other or objects.tensors:
                del found[name]
            found |= objects.other
            optimizers += objects.optimizers
            found |= {one.name: f"{one.dtype} tensor {one.shape}, in an object" for one in objects.tensors}
            unsafe |= {fault.message: fault for fault in objects.faults}
        faults += unsafe.values()
        return found, sum(file.count for file in opened.values()), sizes, tuple(optimizers)


# --- the files -------------------------------------------------------------------------------------------------


def _length(folder: str, name: str) -> int:
    with open_bytes(in_folder(folder, name)) as file:
        return file.size


def _data_bytes(names: list[str], length_of: Callable[[str], int]) -> int:
    """Return how many bytes the files of data take that are there."""
    total = 0
    for name in names:
        with suppress(UserError):
            total += length_of(name) if name.endswith(".distcp") else 0
    return total


def _parts(
    files: list[str], names: list[str], length_of: Callable[[str], int], faults: list[Fault]
) -> tuple[list[Part], dict[str, int | None]]:
    """Look how long each file is; one that leads out of the folder is not looked at."""
    parts: list[Part] = []
    for name in files:
        length: int | None = None
        if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or "\0" in name or not name:
            faults.append(Fault("path-escape", "error", name, "the file's name leads out of the folder: not opened"))
        else:
            try:
                length = length_of(name)
            except UserError as error:
                missing = error.code == "no-such-file"
                message = "the file is missing" if missing else error.message
                faults.append(Fault("missing-shard" if missing else error.code, "error", name, message))
        parts.append(Part(name, length))
    faults += [
        Fault("stray-shard", "warning", name, "lies in the folder; .metadata does not name it")
        for name in names
        if name.endswith(".distcp") and name not in files
    ]
    return parts, {part.name: part.bytes for part in parts}


def _tensor(
    name: str,
    described: Called,
    places: dict[Shape | None, ItemPlace],
    numbers: dict[str, int],
    lengths: dict[str, int | None],
    faults: list[Fault],
) -> TensorHeader:
    """Return the header of one tensor, its chunks checked: each there, all of them tiling it."""
    fields = fields_of(described)
    shape = size_of(fields.get("size"))
    dtype = dtype_of(fields.get("properties"))
    bits = TORCH_BITS.get(dtype)
    if shape is None:
        faults.append(Fault("bad-entry", "error", name, "its entry has no size"))
        return TensorHeader(name, dtype, (), None, why="its entry has no size")
    pieces: list[Chunk] = []
    lacking = packed = ""
    for chunk in chunks_of(fields):
        offsets, sizes = size_of(fields_of(chunk).get("offsets")), size_of(fields_of(chunk).get("sizes"))
        if offsets is None or sizes is None or not len(offsets) == len(sizes) == len(shape):
            lacking = "a chunk of it has no offsets and sizes that fit its shape"
            continue
        place = places.get(offsets) or (places.get(None) if not any(offsets) else None)
        if place is None:
            lacking = f"its chunk at {list(offsets)} is in no file"
            continue
        length = lengths.get(place.path)
        if length is None or place.start + place.length > length:
            lacking = f"{place.path} is missing or ends before its chunk at {list(offsets)}"
            continue
        needed = math.prod(sizes) * (bits or 0) // 8
        if place.is_packed:
            packed = "it is stored compressed: its values are not read"
        elif needed > place.length:
            lacking = f"its chunk at {list(offsets)} needs {needed:,} bytes and has {place.length:,}"
            continue
        pieces.append(Chunk(offsets, sizes, numbers[place.path], place.start, place.length))
    if lacking:
        faults.append(Fault("missing-tensor", "error", name, lacking))
    elif not _tile(shape, pieces):
        lacking = f"its {plural(len(pieces), 'chunk')} do not tile its shape {shape}"
        faults.append(Fault("hole", "error", name, lacking))
    elif packed:
        faults.append(Fault("no-values", "warning", name, packed))
    kept = None if bits is None else math.prod(shape) * bits // 8
    first = pieces[0].file if pieces else None
    return TensorHeader(
        name, dtype, shape, kept, first, storage=name, held=kept, why=lacking or packed, pieces=tuple(pieces)
    )


def _count(described: Any) -> int:
    return 1 + len(chunks_of(fields_of(described)))


def _tile(shape: Shape, pieces: list[Chunk]) -> bool:
    """Tell whether blocks fill a shape: none reaches out of it, none overlaps, their volumes add up."""
    for piece in pieces:
        if any(at + size > whole for at, size, whole in zip(piece.offsets, piece.shape, shape, strict=True)):
            return False
    if sum(math.prod(piece.shape) for piece in pieces) != math.prod(shape):
        return False
    return not shape or not _any_overlap([piece for piece in pieces if math.prod(piece.shape)], len(shape))


def _any_overlap(pieces: list[Chunk], dimensions: int) -> bool:
    """Tell whether two blocks overlap: each is held against those that begin before it ends, along one dimension.

    The dimension is that in which they begin at the most places. The comparisons are bounded, so that a grid of 10,000
    by 10,000 blocks is taken as it is.
    """
    along = max(range(dimensions), key=lambda axis: len({piece.offsets[axis] for piece in pieces}))
    pieces = sorted(pieces, key=lambda piece: piece.offsets[along])
    left = _MOST_COMPARED
    for place, one in enumerate(pieces):
        end = one.offsets[along] + one.shape[along]
        for later in range(place + 1, len(pieces)):
            if pieces[later].offsets[along] >= end:
                break
            left -= 1
            if _overlap(one, pieces[later]):
                return True
            if left < 0:
                return False
    return False


def _overlap(one: Chunk, other: Chunk) -> bool:
    return all(
        a < b + m and b < a + n for a, n, b, m in zip(one.offsets, one.shape, other.offsets, other.shape, strict=True)
    )
