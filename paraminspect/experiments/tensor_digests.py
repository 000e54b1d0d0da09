"""What stands for each tensor of a model or a file, bit for bit: the same for both where they hold the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack

from torch import Tensor
from torch.nn.parameter import is_lazy

from paraminspect.analysis.statistics.contents import digest
from paraminspect.experiments.parameter_rows import SHOWN
from paraminspect.modules.subject import Subject
from paraminspect.report import Checkpoint, TensorHeader
from paraminspect.rules.expectation_rules import TensorDigest
from paraminspect.sources.checkpoint.file_bytes import Bytes, open_bytes
from paraminspect.sources.checkpoint.stored_tensors import read_all
from paraminspect.sources.load_weights import state_dict_of

_BLOCK = 1 << 20


def digests_of_model(subject: Subject, prefix: str) -> dict[str, TensorDigest]:
    """Return the digests of what state_dict() has, by its names without the prefix of wrappers."""
    found = {name: value for name, value in state_dict_of(subject).items() if isinstance(value, Tensor)}
    return {name.removeprefix(prefix): _of_tensor(value) for name, value in found.items()}


def _of_tensor(tensor: Tensor) -> TensorDigest:
    whole = digest(tensor)
    shape = () if is_lazy(tensor) else tuple(tensor.shape)
    return TensorDigest(whole and whole[:SHOWN], str(tensor.dtype).removeprefix("torch."), shape)


def digests_of_checkpoint(checkpoint: Checkpoint) -> dict[str, TensorDigest]:
    """Return the digests of the tensors, and of names that were not written under that of the tensor they stand for.

    Raises UserError for bytes that cannot be read.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(open_bytes(path)) for path in checkpoint.paths]
        found = {one.name: _of_header(one, files, checkpoint.path) for one in checkpoint.tensors}
    ties = {name: found[kept] for name, kept in checkpoint.ties.items() if kept in found and name not in found}
    return {**found, **ties}


def _of_header(header: TensorHeader, files: list[Bytes], path: str) -> TensorDigest:
    """Stream what lies in one piece; what has strides or is spread over files is made first, one tensor at a time."""
    known = header.numel == 0 or header.start is not None or bool(header.pieces)
    if not known or header.why:
        return TensorDigest(None, header.dtype, header.shape)
    if header.pieces or header.stride is not None or header.file is None or header.start is None:
        return _of_tensor(read_all([header], files, path)[0])
    whole = hashlib.sha256(f"{header.dtype} {'x'.join(map(str, header.shape))}\n".encode())
    for block in _blocks(files[header.file], header.start, header.bytes or 0):
        whole.update(block)
    return TensorDigest(whole.hexdigest()[:SHOWN], header.dtype, header.shape)


def _blocks(file: Bytes, start: int, count: int) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(min(_BLOCK, count)))
    for at in range(0, count, _BLOCK):
        block = buffer[: min(_BLOCK, count - at)]
        file.read_into(start + at, block)
        yield block
