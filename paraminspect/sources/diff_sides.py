"""The two sides of a comparison: the tensors of a file, or of a model, by name, and how their bytes are read."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import field
from typing import TYPE_CHECKING, Any, NamedTuple

from paraminspect.frozen import dataclass
from paraminspect.report import Checkpoint, SideOfDiff, TensorHeader

if TYPE_CHECKING:
    import torch

    from paraminspect.modules.subject import Subject
    from paraminspect.sources.checkpoint.file_bytes import Bytes
    from paraminspect.sources.checkpoint.flat_bytes import FlatBytes


class SideTensor(NamedTuple):
    """A tensor of one side. Names of one `identity` are one tensor; `why` says why its bytes cannot be read.

    One that is only named has no shape, and no dtype where that is not known either.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int | None
    identity: Hashable
    source: Any
    why: str = ""
    has_shape: bool = True

    @property
    def numel(self) -> int:
        """Return the number of elements."""
        found = 1 if self.has_shape else 0
        for size in self.shape:
            found *= size
        return found


@dataclass(frozen=True)
class Side:
    """One source: its `tensors` by name, what it says beside them, how the bytes of one are read.

    `keeps_metadata` says which kind of metadata its format has: two sides of one kind can be compared in it.
    """

    about: SideOfDiff
    tensors: Mapping[str, SideTensor]
    flat: Callable[[SideTensor], FlatBytes | None]
    metadata: Mapping[str, str] = field(default_factory=dict)
    keeps_metadata: str = ""
    checkpoint: Checkpoint | None = None
    subject: Subject | None = None
    files: Sequence[Bytes] = ()


def side_of_checkpoint(checkpoint: Checkpoint, stack: ExitStack, typed: str) -> Side:
    """Return a checkpoint as a side, by the name that was `typed`; its files stay open as long as `stack` does."""
    from paraminspect.sources.checkpoint.file_bytes import open_bytes, without_secrets
    from paraminspect.sources.checkpoint.flat_bytes import flat_bytes

    used = {tensor.file for tensor in checkpoint.tensors if tensor.file is not None}
    used |= {piece.file for tensor in checkpoint.tensors for piece in tensor.pieces}
    files: list[Any] = [
        stack.enter_context(open_bytes(path)) if number in used else None
        for number, path in enumerate(checkpoint.paths)
    ]
    tensors = {header.name: _of_header(header) for header in checkpoint.tensors}
    for name, kept in checkpoint.ties.items():
        if name not in tensors and kept in tensors:
            tensors[name] = tensors[kept]._replace(name=name)
    for name, why in checkpoint.unread.items():
        tensors[name] = SideTensor(name, "", (), None, name, None, why, has_shape=False)
    kind = "safetensors" if "safetensors" in checkpoint.format else "torch"
    beside = checkpoint.metadata if kind == "safetensors" else checkpoint.other
    return Side(
        _about("checkpoint", without_secrets(typed), checkpoint.path, checkpoint.format, tensors),
        tensors,
        lambda tensor: None if tensor.why else flat_bytes(tensor.source, files),
        beside,
        kind,
        checkpoint,
        files=[file for file in files if file is not None],
    )


def _of_header(header: TensorHeader) -> SideTensor:
    shared = None if header.storage is None else (header.storage, header.start, header.shape, header.stride)
    return SideTensor(header.name, header.dtype, header.shape, header.bytes, shared or header.name, header, header.why)


def side_of_module(subject: Subject, state: Mapping[str, Any]) -> Side:
    """Return the state_dict of a model as a side, under the names that it has there."""
    import torch

    tensors = {name: _of_tensor(name, value) for name, value in state.items() if isinstance(value, torch.Tensor)}
    source = subject.source
    return Side(
        _about(source.kind, source.name, source.path, type(subject.module).__name__, tensors),
        tensors,
        _flat,
        subject=subject,
    )


def _of_tensor(name: str, tensor: torch.Tensor) -> SideTensor:
    import torch
    from torch.nn.parameter import is_lazy

    why = ""
    lazy = is_lazy(tensor)
    if lazy:
        why = "it has no shape before the first forward"
    elif tensor.is_meta:
        why = "it is on the meta device and has no values"
    elif tensor.layout is not torch.strided or tensor.is_quantized:
        why = "it is sparse or quantized"
    shape = () if lazy else tuple(tensor.shape)
    size = None if lazy else tensor.numel() * tensor.element_size()
    return SideTensor(name, str(tensor.dtype).removeprefix("torch."), shape, size, id(tensor), tensor, why, not lazy)


def _flat(found: SideTensor) -> FlatBytes | None:
    """Return the bytes of a tensor in memory: as they lie if they lie in order, else from a copy."""
    import torch

    from paraminspect.sources.checkpoint.flat_bytes import FlatBytes

    if found.why:
        return None
    tensor = found.source.detach()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    raw = tensor.resolve_neg().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()

    def fill(start: int, buffer: memoryview) -> None:
        buffer[:] = memoryview(raw)[start : start + len(buffer)]

    return FlatBytes(fill, 0, raw.size)


def _about(kind: str, name: str, path: str | None, form: str, tensors: Mapping[str, SideTensor]) -> SideOfDiff:
    sizes = {tensor.identity: tensor.bytes for tensor in tensors.values()}
    held = list(sizes.values())
    numel = sum({tensor.identity: tensor.numel for tensor in tensors.values()}.values())
    return SideOfDiff(
        kind, name, path, form, len(tensors), numel, None if None in held else sum(one or 0 for one in held)
    )
