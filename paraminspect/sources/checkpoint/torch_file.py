"""Files that ``torch.save`` writes, checked before torch reads them: a zip archive, or the form before torch 1.6."""

from __future__ import annotations

import re
import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any

import torch

from paraminspect.sources.checkpoint.file_kinds import reason_of, refusal
from paraminspect.sources.checkpoint.pickle_walk import BadPickle, PickleFacts, StoredStorage, walk_pickle
from paraminspect.text.escape import some_names

_MAGIC = 0x1950A86A20F9469CFC6C.to_bytes(10, "little")
_BYTES = {"Double": 8, "Long": 8, "Float": 4, "Int": 4, "QInt32": 4, "Half": 2, "BFloat16": 2, "Short": 2}
_BYTES |= {"ComplexDouble": 16, "ComplexFloat": 8}
_DAMAGED = "fetch or save it again"
_STATE_DICT = "save tensors alone: torch.save(model.state_dict(), FILE)"
_BAD_ARCHIVE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, LookupError, RuntimeError, ValueError)
"""What zipfile raises for a damaged archive."""

_LEGACY_PICKLES = 5  # a magic number, a version, sizes of types, the objects, the keys of their memory


def read_zip(path: str) -> Any:
    """Return what a zip archive of ``torch.save`` holds, loaded with ``weights_only=True``.

    Raises UserError for any other archive, one that says more of its sizes than is true, and one with code in it.
    """
    facts = PickleFacts()
    try:
        with zipfile.ZipFile(path) as archive:
            records = _records(path, archive)
            pickle = next((name for name in records if name.count("/") == 1 and name.endswith("/data.pkl")), None)
            root = pickle.rpartition("/")[0] if pickle else ""
            if f"{root}/constants.pkl" in records:
                message = "is a TorchScript archive, which holds code"
                raise refusal(path, message, "save its tensors: torch.save(torch.jit.load(FILE).state_dict(), OTHER)")
            if pickle is None:
                raise refusal(path, "is a zip archive, but not one that torch.save wrote", _STATE_DICT)
            with archive.open(pickle) as stream:
                walk_pickle(stream, facts)
    except BadPickle as error:
        raise refusal(path, f"the pickle in it {error}", _DAMAGED) from None
    except _BAD_ARCHIVE:
        raise refusal(
            path, "is cut short or damaged: it begins as a zip archive and does not end as one", _DAMAGED
        ) from None
    except OSError as error:
        raise refusal(path, f"cannot be read: {reason_of(error)}") from None
    for storage in facts.storages:
        _check_size(path, storage, records.get(f"{root}/data/{storage.key}", -1))
    return _load(path, facts)


def _records(path: str, archive: zipfile.ZipFile) -> dict[str, int]:
    """Return the size of every record; refuse names that stand twice, and more bytes than the file has."""
    found = archive.infolist()
    records = {one.filename: one.file_size for one in found}
    if len(records) < len(found):
        raise refusal(path, "has two records of one name", _DAMAGED)
    if any(one.compress_type != zipfile.ZIP_STORED for one in found):
        message = "its records are compressed, which torch.save never does"
        raise refusal(path, message, "save it again with torch, do not zip it")
    if sum(records.values()) > Path(path).stat().st_size:
        raise refusal(path, "its records claim more bytes than the file has", _DAMAGED)
    return records


def _check_size(path: str, storage: StoredStorage, there: int) -> None:
    """Refuse a storage that is not there, or is shorter than its tensors need."""
    wanted = storage.numel * _BYTES.get(storage.kind.removesuffix("Storage"), 1)
    if there < wanted:
        held = "is not in the file" if there < 0 else f"has {there:,} bytes there"
        message = f"is cut short or damaged: memory of {wanted:,} bytes that a tensor needs {held}"
        raise refusal(path, message, _DAMAGED)


def read_pickle(path: str) -> Any:
    """Return what a file in the older form of ``torch.save`` holds. Raises UserError for any other pickle."""
    facts = PickleFacts()
    try:
        with Path(path).open("rb") as stream:
            is_torch = _MAGIC in stream.read(32)
            stream.seek(0)
            for _ in range(_LEGACY_PICKLES if is_torch else 1):
                walk_pickle(stream, facts)
            left = _left(stream)
    except BadPickle as error:
        raise refusal(path, f"is a pickle that {error}", _DAMAGED) from None
    except OSError as error:
        raise refusal(path, f"cannot be read: {reason_of(error)}") from None
    if not is_torch:
        message = f"is a pickle, but not one that torch.save wrote{_holding(facts)}; nothing in it was run"
        raise refusal(path, message, _STATE_DICT)
    for storage in facts.storages:
        _check_size(path, storage, left)
    return _load(path, facts)


def _left(stream: IO[bytes]) -> int:
    here = stream.tell()
    return stream.seek(0, 2) - here


def _holding(facts: PickleFacts) -> str:
    names = [name for name in facts.names if not name.startswith(("torch.", "collections."))]
    return f": it names {some_names(names)}" if names else ""


def _load(path: str, facts: PickleFacts) -> Any:
    """Let torch load the tensors, on the CPU."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        culprit = re.search(r"GLOBAL (\S+)", str(error))
        what = f": it names {culprit[1]}" if culprit else _holding(facts)
        message = f"holds more than tensors{what}, which could run code; nothing in it was run"
        raise refusal(path, message, _STATE_DICT) from None
    except MemoryError:
        raise refusal(path, "does not fit into memory") from None
    except Exception as error:  # whatever a damaged file makes torch raise
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise refusal(path, f"torch cannot load it: {reason[:200]}", _DAMAGED) from None
