"""The tensors of a checkpoint by their names; where a training checkpoint nests them, every place that has some.

The files are listed first, as data, and the tensors then made of the bytes that the listing found sound: no pickle is
ever loaded.
"""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import field
from typing import Any

import torch
from torch import Tensor

from paraminspect.errors import UserError
from paraminspect.frozen import dataclass
from paraminspect.report import Checkpoint, TensorHeader
from paraminspect.sources.checkpoint.file_bytes import Bytes, open_bytes
from paraminspect.sources.checkpoint.flat_bytes import flat_bytes
from paraminspect.sources.checkpoint.listing import list_checkpoint
from paraminspect.text.escape import some_names

_STATE_DICT = "save tensors alone: torch.save(model.state_dict(), FILE)"


@dataclass(frozen=True)
class StoredTensors:
    """What a file holds: `trees` are its mappings of tensors by where they stand, ``""`` for the file itself.

    `aliases` are names that the file has under another one, as ``safetensors.torch.save_model`` writes a tie.
    """

    path: str
    trees: Mapping[str, Mapping[str, Any]]
    beside: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)


def check_weights(path: str) -> Checkpoint:
    """List a checkpoint that is to be loaded. Raises UserError where it is none, is unsound, or holds code."""
    found = list_checkpoint(path)
    for fault in found.faults:
        if fault.code == "unsafe-global":
            message = f"holds more than tensors, which could run code: {fault.message}; nothing in it was run"
            raise _refusal(path, message, _STATE_DICT)
        if fault.severity == "error":
            place = "" if fault.where in (path, os.path.basename(path)) else f"{fault.where!r} "  # noqa: PTH119  # a URL too
            raise _refusal(path, f"is not sound: {place}{fault.message}", "fetch or save it again")
    if [tensor.name for tensor in found.tensors] == [""]:
        raise _refusal(path, "holds one tensor without a name, not a state_dict", _STATE_DICT)
    if not any(tensor.inside is not None for tensor in found.tensors):
        keys = dict.fromkeys(name.partition(".")[0] for name in found.other)
        what = f"holds no tensors by name: {some_names(list(keys))}" if keys else "holds nothing"
        raise _refusal(path, what, _STATE_DICT)
    return found


def read_tensors(path: str) -> StoredTensors:
    """Read the tensors of a checkpoint onto the CPU. Raises UserError for whatever is none, see `check_weights`."""
    found = check_weights(path)
    with ExitStack() as stack:
        files = [stack.enter_context(open_bytes(one)) for one in found.paths]
        tensors = read_all(found.tensors, files, path)
    return by_place(path, found, tensors)


def by_place(path: str, found: Checkpoint, tensors: Sequence[Tensor]) -> StoredTensors:
    """Sort the tensors of a checkpoint, one for each of its headers, by the mapping in which they stand.

    Those of a module that was saved whole stand in none: load_state_dict takes no module.
    """
    every: dict[str, OrderedDict[str, Any]] = {}
    for header, tensor in zip(found.tensors, tensors, strict=True):
        if header.inside is not None and header.inside not in found.modules:
            less = f"{header.inside}." if header.inside else ""
            every.setdefault(header.inside, OrderedDict())[header.name.removeprefix(less)] = tensor
    for inside, versions in found.versions.items():
        if inside in every:
            every[inside]._metadata = versions  # type: ignore[attr-defined]  # torch keeps versions of modules there
    whole = {inside: tree for inside, tree in every.items() if not _beside(inside, found.other)}
    top = dict.fromkeys(name.partition(".")[0] for name in (*(one.name for one in found.tensors), *found.other))
    aliases = {name: kept for name, kept in found.ties.items() if name not in every.get("", {})}
    return StoredTensors(path, whole or every, tuple(top), aliases)


def _beside(inside: str, other: Mapping[str, str]) -> bool:
    """Tell whether a mapping holds values that are no tensors, as that of a whole training checkpoint does."""
    less = f"{inside}." if inside else ""
    rest = [name.removeprefix(less) for name in other if name.startswith(less)]
    return any("." not in name and not name.endswith("_extra_state") for name in rest)


def read_all(headers: Sequence[TensorHeader], files: Sequence[Bytes], path: str) -> list[Tensor]:
    """Make the tensors: those that lie in one storage share their memory, as they did when they were saved."""
    extents: dict[Any, tuple[int, int]] = {}
    for header in headers:
        if header.start is not None:
            first, last = header.start, header.start + _reach(header)
            low, high = extents.get(header.storage, (first, last))
            extents[header.storage] = min(low, first), max(high, last)
    memory: dict[Any, Tensor] = {}
    return [_tensor(header, files, extents, memory, path) for header in headers]


def _reach(header: TensorHeader) -> int:
    """Return how many bytes lie from the first element of a tensor to its last, both included."""
    if header.bytes is None or header.stride is None:
        return header.bytes or 0
    width = header.bytes // max(header.numel, 1)
    return width * (1 + sum((size - 1) * step for size, step in zip(header.shape, header.stride, strict=True)))


def _tensor(
    header: TensorHeader,
    files: Sequence[Bytes],
    extents: Mapping[Any, tuple[int, int]],
    memory: dict[Any, Tensor],
    path: str,
) -> Tensor:
    dtype = getattr(torch, header.dtype, None)
    if not isinstance(dtype, torch.dtype):
        raise _refusal(path, f"{header.name!r} is of a type that torch does not have: {header.dtype}", "")
    if not header.numel:
        return torch.empty(header.shape, dtype=dtype)
    if header.pieces:
        whole = flat_bytes(header, files)
        if whole is None:
            raise _refusal(path, f"{header.name!r} cannot be read: {header.why}", "")
        return torch.from_numpy(whole.array()).view(dtype).reshape(header.shape)
    if header.start is None or header.file is None:
        raise _refusal(path, f"{header.name!r} cannot be read: {header.why or 'its bytes are not in the file'}", "")
    low, high = extents[header.storage]
    if header.storage not in memory:
        memory[header.storage] = _bytes(files[header.file], low, high - low)
    offset = header.start - low
    raw = memory[header.storage]
    if offset % dtype.itemsize or (raw.numel() - offset) % dtype.itemsize:
        raw, offset = raw[offset : offset + _reach(header)].clone(), 0
    return raw.view(dtype).as_strided(
        header.shape, header.stride or _contiguous(header.shape), offset // dtype.itemsize
    )


def _contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    steps = [math.prod(shape[place + 1 :]) for place in range(len(shape))]
    return tuple(steps)


def _bytes(file: Bytes, start: int, length: int) -> Tensor:
    raw = torch.empty(length, dtype=torch.uint8)
    file.read_into(start, memoryview(raw.numpy()))  # type: ignore[arg-type]
    return raw


def _refusal(path: str, message: str, hint: str) -> UserError:
    return UserError(message, where=path, hint=hint, code="unreadable-checkpoint")
