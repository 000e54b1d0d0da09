"""The header of a safetensors file: JSON that says where each tensor lies. The tensors themselves are not read."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Final

from paraminspect.errors import UserError
from paraminspect.report import Fault, TensorHeader
from paraminspect.sources.checkpoint.bounded_json import LONGEST, parse_json, too_long
from paraminspect.sources.checkpoint.element_types import SAFETENSORS
from paraminspect.sources.checkpoint.file_bytes import Bytes
from paraminspect.sources.checkpoint.file_contents import FaultList, FileContents
from paraminspect.text.numbers import plural

LIMIT: Final = 100_000_000
"""The longest header, in bytes, that the reference reader accepts."""

_MOST_AS_DICTS: Final = 32_000_000
_MOST_SIZES: Final = 1_000
_LARGEST: Final = 2**63
_NO_ENTRY: Final = "its entry has no dtype, shape and data_offsets that a tensor can have"


_Entry = tuple[str, tuple[int, ...], int, int]
"""The dtype, the shape, and where the bytes begin and end, counted from the first byte behind the header."""

_Placed = tuple[int, int, str, str, tuple[int, ...]]
"""An entry with its name, in the order that sorts: begin, end, name, dtype, shape."""


def read_header(file: Bytes, number: int = 0) -> FileContents:
    """Read the header of a safetensors file, the one of `number` in its checkpoint.

    Raises UserError where no header can be made out; whatever is wrong with a single tensor is a fault.
    """
    pairs, start = _pairs(file)
    faults = FaultList()
    entries, metadata = _sorted_out(pairs, file.name, faults)
    if start - 8 > LIMIT:
        message = f"a header of {start - 8:,} bytes: the safetensors library reads at most {LIMIT:,}"
        faults.append(Fault("header-too-large", "warning", file.name, message))
    entries.sort()
    tensors = _placed(entries, file, number, start, faults)
    return FileContents(tensors, faults.faults(file.name), metadata)


# --- the JSON --------------------------------------------------------------------------------------------------


def _pairs(file: Bytes) -> tuple[list[tuple[str, Any]], int]:
    """Return the entries of the header as they stand there, and where the tensors begin."""
    if file.size < 8:
        raise _bad(file, f"is {plural(file.size, 'byte')} long: too short for a safetensors file", "truncated")
    length = int.from_bytes(file.read(0, 8), "little")
    if length > file.size - 8:
        message = f"says that its header is {length:,} bytes long; only {file.size - 8:,} follow"
        raise _bad(file, message, "truncated")
    if length > LONGEST:
        raise too_long(file, "its header", length)
    raw = file.read(8, length)
    found = _without_twins(raw, file)
    if found is None:
        found = parse_json(raw, file, "its header", _object)
    if not isinstance(found, _Pairs):
        raise _bad(file, "its header is no JSON object", "bad-header")
    return found, 8 + length


def _without_twins(raw: bytes, file: Bytes) -> _Pairs | None:
    """Return the pairs of a header in which no name stands twice, in half the time; None where that is not certain.

    Every entry spells ``"data_offsets"`` once, so that as many names as such words are all the names there are. Nothing
    is certain where a text has an escape. The dicts take more memory than a very long header is worth.
    """
    if len(raw) > _MOST_AS_DICTS or b"\\" in raw:
        return None
    found = parse_json(raw, file, "its header")
    if type(found) is not dict or raw.count(b'"data_offsets"') != len(found) - ("__metadata__" in found):
        return None
    pairs = _Pairs()
    for name, value in found.items():
        if type(value) is not dict:
            return None
        entry = None
        if name != "__metadata__":
            entry = _entry(value.get("dtype"), value.get("shape"), value.get("data_offsets"))
        pairs.append((name, entry or _Pairs(value.items())))
    return pairs


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as its pairs, so that a name that stands there twice is seen."""


def _object(pairs: list[tuple[str, Any]]) -> Any:
    """Return an entry where an object is one: half the memory of a dict, which counts where there are a million."""
    if len(pairs) == 3:
        (a, dtype), (b, shape), (c, offsets) = pairs
        if (a, b, c) == ("dtype", "shape", "data_offsets"):
            return _entry(dtype, shape, offsets) or _Pairs(pairs)
    return _Pairs(pairs)


def _entry(dtype: Any, shape: Any, offsets: Any) -> _Entry | None:
    if type(dtype) is not str or type(shape) is not list or type(offsets) is not list or len(offsets) != 2:
        return None
    begin, end = offsets
    if type(begin) is not int or type(end) is not int or not 0 <= begin <= end < _LARGEST or len(shape) > _MOST_SIZES:
        return None
    for size in shape:
        if type(size) is not int or not 0 <= size < _LARGEST:
            return None
    return dtype, tuple(shape), begin, end


