"""From the name of a checkpoint to what is in it: which format the first bytes are of, which reader takes it."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from paraminspect.errors import UserError
from paraminspect.report import Checkpoint, Fault, Part
from paraminspect.sources.checkpoint.file_bytes import Bytes, file_system, is_remote, open_bytes, without_secrets
from paraminspect.sources.checkpoint.file_contents import LEGACY_MAGIC, FaultList, FileContents
from paraminspect.sources.checkpoint.safetensors_file import read_header
from paraminspect.sources.checkpoint.shard_index import (
    Index,
    Listed,
    compared,
    files_in,
    in_folder,
    read_index,
    read_shards,
    safe_shards,
    unread,
)

TORCH_SUFFIXES: Final = (".pt", ".pth", ".bin", ".ckpt")
INDEX: Final = ".index.json"
_FIRST: Final = 512
_TRAINING: Final = re.compile(
    r"(optimizer|scheduler|scaler|sampler|rng_state|random_states|training_args)(_\d+)*\.(pt|pth|bin|pkl)$"
)
_MOST_BESIDE: Final = 100


def list_checkpoint(source: str) -> Checkpoint:
    """List what a file, a folder or a URL holds, without reading a tensor. Raises UserError for no checkpoint."""
    if _is_folder(source):
        return _folder(source)
    if _path(source).endswith(INDEX):
        return _sharded(source)
    with open_bytes(source) as file:
        name, listed = _file(file, 0)
        shown = without_secrets(source)
        part = Part(shown.rpartition("/")[2] if is_remote(source) else Path(source).name, file.size)
        found = _checkpoint(name, source, (part,), listed)
        return replace(found, bytes_read=file.count)


def _path(source: str) -> str:
    """Return a source without what signs a URL."""
    return source.partition("?")[0] if is_remote(source) else source


def _is_folder(source: str) -> bool:
    if is_remote(source):
        if _path(source).endswith((".safetensors", INDEX, *TORCH_SUFFIXES)):
            return False
        system, path = file_system(source)
        return source.endswith("/") or bool(system.isdir(path))
    return Path(source).is_dir()


# --- one file --------------------------------------------------------------------------------------------------

_SIGNS: Final = (
    (b"PK\x03\x04", "torch zip"),
    (LEGACY_MAGIC, "torch legacy"),
)
_OTHERS: Final = (
    (b"\x89HDF", "an HDF5 file, such as Keras writes"),
    (b"GGUF", "a GGUF file, which llama.cpp reads"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x1f\x8b", "compressed with gzip: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd: unpack it first"),
    (b"\x80", "a pickle that torch.save did not write"),
    (b"{", "JSON, not a checkpoint"),
)


def _file(file: Bytes, number: int) -> tuple[str, FileContents]:
    """Return the format of one file, and what is in it."""
    first = file.read(0, min(_FIRST, file.size))
    name = _format(first, file)
    suffixes = (".safetensors",) if name == "safetensors" else TORCH_SUFFIXES
    contents = _reader(name)(file, number)
    known = (".safetensors", *TORCH_SUFFIXES)
    path = file.name.partition("?")[0]
    if path.endswith(known) and not path.endswith(suffixes):
        message = f"is a {name} file, whatever its name says: rename it to end in {suffixes[0]}"
        contents.faults.append(Fault("wrong-extension", "warning", file.name, message))
    return name, replace(contents, faults=FaultList(contents.faults).faults(file.name))


def _reader(name: str) -> Callable[[Bytes, int], FileContents]:
    """Return the reader of a format; one that is not needed is not imported."""
    if name == "safetensors":
        return read_header
    if name == "torch zip":
        from paraminspect.sources.checkpoint.torch_zip import read_zip

        return read_zip
    from paraminspect.sources.checkpoint.torch_legacy import read_legacy

    return read_legacy


def _format(first: bytes, file: Bytes) -> str:
    if not first:
        raise UserError("is empty", where=file.name, code="truncated")
    for sign, name in _SIGNS:
        if first.startswith(sign):
            return name
    if first.startswith(b"version https://git-lfs.github.com/spec/"):
        size = next((line[5:].decode("ascii", "replace") for line in first.split(b"\n") if line[:5] == b"size "), "?")
        message = f"is a Git LFS pointer, not the file of {size} bytes that it stands for"
        raise UserError(message, where=file.name, hint="fetch it: git lfs pull", code="lfs-pointer")
    if first.lstrip()[:9].lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        message = "is a web page, not a checkpoint: the download was answered with an error or a login"
        raise UserError(message, where=file.name, code="html-page")
    if first[8:9] in (b"{", b" ") and (first[:1] != b"{" or first[5:8] == bytes(3)):
        return "safetensors"
    for sign, what in _OTHERS:
        if first.startswith(sign):
            raise UserError(f"is {what}", where=file.name, code="unsupported-source")
    if file.name.endswith(".safetensors"):
        return "safetensors"
    raise UserError("is no checkpoint that is known here", where=file.name, code="unsupported-source")


def _checkpoint(name: str, path: str, parts: tuple[Part, ...], listed: FileContents) -> Checkpoint:
    metadata = listed.metadata
    ties = {kept: first for kept, first in metadata.items() if first in {one.name for one in listed.tensors}}
    rest = {key: value for key, value in metadata.items() if key not in ties}
    tensors, faults = tuple(listed.tensors), tuple(listed.faults)
    return Checkpoint(
        name,
        without_secrets(path),
        parts,
        tensors,
        (path,),
        rest,
        listed.other,
        ties,
        faults,
        versions=listed.versions,
        optimizers=listed.optimizers,
        value_bytes=listed.value_bytes,
        records=listed.records,
        modules=listed.modules,
    )


# --- several files ---------------------------------------------------------------------------------------------


def _one_of_many(file: Bytes, number: int) -> Listed:
    _, contents = _file(file, number)
    return contents.tensors, contents.metadata, contents.faults


def _sharded(source: str) -> Checkpoint:
    """List the shards that an index names."""
    path = _path(source)
    folder, _, name = path.rpartition("/")
    folder += source.removeprefix(path)  # what signs the index may sign all that lies beside it
    with open_bytes(source) as file:
        index = read_index(file)
        count = file.count
    return _with_shards(index, folder or ".", name, source, count)


def _with_shards(index: Index, folder: str, name: str, source: str, count: int) -> Checkpoint:
    suffixes = (".safetensors",) if ".safetensors" in name else TORCH_SUFFIXES
    names, faults = safe_shards(index, suffixes, name)
    shards = read_shards(folder, names, _one_of_many)
    faults = [*index.faults, *faults, *shards.faults, *compared(index, shards, name)]
    kind = "safetensors, sharded" if suffixes == (".safetensors",) else "torch, sharded"
    return Checkpoint(
        kind,
        without_secrets(source),
        shards.parts,
        shards.tensors,
        tuple(in_folder(folder, part.name) for part in shards.parts),
        shards.metadata,
        faults=tuple(FaultList(faults).faults(name)),
        bytes_read=count + shards.read,
        unread=unread(index, shards),
    )


def _folder(folder: str) -> Checkpoint:
    """List the checkpoint in a folder: an index and its shards, or files beside each other."""
    names = files_in(folder)
    if ".metadata" in names or ".metadata.tmp" in names:
        from paraminspect.sources.checkpoint.distributed_folder import read_distributed

        return read_distributed(folder, names)
    indices = [name for name in names if name.endswith(INDEX)]
    for suffixes in ((".safetensors",), TORCH_SUFFIXES):
        fitting = [name for name in indices if name.removesuffix(INDEX).endswith(suffixes)]
        if len(fitting) > 1:
            hint = f"name one of them: {', '.join(without_secrets(in_folder(folder, name)) for name in fitting[:5])}"
            raise UserError(
                f"has {len(fitting)} indices", where=without_secrets(folder), hint=hint, code="several-checkpoints"
            )
        files = [name for name in names if name.endswith(suffixes)]
        models = [name for name in files if not _TRAINING.match(name)]
        if fitting or models or files:
            found = (
                _with_strays(_sharded(in_folder(folder, fitting[0])), models)
                if fitting
                else _beside_each_other(folder, models or files)
            )
            return replace(found, beside=_beside(folder, names) if fitting or models else ())
    hint = "a checkpoint is *.safetensors, *.bin, *.pt, or what torch.distributed.checkpoint writes"
    raise UserError("has no checkpoint in it", where=without_secrets(folder), hint=hint, code="no-such-file")


def _beside(folder: str, names: list[str]) -> tuple[Part, ...]:
    """Return the files of a folder that keep the state of a training, as transformers and accelerate name them."""
    found: list[Part] = []
    for name in [name for name in names if _TRAINING.match(name)][:_MOST_BESIDE]:
        with suppress(UserError), open_bytes(in_folder(folder, name)) as file:
            found.append(Part(name, file.size))
    return tuple(found)


def _beside_each_other(folder: str, files: list[str]) -> Checkpoint:
    if len(files) == 1:
        return list_checkpoint(in_folder(folder, files[0]))
    shards = read_shards(folder, files, _one_of_many)
    return Checkpoint(
        f"{'safetensors' if files[0].endswith('.safetensors') else 'torch'}, {len(files)} files",
        without_secrets(folder),
        shards.parts,
        shards.tensors,
        tuple(in_folder(folder, part.name) for part in shards.parts),
        shards.metadata,
        faults=tuple(FaultList(shards.faults).faults(without_secrets(folder))),
        bytes_read=shards.read,
    )


def _with_strays(found: Checkpoint, names: list[str]) -> Checkpoint:
    """Add a fault for each file of the kind of the shards that the index does not name."""
    known = {part.name for part in found.parts}
    stray = [
        Fault("stray-shard", "warning", name, "lies beside the shards; the index does not name it")
        for name in names
        if name not in known
    ]
    return replace(found, faults=(*found.faults, *stray))
