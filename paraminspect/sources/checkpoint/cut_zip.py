"""A zip of torch.save that was cut off: its list of records, which stands at the end, is lost, its beginning is not.

``data.pkl`` comes first and says how long each storage is; the records of these follow it, each behind a header of its
own. So what is complete can still be placed.
"""

from __future__ import annotations

import zipfile
from typing import Final, NamedTuple

from paraminspect.errors import UserError
from paraminspect.report import Fault, TensorHeader
from paraminspect.sources.checkpoint.file_bytes import Bytes
from paraminspect.sources.checkpoint.pickle_walk import LONGEST, BadPickle, Walked, walk
from paraminspect.sources.checkpoint.pickled_values import StoredTensor
from paraminspect.sources.checkpoint.torch_objects import TorchObjects, torch_objects
from paraminspect.text.numbers import plural

LOCAL: Final = 30
"""The length of a zip's local header without its name and its extra field."""

_FIRST: Final = 1 << 20
_SMALL: Final = 4096
_HEADER, _DESCRIPTOR = b"PK\3\4", b"PK\7\x08"


class CutZip(NamedTuple):
    """What is left of it: the objects of the pickle, and the storages of which all bytes are there, by their keys."""

    objects: TorchObjects
    records: dict[str, zipfile.ZipInfo]

    def fault(self, file: Bytes) -> Fault:
        """Say how much is missing, and the first tensor that lies in a storage that is not whole."""
        sizes = {one.storage.key: one.storage.bytes for one in self.objects.tensors if one.storage is not None}
        first = next((one.name for one in self.objects.tensors if self.is_cut(one)), "")
        what = f"; {first!r} is the first tensor that is not" if first else ""
        message = (
            f"is cut off at byte {file.size:,}, its list of records is missing: of {plural(len(sizes), 'storage')} "
            f"({sum(sizes.values()):,} bytes) {len(self.records):,} can be read whole{what}"
        )
        return Fault("truncated", "error", file.name, message)

    def is_cut(self, tensor: StoredTensor) -> bool:
        """Tell whether a tensor lies in a storage that is not all there."""
        return tensor.storage is not None and tensor.storage.key not in self.records

    def lost(self, tensor: StoredTensor, number: int) -> TensorHeader:
        """Return the header of such a tensor."""
        key = tensor.storage.key if tensor.storage is not None else ""
        return tensor.header()._replace(storage=(number, key), why="the file ends before it")


def read_cut_zip(file: Bytes) -> CutZip | None:
    """Read what is left of a zip of torch.save from its start; None where even the pickle is not whole, or none is."""
    name, at = _record(file, 0) or ("", 0)
    if not name.endswith("/data.pkl"):
        return None
    walked = _pickle(file, at)
    if walked is None:
        return None
    objects = torch_objects(walked.value, walked.globals, file.name)
    sizes = {one.storage.key: one.storage.bytes for one in objects.tensors if one.storage is not None}
    folder, at = name.removesuffix("data.pkl") + "data/", walked.end
    records: dict[str, zipfile.ZipInfo] = {}
    for _ in range(2 * len(sizes) + 100):
        found = _record(file, _behind(file, at))
        if found is None:
            break
        name, at = found
        key = name.removeprefix(folder)
        size = sizes[key] if name.startswith(folder) and key in sizes else _length(file, at)
        if size is None or at + size > file.size:
            break
        if key in sizes:
            records[key] = info = zipfile.ZipInfo(name)
            info.file_size = info.compress_size = size
            info.header_offset = at
        at += size
    return CutZip(objects, records)


def _pickle(file: Bytes, at: int) -> Walked | None:
    length = min(at + _FIRST, file.size)
    while True:
        try:
            return walk(file.read(0, length), at, for_storages=2 * file.size)
        except BadPickle as error:
            if error.message != "it breaks off" or length == min(file.size, LONGEST):
                return None
            length = min(2 * length, file.size, LONGEST)


def _record(file: Bytes, at: int) -> tuple[str, int] | None:
    """Return the name of the record whose header begins at a byte, and where its own bytes begin."""
    if at + LOCAL > file.size:
        return None
    head = file.read(at, LOCAL)
    name, extra = int.from_bytes(head[26:28], "little"), int.from_bytes(head[28:30], "little")
    start = at + LOCAL + name + extra
    if head[:4] != _HEADER or start > file.size or head[8:10] != b"\0\0":
        return None
    return file.read(at + LOCAL, name).decode("utf-8", "replace"), start


def _behind(file: Bytes, at: int) -> int:
    """Return where the next header begins: behind the sizes of the record that ends here, of 4 or of 8 bytes each."""
    piece = file.read(at, min(28, file.size - at))
    if piece[:4] != _DESCRIPTOR:
        return at
    return at + (24 if piece[24:28] == _HEADER else 16)


def _length(file: Bytes, at: int) -> int | None:
    """Return how long a small record is, such as the version: its sizes follow it."""
    length = file.read(at, min(_SMALL, file.size - at)).find(_DESCRIPTOR)
    return length if length >= 0 else None


def not_complete(file: Bytes, error: Exception) -> UserError:
    """Return the error for a zip of which nothing can be listed."""
    text = str(error)
    is_cut = "central directory" in text or "not a zip file" in text
    hint = "it was cut off, or its writing was interrupted: fetch it again, or save it again" if is_cut else ""
    return UserError(f"is no complete zip of torch.save: {text}", where=file.name, hint=hint, code="truncated")
