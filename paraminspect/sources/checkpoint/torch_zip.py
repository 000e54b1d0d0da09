"""A file of torch.save since 1.6: a zip of one pickle and one record for each storage. The pickle is read as data."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from paraminspect.errors import UserError
from paraminspect.report import Fault, StoredRecord, TensorHeader
from paraminspect.sources.checkpoint.cut_zip import LOCAL, CutZip, not_complete, read_cut_zip
from paraminspect.sources.checkpoint.file_bytes import Bytes, is_remote
from paraminspect.sources.checkpoint.file_contents import FileContents
from paraminspect.sources.checkpoint.pickle_walk import LONGEST, BadPickle, walk
from paraminspect.sources.checkpoint.pickled_values import StorageRef, StoredTensor, is_contiguous
from paraminspect.sources.checkpoint.torch_objects import torch_objects
from paraminspect.text.numbers import plural

_MOST_LISTED: Final = 2**26
"""How many bytes of a zip are read to list it: those of 800,000 storages. An entry of 47 bytes takes 800 in memory."""

_FOR_A_STORAGE: Final = 2048

_SIZES_FOLLOW: Final = 8  # the flag of a zip that says so
_ALIGNED: Final = 64
_MOST_PADDING: Final = 2**16


class _Window(io.RawIOBase):
    """A part of a file as the file object that zipfile wants; of it `left` more bytes may be read."""

    def __init__(self, file: Bytes, start: int, length: int) -> None:
        self._file, self._start, self._length, self._at = file, start, length, 0
        self.left = _MOST_LISTED

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        count = max(min(len(buffer), self._length - self._at), 0)
        self.left -= count
        if self.left < 0:
            message = f"has a list of records that is longer than {_MOST_LISTED:,} bytes: it is not read"
            raise UserError(message, where=self._file.name, code="header-too-large")
        buffer[:count] = self._file.read(self._start + self._at, count)
        self._at += count
        return count


def read_zip(file: Bytes, number: int = 0, start: int = 0, length: int | None = None, path: str = "") -> FileContents:
    """List a zip of torch.save, which may be a part of a file. Raises UserError where it is none.

    `path` is where in a checkpoint of many zips its object stands.
    """
    size = file.size - start if length is None else length
    try:
        window = _Window(file, start, size)
        with zipfile.ZipFile(io.BufferedReader(window, 65536)) as archive:
            window.left = 2 * LONGEST  # of the records only small ones are read, each checked before
            return _contents(archive, file, number, start, path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        left = read_cut_zip(file) if "not a zip file" in str(error) and not start and length is None else None
        if left is None:
            raise not_complete(file, error) from None
        return _left_of(left, file, number)


def _left_of(left: CutZip, file: Bytes, number: int) -> FileContents:
    """List what a file that was cut off still has."""
    faults = [left.fault(file)]
    placed = _Places(left.records, file, number, 0, have_headers=False)
    tensors = [
        left.lost(one, number) if left.is_cut(one) else placed.header(one, faults) for one in left.objects.tensors
    ]
    return left.objects.contents(tensors, faults)


def _contents(archive: zipfile.ZipFile, file: Bytes, number: int, base: int, path: str) -> FileContents:
    faults: list[Fault] = []
    infos = archive.infolist()
    pickles = [one for one in infos if one.filename.rpartition("/")[2] == "data.pkl" and one.filename.count("/") <= 1]
    if not pickles:
        raise _foreign(infos, file)
    top = pickles[0].filename.removesuffix("data.pkl")
    faults += _zip_faults(infos, file)
    data = _small(archive, pickles[0], file, base)
    try:
        walked = walk(data, for_storages=_FOR_A_STORAGE * len(infos))
    except BadPickle as error:
        message = f"its data.pkl cannot be read at byte {error.at:,}: {error.message}"
        raise UserError(message, where=file.name, code="bad-pickle") from None
    objects = torch_objects(walked.value, walked.globals, file.name, path)
    order = next((one for one in infos if one.filename == f"{top}byteorder"), None)
    if order is not None and _small(archive, order, file, base).strip() == b"big":
        faults.append(Fault("big-endian", "warning", file.name, "was written big-endian: its values are not read here"))
    records = {one.filename.removeprefix(f"{top}data/"): one for one in infos if one.filename.startswith(f"{top}data/")}
    placed = _Places(records, file, number, base, following=_following(archive) if is_remote(file.name) else None)
    tensors = [placed.header(tensor, faults) for tensor in objects.tensors]
    faults += placed.unused(objects.tensors)
    return replace(objects.contents(tensors, faults), records=placed.checked(objects.tensors))


def _small(archive: zipfile.ZipFile, info: zipfile.ZipInfo, file: Bytes, base: int) -> bytes:
    """Read one record whole, if it is of a size that a pickle has and does not unpack to far more."""
    if info.file_size > LONGEST or info.file_size > 100 * max(info.compress_size, 1):
        message = f"its {info.filename!r} unpacks from {info.compress_size:,} to {info.file_size:,} bytes: not read"
        raise UserError(message, where=file.name, code="zip-bomb")
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        message = f"its {info.filename!r} is encrypted, or compressed as torch.save never does"
        raise UserError(message, where=file.name, code="unsupported-source")
    if not info.CRC and info.compress_type == zipfile.ZIP_STORED:  # torch.save was told to write no checksums
        return file.read(_start(file, base + info.header_offset), info.file_size)
    try:
        return archive.read(info)
    except zlib.error as error:
        raise UserError(
            f"its {info.filename!r} cannot be unpacked: {error}", where=file.name, code="truncated"
        ) from None


def _foreign(infos: list[zipfile.ZipInfo], file: Bytes) -> UserError:
    names = {one.filename for one in infos}
    if any(name.endswith("constants.pkl") or "/code/" in name for name in names):
        return UserError("is a TorchScript archive without data.pkl", where=file.name, code="unsupported-source")
    what = "a NumPy archive" if any(name.endswith(".npy") for name in names) else "a zip that torch.save did not write"
    return UserError(f"is {what}: it has no data.pkl", where=file.name, code="unsupported-source")


def _zip_faults(infos: list[zipfile.ZipInfo], file: Bytes) -> list[Fault]:
    """Return what torch.save never does to a zip: deflate, overlap, climb out of its folder, repeat a name."""
    faults: list[Fault] = []
    deflated = [one.filename for one in infos if one.compress_type != zipfile.ZIP_STORED]
    if deflated:
        message = (
            f"{plural(len(deflated), 'record')} of it are compressed, {deflated[0]!r} first: torch.load(mmap=True) "
            "returns garbage from such a file; their values are not read"
        )
        faults.append(Fault("deflated", "error", file.name, message))
    end = 0
    for one in sorted(infos, key=lambda info: info.header_offset):
        if one.header_offset < end:
            faults.append(Fault("overlap", "error", one.filename, "its bytes overlap those of the record before it"))
        end = one.header_offset + LOCAL + len(one.filename.encode()) + one.compress_size
        if one.filename.startswith("/") or ".." in one.filename.split("/"):
            faults.append(Fault("path-escape", "warning", one.filename, "its name leads out of the archive"))
    if len({one.filename for one in infos}) < len(infos):
        faults.append(Fault("duplicate-name", "error", file.name, "has two records of one name"))
    return faults


def _start(file: Bytes, at: int) -> int:
    """Return where the bytes of a record begin: behind its local header at `at`, which only it knows the length of."""
    head = file.read(at, LOCAL)
    return at + LOCAL + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")


def _following(archive: zipfile.ZipFile) -> dict[int, int]:
    """Return for where each record's header is where the next one's is; the directory follows the last."""
    places = sorted(one.header_offset for one in archive.infolist())
    return dict(zip(places, [*places[1:], archive.start_dir], strict=True))


def _start_by_next(record: zipfile.ZipInfo, following: Mapping[int, int]) -> int | None:
    """Return where the bytes of a record begin, which end where the next one begins; None if torch did not write it.

    Far away each local header would be a request. torch.save has the sizes follow the bytes, which it aligns.
    """
    footer = 0 if not record.flag_bits & _SIZES_FOLLOW else 24 if record.file_size >= 2**32 - 1 else 16
    start = following[record.header_offset] - footer - record.compress_size
    first = record.header_offset + LOCAL + len(record.filename.encode())
    return start if first <= start <= first + _MOST_PADDING and start % _ALIGNED == 0 else None


class _Places:
    """Where the storages of a file lie."""

    def __init__(
        self,
        records: dict[str, zipfile.ZipInfo],
        file: Bytes,
        number: int,
        base: int,
        have_headers: bool = True,
        following: Mapping[int, int] | None = None,
    ) -> None:
        self._records, self._file, self._number, self._base = records, file, number, base
        self._have_headers, self._following = have_headers, following
        self._starts: dict[str, int] = {}

    def header(self, tensor: StoredTensor, faults: list[Fault]) -> TensorHeader:
        if tensor.storage is None:
            if tensor.why:
                faults.append(Fault("no-values", "warning", tensor.name, tensor.why))
            return tensor.header()
        ref = tensor.storage
        record = self._records.get(ref.key)
        if record is None:
            message = f"its storage {ref.key!r} is missing in the archive"
            faults.append(Fault("missing-record", "error", tensor.name, message))
            return tensor.header()._replace(why=message, storage=(self._number, ref.key))
        return self._placed(tensor, ref, record, faults)

    def _placed(
        self, tensor: StoredTensor, ref: StorageRef, record: zipfile.ZipInfo, faults: list[Fault]
    ) -> TensorHeader:
        bits, last = tensor.bits, tensor.reach
        why = ""
        if last > record.file_size:
            why = f"needs {last:,} bytes of its storage {ref.key!r}, which has {record.file_size:,}"
            faults.append(Fault("lying-size", "error", tensor.name, why))
        elif record.compress_type != zipfile.ZIP_STORED:
            why = "its storage is compressed"
        return TensorHeader(
            tensor.name,
            tensor.dtype,
            tensor.shape,
            None if bits is None else math.prod(tensor.shape) * bits // 8,
            self._number,
            None if why else self._start(ref.key, record) + tensor.offset * ((bits or 8) // 8),
            None if is_contiguous(tensor.shape, tensor.stride) else tensor.stride,
            (self._number, ref.key),
            record.file_size,
            why,
            inside=tensor.inside,
        )

    def _start(self, key: str, record: zipfile.ZipInfo) -> int:
        """Return where the bytes of a record begin."""
        found = self._starts.get(key)
        if found is None:
            at = self._base + record.header_offset
            if not self._have_headers:
                return at
            before = _start_by_next(record, self._following) if self._following else None
            found = self._starts[key] = _start(self._file, at) if before is None else self._base + before
        return found

    def checked(self, tensors: list[StoredTensor]) -> tuple[StoredRecord, ...]:
        """Return the storages that have a CRC-32: torch.save writes 0 where it is told to write none."""
        first: dict[str, str] = {}
        for tensor in tensors:
            if tensor.storage is not None and tensor.storage.key in self._starts:
                first.setdefault(tensor.storage.key, tensor.name)
        found = ((name, self._starts[key], self._records[key]) for key, name in first.items())
        return tuple(
            StoredRecord(name, self._number, start, info.file_size, info.CRC) for name, start, info in found if info.CRC
        )

    def unused(self, tensors: list[StoredTensor]) -> list[Fault]:
        """Return a fault where the archive has storages that no tensor lies in, or slices that drag more along."""
        if any(tensor.why for tensor in tensors):  # what is not read, as a sparse tensor, may lie in any of them
            return []
        used = {tensor.storage.key for tensor in tensors if tensor.storage is not None}
        stray = [key for key in self._records if key not in used]
        if not stray:
            return []
        held = sum(self._records[key].file_size for key in stray)
        message = f"has {plural(len(stray), 'storage')} ({held:,} bytes) that no tensor lies in"
        return [Fault("stray-record", "note", self._file.name, message)]