def _entry_of(value: Any) -> _Entry | None:
    """Return an entry with its fields in another order, or with more of them."""
    fields = dict(value) if isinstance(value, _Pairs) else {}
    return _entry(fields.get("dtype"), fields.get("shape"), fields.get("data_offsets"))


def _sorted_out(pairs: list[tuple[str, Any]], name: str, faults: FaultList) -> tuple[list[_Placed], dict[str, str]]:
    """Return the tensors and the metadata; what is neither is a fault."""
    entries: list[_Placed] = []
    metadata: dict[str, str] = {}
    for key, value in pairs:
        if key == "__metadata__":
            metadata |= _metadata(value, name, faults)
            continue
        entry = value if type(value) is tuple else _entry_of(value)
        if entry is None:
            faults.append(Fault("bad-entry", "error", key, _NO_ENTRY))
        else:
            dtype, shape, begin, end = entry
            entries.append((begin, end, key, dtype, shape))
    if len({entry[2] for entry in entries}) < len(entries):
        for key, times in Counter(entry[2] for entry in entries).items():
            if times > 1:
                message = f"stands {times} times in the header; the safetensors library keeps the last, unsaid"
                faults.append(Fault("duplicate-name", "error", key, message))
    return entries, metadata


def _metadata(value: Any, name: str, faults: FaultList) -> dict[str, str]:
    if value is None:
        return {}
    pairs = value if isinstance(value, _Pairs) else []
    found = {key: text for key, text in pairs if type(text) is str}
    if not isinstance(value, _Pairs) or len(found) < len(pairs):
        faults.append(Fault("bad-metadata", "error", name, "__metadata__ must map texts to texts"))
    return found


# --- where the tensors lie -------------------------------------------------------------------------------------


def _placed(entries: list[_Placed], file: Bytes, number: int, start: int, faults: FaultList) -> list[TensorHeader]:
    """Return the tensors of sorted entries; how they do not tile the file is a fault each."""
    tensors: list[TensorHeader] = []
    end = complete = 0
    room = file.size - start
    first_cut = ""
    for begin, stop, name, dtype, shape in entries:
        named, bits = SAFETENSORS.get(dtype, (dtype, 0))
        if bits * math.prod(shape) != 8 * (stop - begin) or not bits:
            faults.append(_odd_size(name, dtype, shape, stop - begin))
        if begin != end:
            faults.append(_odd_place(name, begin, min(end, stop), end))
        end = max(end, stop)
        why = ""
        if stop <= room:
            complete += 1
        else:
            why, first_cut = "the file ends before it", first_cut or name
        kept, at = stop - begin, start + begin
        place = (number, at, kept)
        tensors.append(TensorHeader(name, named, shape, kept, number, at, None, place, kept, why))
    if end > room:
        message = (
            f"is cut off: {start + end:,} bytes declared, {file.size:,} found; "
            f"{complete:,} of {plural(len(entries), 'tensor')} are complete, {first_cut!r} is the first that is not"
        )
        faults.append(Fault("truncated", "error", file.name, message))
    elif end < room:
        message = f"has {plural(room - end, 'byte')} behind its last tensor that belong to none"
        faults.append(Fault("trailing-bytes", "error", file.name, message))
    return tensors


def _odd_size(name: str, dtype: str, shape: tuple[int, ...], kept: int) -> Fault:
    """Return what is wrong with a tensor of an unknown dtype, or whose elements take other bytes than it has."""
    if dtype not in SAFETENSORS:
        return Fault("unknown-dtype", "warning", name, f"its dtype {dtype!r} is not known here")
    needed = -(-math.prod(shape) * SAFETENSORS[dtype][1] // 8)
    message = f"shape {shape} of {dtype} takes {needed:,} bytes; its data_offsets give {kept:,}"
    return Fault("lying-size", "error", name, message)


def _odd_place(name: str, begin: int, stop: int, end: int) -> Fault:
    """Return what is wrong with a tensor that does not begin where the one before it ends."""
    if begin > end:
        return Fault("hole", "error", name, f"{begin - end:,} bytes before it belong to no tensor")
    return Fault("overlap", "error", name, f"its first {stop - begin:,} bytes are another's")


def _bad(file: Bytes, message: str, code: str) -> UserError:
    return UserError(message, where=file.name, code=code)
