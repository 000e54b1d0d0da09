"""Who shares what with whom in a checkpoint: by the bytes that the headers say, and by bytes that are equal."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

from paraminspect.analysis.sharing.byte_sets import layout_of
from paraminspect.analysis.sharing.relations import Relations
from paraminspect.analysis.sharing.sharing_groups import SharingGroup, groups_of
from paraminspect.analysis.sharing.tensor_memory import Memory, Piece
from paraminspect.errors import UserError
from paraminspect.report import Checkpoint, Sharing, TensorHeader
from paraminspect.sources.checkpoint.file_bytes import Bytes, open_bytes
from paraminspect.sources.checkpoint.torch_zip import read_zip

_BLOCK: Final = 2**20
_BUFFERS: Final = ("inv_freq", "mask", "masked_bias", "position_ids", "num_batches_tracked", "relative_position_index")


def sharing_of(checkpoint: Checkpoint, advance: Callable[[int], None] = lambda _: None) -> tuple[Sharing, ...]:
    """Return all groups: of one storage, of ties that the file declares, of equal bytes; ordered by the first name.

    Bytes are compared where dtype and shape agree: their beginnings, then the whole of those that begin alike.
    """
    tensors = checkpoint.tensors
    found = [*_by_memory(tensors), *_declared(checkpoint)]
    together = {name: number for number, one in enumerate(found) for name in one.names}
    found += _equal(checkpoint, together, advance)
    places = {tensor.name: place for place, tensor in enumerate(tensors)}
    return tuple(sorted(found, key=lambda one: min(places.get(name, len(places)) for name in one.names)))


# --- one storage -----------------------------------------------------------------------------------------------


def _by_memory(tensors: Sequence[TensorHeader]) -> Iterator[Sharing]:
    storages = Counter(tensor.storage for tensor in tensors)
    numbers: dict[Any, int] = {}
    memories = [
        _memory(tensor, numbers) if storages[tensor.storage] > 1 or tensor.stride is not None else None
        for tensor in tensors
    ]
    if not any(memories):
        return
    for group in groups_of(Relations(memories)):
        yield _sharing(group, [tensors[number] for number in group.members])


def _memory(tensor: TensorHeader, numbers: dict[Any, int]) -> Memory | None:
    if tensor.start is None or tensor.storage is None or not tensor.numel or not tensor.bytes or tensor.pieces:
        return None
    width = tensor.bytes // tensor.numel
    layout = layout_of(tensor.start, width, tensor.shape, tensor.stride or _contiguous(tensor.shape))
    if layout is None or not width:
        return None
    number = numbers.setdefault(tensor.storage, len(numbers))
    return Memory((Piece(number, number, layout),), (tensor.dtype, tensor.shape, tensor.stride), tensor.bytes, ())


def _contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    strides = [1]
    for size in reversed(shape[1:]):
        strides.append(strides[-1] * size)
    return tuple(reversed(strides)) if shape else ()


def _sharing(group: SharingGroup, members: Sequence[TensorHeader]) -> Sharing:
    first = members[0]
    widths = {(one.bytes or 0) // max(one.numel, 1) for one in members}
    width = widths.pop() if len(widths) == 1 else 0
    return Sharing(
        kind=group.kind,
        names=tuple(one.name for one in members),
        numel=group.bytes // width if group.bytes is not None and width else None,
        bytes=group.bytes,
        storage_bytes=first.held if len({one.storage for one in members}) == 1 else None,
    )


def _declared(checkpoint: Checkpoint) -> Iterator[Sharing]:
    """Yield the ties that safetensors' ``__metadata__`` keeps: a name that was not written, and the one that was."""
    known = {tensor.name: tensor for tensor in checkpoint.tensors}
    kept: dict[str, list[str]] = defaultdict(list)
    for name, other in checkpoint.ties.items():
        if name not in known:
            kept[other].append(name)
    for other, names in kept.items():
        header = known[other]
        yield Sharing(
            "same-view",
            (other, *names),
            header.numel,
            header.bytes,
            declared=True,
            verdict="intact",
            origin="__metadata__",
        )


# --- equal bytes -----------------------------------------------------------------------------------------------


def _equal(checkpoint: Checkpoint, together: Mapping[str, int], advance: Callable[[int], None]) -> Iterator[Sharing]:
    """Yield the groups of tensors in bytes of their own that are the same bit for bit."""
    with ExitStack() as stack:
        files: dict[int, Bytes] = {}

        def file(number: int) -> Bytes:
            if number not in files:
                files[number] = stack.enter_context(open_bytes(checkpoint.paths[number]))
            return files[number]

        def beginning(tensor: TensorHeader) -> Hashable:
            return next(iter(_blocks(tensor, file, 4096)), b"")

        for alike in _several(checkpoint.tensors, lambda one: (one.dtype, one.shape) if _is_readable(one) else None):
            for similar in _several(alike, beginning):
                apart = list({together.get(one.name, one.name): one for one in reversed(similar)}.values())[::-1]
                for same in _several(apart, lambda one: _digest(one, file, advance)) if len(apart) > 1 else ():
                    yield _copies(same, _is_constant(same[0], file))


def _is_readable(tensor: TensorHeader) -> bool:
    return bool(tensor.numel and tensor.bytes and tensor.stride is None and (tensor.start is not None or tensor.pieces))


def _several(tensors: Iterable[TensorHeader], key: Callable[[TensorHeader], Hashable]) -> Iterator[list[TensorHeader]]:
    """Yield the groups of several members that have a key in common; what has none or cannot be read is in none."""
    groups: dict[Hashable, list[TensorHeader]] = defaultdict(list)
    for one in tensors:
        try:
            groups[key(one)].append(one)
        except UserError:
            continue
    yield from (group for found, group in groups.items() if len(group) > 1 and found is not None)


def _blocks(tensor: TensorHeader, file: Callable[[int], Bytes], block: int = _BLOCK) -> Iterator[bytes]:
    """Yield the bytes of a tensor, of each of its chunks in turn."""
    places = [(tensor.file, tensor.start, tensor.bytes)]
    if tensor.pieces:
        inner = [read_zip(file(one.file), one.file, one.start, one.bytes).tensors for one in tensor.pieces]
        places = [(one.file, one.start, one.bytes) for found in inner for one in found if one.stride is None]
    for number, start, length in places:
        if number is None or start is None or length is None:
            raise UserError("cannot be read", where=tensor.name)
        for at in range(start, start + length, block):
            yield file(number).read(at, min(block, start + length - at))


def _digest(tensor: TensorHeader, file: Callable[[int], Bytes], advance: Callable[[int], None]) -> Hashable:
    found = hashlib.blake2b(repr([(one.offsets, one.shape) for one in tensor.pieces]).encode())
    for block in _blocks(tensor, file):
        found.update(block)
        advance(len(block))
    return found.digest()


def _is_constant(tensor: TensorHeader, file: Callable[[int], Bytes]) -> bool:
    """Tell whether all elements are the same: a block is, if it is itself moved on by one element."""
    width = max((tensor.bytes or 0) // tensor.numel, 1)
    first = b""
    for block in _blocks(tensor, file):
        first = first or block[:width]
        if block[:width] != first or block[width:] != block[:-width]:
            return False
    return True


def _copies(same: Sequence[TensorHeader], constant: bool) -> Sharing:
    first = same[0]
    is_table = not first.dtype.startswith(("float", "bfloat", "F", "complex")) or first.name.endswith(_BUFFERS)
    kind = "equal-constant" if constant else "equal-buffers" if is_table else "equal-not-shared"
    return Sharing(kind, tuple(one.name for one in same), first.numel, first.bytes)
