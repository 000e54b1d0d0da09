"""One value of a pickle that torch.save wrote: a tensor with the storage that it lies in, all else as a short text."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

from paraminspect.report import TensorHeader
from paraminspect.sources.checkpoint.element_types import STORAGES, TORCH_BITS
from paraminspect.sources.checkpoint.pickle_walk import Called, Global, Persistent, PickledDict

REBUILD: Final = "torch._utils._rebuild_"
"""How the functions begin that make a tensor."""
MOST_WORDS: Final = 64
"""Entries of a dict, arguments of a call, dimensions of a tensor that are looked at."""
LARGEST: Final = 2**63
"""A number from here on is no size, no offset, and no parameter of an optimizer."""


class StorageRef(NamedTuple):
    """A storage that a tensor lies in: its `key`, the dtype and number of its elements, the device it was on."""

    key: str
    dtype: str
    numel: int
    device: str

    @property
    def bytes(self) -> int:
        """Return how many bytes it takes."""
        return self.numel * TORCH_BITS.get(self.dtype, 8) // 8


class StoredTensor(NamedTuple):
    """A tensor as the pickle describes it; `storage` is None where it lies in none, `why` then says why."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    storage: StorageRef | None
    is_parameter: bool
    why: str = ""
    inside: str | None = ""

    @property
    def bits(self) -> int | None:
        """Return how many bits an element takes, None where that is not known."""
        return TORCH_BITS.get(self.dtype)

    @property
    def reach(self) -> int:
        """Return how many bytes of its storage it needs, from the first of that to its own last."""
        return (self.offset + _span(self.shape, self.stride)) * ((self.bits or 8) // 8)

    def header(self) -> TensorHeader:
        """Return its header, not yet placed in a file."""
        bits = TORCH_BITS.get(self.dtype)
        kept = None if bits is None else math.prod(self.shape) * bits // 8
        return TensorHeader(self.name, self.dtype, self.shape, kept, why=self.why, inside=self.inside)


def tensor_of(value: Any, path: str) -> StoredTensor | None:
    """Return the tensor that a call would have made, under the name `path`; None where it makes none."""
    if not isinstance(value, Called) or not isinstance(value.function, Global) or not isinstance(value.args, tuple):
        return None
    name, args = value.name, value.args
    try:
        if name in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"):
            return _strided(path, *args[:4])
        if name == "torch._utils._rebuild_tensor_v3":
            return _strided(path, args[0], args[1], args[2], args[3], _dtype(args[6]))
        if name in ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"):
            inner = tensor_of(args[0], path)
            return None if inner is None else inner._replace(is_parameter=True)
        if name == "torch._tensor._rebuild_from_type_v2":
            rebuilt = Called(args[0], args[2])
            inner = tensor_of(rebuilt, path)
            return (
                None
                if inner is None
                else inner._replace(is_parameter=isinstance(args[1], Global) and "Parameter" in args[1].name)
            )
        if name == "torch._utils._rebuild_meta_tensor_no_storage":
            why = "it was on the meta device: the file has no values for it"
            return StoredTensor(path, _dtype(args[0]), _sizes(args[1]), _sizes(args[2]), 0, None, False, why)
        if name == "torch._utils._rebuild_qtensor":
            return _strided(path, *args[:4])
        if name.startswith(REBUILD):
            shape = next((_sizes(arg) for arg in args[:MOST_WORDS] if _are_sizes(arg)), ())
            return StoredTensor(path, "unknown", shape, (), 0, None, False, f"{name} is not read here")
    except (TypeError, ValueError, IndexError, RecursionError):
        return StoredTensor(path, "unknown", (), (), 0, None, False, f"its {name} makes no sense")
    return None


def _strided(path: str, storage: Any, offset: Any, size: Any, stride: Any, dtype: str = "") -> StoredTensor:
    ref = _storage(storage)
    if type(offset) is not int or not 0 <= offset < LARGEST:
        raise ValueError
    shape, steps = _sizes(size), _sizes(stride)
    if len(shape) != len(steps):
        raise ValueError
    return StoredTensor(path, dtype or ref.dtype, shape, steps, offset, ref, False)


def _storage(value: Any) -> StorageRef:
    """Read ``('storage', class, key, device, number of elements)``, the persistent id of a storage."""
    if not isinstance(value, Persistent) or not isinstance(value.id, tuple) or value.id[0] != "storage":
        raise TypeError
    _, kind, key, device, numel = value.id[:5]
    if not isinstance(kind, Global) or type(numel) is not int or not 0 <= numel < LARGEST:
        raise TypeError
    dtype = STORAGES.get(kind.name, (kind.name.removesuffix("Storage").lower(), 0))[0]
    return StorageRef(_word(key), dtype, numel, _word(device))


def _word(value: Any) -> str:
    if not isinstance(value, (str, int)):
        raise TypeError
    return value[:1000] if isinstance(value, str) else brief(value)


def _dtype(value: Any) -> str:
    if not isinstance(value, Global):
        raise TypeError
    return value.name


def _are_sizes(value: Any) -> bool:
    if not isinstance(value, (tuple, list)) or len(value) > MOST_WORDS:
        return False
    for size in value:  # noqa: SIM110 (`all` takes twice as long, and each tensor asks twice)
        if type(size) is not int or not 0 <= size < LARGEST:
            return False
    return True


def _sizes(value: Any) -> tuple[int, ...]:
    if isinstance(value, Called) and value.name == "torch.Size" and isinstance(value.args, tuple):
        value = value.args[0]
    if not _are_sizes(value):
        raise ValueError
    return tuple(value)


def _span(shape: tuple[int, ...], stride: tuple[int, ...]) -> int:
    """Return how many elements of memory lie from the first of a tensor to its last, both included."""
    if not math.prod(shape):
        return 0
    last = 0
    for size, step in zip(shape, stride, strict=True):
        last += (size - 1) * step
    return last + 1


def is_contiguous(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Tell whether the elements lie one behind the other."""
    expected = 1
    for size, step in zip(reversed(shape), reversed(stride), strict=True):
        if size != 1 and step != expected:
            return False
        expected *= size
    return True


def brief(value: Any) -> str:
    """Return a value that is no tensor as a short text, never longer than a line."""
    if isinstance(value, (str, bytes)):
        return repr(value[:60]) + ("…" if len(value) > 60 else "")
    if value is None or isinstance(value, (bool, float)):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if -(10**30) < value < 10**30 else "a very large integer"
    if isinstance(value, (list, tuple)) and not isinstance(value, (Global, Persistent)):
        if len(value) <= 8 and all(item is None or isinstance(item, (bool, int, float, str)) for item in value):
            return "[" + ", ".join(brief(item) for item in value) + "]"
        return f"{len(value):,} items"
    if isinstance(value, Global):
        return str(value)
    if isinstance(value, Called):
        return f"{value.function}" if isinstance(value.function, Global) else "an object"
    return "an empty dict" if isinstance(value, PickledDict) else type(value).__name__.lower()
