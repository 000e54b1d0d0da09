"""A file of torch.save before 1.6: pickles one behind the other, then the bytes of each storage behind its length."""

from __future__ import annotations

from typing import Final

from paraminspect.errors import UserError
from paraminspect.report import Fault, TensorHeader
from paraminspect.sources.checkpoint.file_bytes import Bytes
from paraminspect.sources.checkpoint.file_contents import FileContents
from paraminspect.sources.checkpoint.pickle_walk import LONGEST, BadPickle, Walked, walk
from paraminspect.sources.checkpoint.pickled_values import brief, is_contiguous
from paraminspect.sources.checkpoint.torch_objects import TorchObjects, torch_objects

_FIRST: Final = 1 << 20


def read_legacy(file: Bytes, number: int = 0) -> FileContents:
    """List a file of torch.save's old format. Raises UserError where it breaks off before its storages."""
    objects, keys, data = _pickles(file)
    starts, faults = _storages(file, keys, data, objects)
    tensors: list[TensorHeader] = []
    for tensor in objects.tensors:
        ref, header = tensor.storage, tensor.header()
        if ref is not None:
            width, last = (tensor.bits or 8) // 8, tensor.reach
            start = starts.get(ref.key)
            why = "" if start is not None else "its storage is missing in the file"
            if start is not None and last > ref.bytes:
                why = f"needs {last:,} bytes of its storage {ref.key!r}, which has {ref.bytes:,}"
                faults.append(Fault("lying-size", "error", tensor.name, why))
            elif start is not None and start + last > file.size:
                why = "the file ends before it"
            header = header._replace(
                file=number,
                start=None if why or start is None else start + tensor.offset * width,
                stride=None if is_contiguous(tensor.shape, tensor.stride) else tensor.stride,
                storage=(number, ref.key),
                held=ref.bytes,
                why=why,
            )
        tensors.append(header)
    return objects.contents(tensors, faults)


def _pickles(file: Bytes) -> tuple[TorchObjects, list[str], int]:
    """Read the five pickles at the start; return what they hold, the keys of the storages, where these begin."""
    length = min(_FIRST, file.size)
    while True:
        data = file.read(0, length)
        try:
            walked: list[Walked] = []
            at = 0
            for _ in range(5):
                walked.append(walk(data, at, for_storages=2 * file.size))
                at = walked[-1].end
        except BadPickle as error:
            whole = length == min(file.size, LONGEST)
            if not whole and error.message == "it breaks off":
                length = min(4 * length, file.size, LONGEST)
                continue
            cut = "ends in its pickle" if error.message == "it breaks off" else f"cannot be read: {error.message}"
            code = "truncated" if error.message == "it breaks off" else "bad-pickle"
            raise UserError(f"{cut}, at byte {error.at:,}", where=file.name, code=code) from None
        keys = walked[4].value
        if not isinstance(keys, list) or not all(isinstance(key, (str, int)) for key in keys):
            raise UserError("its list of storages makes no sense", where=file.name, code="bad-pickle")
        objects = torch_objects(walked[3].value, walked[3].globals, file.name)
        return objects, [key[:1000] if isinstance(key, str) else brief(key) for key in keys], at


def _storages(file: Bytes, keys: list[str], at: int, objects: TorchObjects) -> tuple[dict[str, int], list[Fault]]:
    """Find where each storage's bytes begin: each stands behind its number of elements, in eight bytes."""
    sizes = {tensor.storage.key: tensor.storage for tensor in objects.tensors if tensor.storage is not None}
    starts: dict[str, int] = {}
    for place, key in enumerate(keys):
        ref = sizes.get(key)
        if ref is None:
            message = f"its storage {key!r} belongs to no tensor: what follows cannot be placed"
            return starts, [Fault("stray-record", "error", file.name, message)]
        if at + 8 > file.size:
            return starts, [_cut(file, place, len(keys))]
        numel = int.from_bytes(file.read(at, 8), "little")
        if numel != ref.numel:
            message = f"its storage {key!r} has {numel:,} elements, {ref.numel:,} are declared"
            return starts, [Fault("lying-size", "error", file.name, message)]
        starts[key] = at + 8
        at += 8 + ref.bytes
        if at > file.size:
            return starts, [_cut(file, place, len(keys))]
    if at < file.size:
        message = f"has {file.size - at:,} bytes behind its last storage"
        return starts, [Fault("trailing-bytes", "warning", file.name, message)]
    return starts, []


def _cut(file: Bytes, complete: int, count: int) -> Fault:
    return Fault("truncated", "error", file.name, f"is cut off: {complete:,} of {count:,} storages are complete")
