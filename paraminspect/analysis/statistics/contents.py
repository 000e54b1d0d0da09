"""What a tensor holds, to the last bit: its elements as JSON has them and as PyTorch prints them, and a digest."""

from __future__ import annotations

import ctypes
import hashlib
import math
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from paraminspect.frozen import dataclass
from paraminspect.modules.wrapper_tensors import is_wrapper, whole

SMALL = 1000  # as many elements as PyTorch prints without leaving some out


@dataclass(frozen=True)
class Numbers:
    """`data`: nested lists, non-finite and complex elements as None; `text`: what ``print(tensor)`` shows."""

    data: Any = None
    text: str | None = None


def numbers_of(tensor: Tensor) -> Numbers:
    """Return the elements of `tensor`, or nothing when it has more of them than PyTorch prints or holds no data."""
    known = whole(tensor)
    if known is None or known.is_meta or known.numel() > SMALL:
        return Numbers()
    plain = known.detach().cpu()
    try:
        if isinstance(tensor, torch.nn.Parameter):
            plain = plain.data
        return Numbers(_plain(plain.tolist()), str(plain))
    except (RuntimeError, NotImplementedError):  # a dtype that torch stores but cannot print
        return Numbers()


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


_BLOCK = 2**22  # elements that are copied at once where a tensor cannot be read in place


def digest(tensor: Tensor) -> str | None:
    """Return SHA-256 in hex over a line ``dtype shape`` and the elements in C order, little-endian.

    ``float32 3x4`` is such a line. None where the elements are not known or not plain: meta, lazy, sparse, nested,
    quantised, a wrapper of other tensors.
    """
    with torch._C.DisableTorchFunctionSubclass():
        if is_lazy(tensor) or tensor.is_meta or tensor.is_nested or tensor.is_quantized:
            return None
        if tensor.layout is not torch.strided or is_wrapper(tensor):
            return None
        shape = "x".join(map(str, tensor.shape))
        found = hashlib.sha256(f"{str(tensor.dtype).removeprefix('torch.')} {shape}\n".encode())
        for block in _blocks(tensor.detach()):
            found.update(_memory(block))
        return found.hexdigest()


def _blocks(tensor: Tensor) -> Iterator[Tensor]:
    """Yield contiguous tensors on the CPU that follow each other in C order; a contiguous one is yielded whole."""
    in_place = tensor.is_cpu and tensor.is_contiguous() and not tensor.is_conj() and not tensor.is_neg()
    if in_place and sys.byteorder == "little":
        yield tensor
    elif tensor.numel() <= _BLOCK:
        yield _little(tensor.resolve_conj().resolve_neg().cpu().contiguous())
    elif tensor.shape[0] == 1:
        yield from _blocks(tensor[0])
    else:
        rows = max(1, _BLOCK * tensor.shape[0] // tensor.numel())
        for start in range(0, tensor.shape[0], rows):
            yield from _blocks(tensor[start : start + rows])


def _little(tensor: Tensor) -> Tensor:
    """Return the bytes of each number with the least significant one first."""
    if sys.byteorder == "little":
        return tensor
    numbers = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    width = numbers.element_size()
    return numbers.reshape(-1).view(torch.uint8).reshape(-1, width).flip(1).contiguous()


def _memory(tensor: Tensor) -> memoryview:
    """Return the bytes of a contiguous tensor; ``Tensor.numpy()`` would forbid its storage to be resized ever after."""
    size = tensor.numel() * tensor.element_size()
    if not size:
        return memoryview(b"")
    return memoryview((ctypes.c_char * size).from_address(tensor.data_ptr()))
