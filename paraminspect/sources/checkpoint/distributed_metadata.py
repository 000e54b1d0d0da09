"""The ``.metadata`` of a folder of torch.distributed.checkpoint: a pickle of what is where, read as data.

Its globals are those that torch writes; any other is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeGuard

from paraminspect.errors import UserError
from paraminspect.report import Shape
from paraminspect.sources.checkpoint.element_types import TORCH_BITS
from paraminspect.sources.checkpoint.file_bytes import open_bytes
from paraminspect.sources.checkpoint.pickle_walk import LONGEST, BadPickle, Called, Global, PickledDict, walk

_MOST_FIELDS: Final = 64
_PACKAGE: Final = "torch.distributed.checkpoint"
_KNOWN: Final = {
    *(f"pathlib.{name}" for name in ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath", "Path")),
    "collections.OrderedDict",
    "torch.Size",
    "torch.serialization._get_layout",
    f"{_PACKAGE}.filesystem._StorageInfo",
    *(
        f"{_PACKAGE}.metadata.{name}"
        for name in (
            "Metadata",
            "MetadataIndex",
            "StorageMeta",
            "TensorProperties",
            "TensorStorageMetadata",
            "BytesStorageMetadata",
            "ChunkStorageMetadata",
            "_MEM_FORMAT_ENCODING",
        )
    ),
}


class ItemPlace(NamedTuple):
    """Where an item lies: the file, and the bytes of it."""

    path: str
    start: int
    length: int
    is_packed: bool = False


def metadata_of(path: str, for_storages: int) -> tuple[dict[str, Any], int]:
    """Return the fields of the Metadata that the pickle describes, and how many bytes were read; see `walk`.

    Raises UserError where the file is no such pickle, or names a global that no checkpoint needs.
    """
    with open_bytes(path) as file:
        if file.size > LONGEST:
            raise UserError(f"is {file.size:,} bytes long; at most {LONGEST:,} are read", where=path)
        data, count = file.read(0, file.size), file.count
    try:
        walked = walk(data, for_storages=for_storages)
    except BadPickle as error:
        raise UserError(
            f"cannot be read at byte {error.at:,}: {error.message}", where=path, code="bad-pickle"
        ) from None
    for one in walked.globals:
        if str(one) not in _KNOWN and not (one.module == "torch" and one.name in TORCH_BITS):
            message = f"names {one}, which no checkpoint needs: it would run when torch loads it"
            raise UserError(message, where=path, hint="do not load it", code="unsafe-global")
    if not isinstance(walked.value, Called) or walked.value.name != f"{_PACKAGE}.metadata.Metadata":
        raise UserError("holds no Metadata of torch.distributed.checkpoint", where=path, code="bad-pickle")
    return fields_of(walked.value), count


def fields_of(value: Any) -> dict[str, Any]:
    """Return the attributes that a dataclass would be given; none of what is not one."""
    state = value.state if isinstance(value, Called) else None
    if not isinstance(state, PickledDict) or len(state.flat) > 2 * _MOST_FIELDS:
        return {}
    return {key: item for key, item in state.pairs if isinstance(key, str)}


def items_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a dict has under texts."""
    for key, item in value.pairs if isinstance(value, (PickledDict, Called)) else ():
        if isinstance(key, str):
            yield key, item


def size_of(value: Any) -> Shape | None:
    """Read a torch.Size."""
    if isinstance(value, Called) and isinstance(value.args, tuple) and len(value.args) == 1:
        value = value.args[0]
    if not isinstance(value, (tuple, list)) or len(value) > _MOST_FIELDS:
        return None
    return tuple(value) if all(map(_is_size, value)) else None


def _is_size(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 2**63


def chunks_of(fields: dict[str, Any]) -> list[Any] | tuple[Any, ...]:
    """Return the chunks of a tensor by the fields of its TensorStorageMetadata."""
    found = fields.get("chunks")
    return found if isinstance(found, (list, tuple)) else ()


def places_of(value: Any) -> dict[str, dict[Shape | None, ItemPlace]]:
    """Return where each item lies, by its name and by the offsets of the chunk that it is."""
    found: dict[str, dict[Shape | None, ItemPlace]] = {}
    for key, item in value.pairs if isinstance(value, (PickledDict, Called)) else ():
        index, place = fields_of(key), fields_of(item)
        name, path = index.get("fqn"), place.get("relative_path")
        start, length = place.get("offset"), place.get("length")
        if isinstance(name, str) and isinstance(path, str) and _is_size(start) and _is_size(length):
            packed = bool(place.get("transform_descriptors"))
            found.setdefault(name, {})[size_of(index.get("offset"))] = ItemPlace(path, start, length, packed)
    return found


def dtype_of(properties: Any) -> str:
    """Read the dtype of TensorProperties: a field of its own, or the first of a tuple."""
    state = properties.state if isinstance(properties, Called) else None
    found = state[0] if isinstance(state, (tuple, list)) and state else fields_of(properties).get("dtype")
    return found.name if isinstance(found, Global) else "unknown"
