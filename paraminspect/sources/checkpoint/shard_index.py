"""A checkpoint in several files: an index that says which tensor is in which, or a folder of them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from paraminspect.errors import UserError
from paraminspect.frozen import dataclass
from paraminspect.report import Fault, Part, TensorHeader
from paraminspect.sources.checkpoint.bounded_json import LONGEST, parse_json, too_long
from paraminspect.sources.checkpoint.file_bytes import Bytes, file_system, is_remote, open_bytes
from paraminspect.text.numbers import plural, some_of

_MOST_FILES: Final = 10_000
_AT_ONCE: Final = 16
_NUMBERED: Final = re.compile(r"-(\d{1,9})-of-(\d{1,9})\.")


@dataclass(frozen=True)
class Index:
    """What an index file says: the shard of every tensor, and the sum of their bytes, None where it does not say."""

    shards: Mapping[str, str]
    total_size: float | None
    faults: tuple[Fault, ...]


def read_index(file: Bytes) -> Index:
    """Read ``{"metadata": {"total_size": …}, "weight_map": {name: shard}}``. Raises UserError if it is none."""
    if file.size > LONGEST:
        raise too_long(file, "the index", file.size)
    faults: list[Fault] = []

    def no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            seen: set[str] = set()
            twins = sorted({key for key, _ in pairs if key in seen or seen.add(key)})  # type: ignore[func-returns-value]
            message = f"stands twice in the index, with {len(twins) - 1:,} others" if len(twins) > 1 else "stands twice"
            faults.append(Fault("duplicate-name", "error", twins[0], message))
        return found

    found = parse_json(file.read(0, file.size), file, "the index", no_twins)
    shards = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise UserError("has no weight_map of names to files", where=file.name, code="bad-header")
    metadata = found.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    if total is not None and (type(total) not in (int, float) or not 0 <= total < 2**63):
        faults.append(Fault("wrong-total", "warning", file.name, "has a total_size that is no size"))
        total = None
    return Index(shards, total, tuple(faults))


def safe_shards(index: Index, suffixes: tuple[str, ...], where: str) -> tuple[list[str], list[Fault]]:
    """Return the names of the shards in order, without those that lead out of the folder or are of another kind.

    `where` is the index. Raises UserError where there are too many of them.
    """
    names = sorted(set(index.shards.values()))
    faults: list[Fault] = []
    good: list[str] = []
    for name in names:
        if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or ":" in name or "\0" in name or not name:
            faults.append(Fault("path-escape", "error", name, "the shard's name leads out of the folder: not opened"))
        elif not name.endswith(suffixes):
            faults.append(Fault("foreign-shard", "error", name, f"is no {' or '.join(suffixes)} file: not opened"))
        else:
            good.append(name)
    if len(good) > _MOST_FILES:
        raise UserError(
            f"names {len(good):,} files; at most {_MOST_FILES:,} are opened", where=where, code="bad-header"
        )
    return good, faults + _gaps(names)


def _gaps(names: Iterable[str]) -> list[Fault]:
    """Return a fault where shards are numbered ``-00001-of-00005`` and some of the five are not named."""
    numbered = [(int(match[1]), int(match[2])) for name in names if (match := _NUMBERED.search(name))]
    counts = {of for _, of in numbered}
    if len(counts) != 1:
        return []
    of = counts.pop()
    have = {number for number, _ in numbered}
    first = min(have | {1})
    missing = [number for number in range(first, min(of, 100_000) + first) if number not in have]
    if not missing:
        return []
    texts = [str(number) for number in missing]
    return [Fault("numbering-gap", "warning", f"of {of}", f"no shard is numbered {some_of(texts, 5)}")]


def in_folder(folder: str, name: str) -> str:
    """Return the path of a file in a folder, here or far away; what signs the folder's URL signs the file's."""
    if not is_remote(folder):
        return str(Path(folder) / name)
    path, mark, signature = folder.partition("?")
    return f"{path.rstrip('/')}/{name}{mark}{signature}"


def files_in(folder: str) -> list[str]:
    """Return the names of the files in a folder, sorted. Raises UserError if it cannot be read."""
    if is_remote(folder):
        system, path = file_system(folder)
        return sorted(str(name).rstrip("/").rpartition("/")[2] for name in system.ls(path, detail=False))
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if not entry.is_dir())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"cannot be read: {reason}", where=folder, code="unreadable") from None


@dataclass(frozen=True)
class Shards:
    """What the shards hold, in their order; `read` are the bytes that this took."""

    parts: tuple[Part, ...]
    tensors: tuple[TensorHeader, ...]
    metadata: Mapping[str, str]
    faults: tuple[Fault, ...]
    read: int


Listed = tuple[list[TensorHeader], Mapping[str, str], list[Fault]]


def read_shards(folder: str, names: list[str], list_one: Callable[[Bytes, int], Listed]) -> Shards:
    """List each of the files `names` of a folder, those far away many at a time; one that fails is a fault."""

    def one(numbered: tuple[int, str]) -> tuple[Part, Listed, int]:
        number, name = numbered
        try:
            with open_bytes(in_folder(folder, name)) as file:
                return Part(name, file.size), list_one(file, number), file.count
        except UserError as error:
            missing = error.code == "no-such-file"
            code = "missing-shard" if missing else error.code
            message = "the shard is missing" if missing else error.message
            return Part(name, None), ([], {}, [Fault(code, "error", name, message)]), 0

    numbered = list(enumerate(names))
    if is_remote(folder) and len(names) > 1:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(_AT_ONCE, len(names))) as pool:
            found = list(pool.map(one, numbered))
    else:
        found = [one(each) for each in numbered]
    metadata: dict[str, str] = {}
    for _, (_, words, _), _ in found:
        metadata.update(words)
    return Shards(
        tuple(part for part, _, _ in found),
        tuple(tensor for _, (tensors, _, _), _ in found for tensor in tensors),
        metadata,
        tuple(fault for _, (_, _, faults), _ in found for fault in faults),
        sum(count for _, _, count in found),
    )


def unread(index: Index, shards: Shards) -> dict[str, str]:
    """Return the names that the index has in shards that could not be listed, and why; the rest of them is unknown."""
    failed = {part.name for part in shards.parts if part.bytes is None}
    why = {fault.where: f"{fault.where}: {fault.message}" for fault in shards.faults if fault.where in failed}
    known = {tensor.name for tensor in shards.tensors} if failed else set()
    return {name: why[shard] for name, shard in index.shards.items() if shard in failed and name not in known}


def compared(index: Index, shards: Shards, where: str) -> list[Fault]:
    """Return where an index and its shards do not agree."""
    faults: list[Fault] = []
    of: dict[str, str] = {}
    for tensor in shards.tensors:
        if tensor.file is not None:
            place = shards.parts[tensor.file].name
            if of.setdefault(tensor.name, place) != place and index.shards.get(tensor.name) == place:
                of[tensor.name] = place  # it is in several, and in that which the index names
    absent = {part.name for part in shards.parts if part.bytes is None}
    lost = [name for name, shard in index.shards.items() if of.get(name) != shard and shard not in absent]
    for name in lost[:100]:
        there = f"; it is in {of[name]}" if name in of else ""
        faults.append(
            Fault("missing-tensor", "error", name, f"is not in {index.shards[name]}, as the index says{there}")
        )
    if len(lost) > 100:
        faults.append(Fault("missing-tensor", "error", where, f"and {plural(len(lost) - 100, 'tensor')} more"))
    stray = [name for name in of if name not in index.shards]
    if stray:
        message = f"{plural(len(stray), 'tensor')} of its shards are not in the index: {some_of(stray)}"
        faults.append(Fault("stray-tensor", "warning", where, message))
    twice = len(shards.tensors) - len({tensor.name for tensor in shards.tensors})
    if twice:
        message = f"{plural(twice, 'name')} {'is' if twice == 1 else 'are'} in two shards"
        faults.append(Fault("duplicate-name", "error", where, message))
    total = sum(tensor.bytes or 0 for tensor in shards.tensors)
    if not absent and index.total_size is not None and index.total_size != total:
        message = f"says total_size {index.total_size:,}; the tensors add up to {total:,} bytes"
        faults.append(Fault("wrong-total", "warning", where, message))
    return faults
