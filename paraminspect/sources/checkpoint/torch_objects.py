"""What torch.save put into a pickle: tensors by the storages they lie in, nested dicts, and what else there is."""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Final, NamedTuple, TypeAlias

from paraminspect.report import Fault, OptimizerGroups, TensorHeader
from paraminspect.sources.checkpoint.element_types import STORAGES, TORCH_BITS
from paraminspect.sources.checkpoint.file_contents import FileContents
from paraminspect.sources.checkpoint.pickle_walk import Called, Global, Persistent, PickledDict

_DEEPEST: Final = 64
_MOST: Final = 4_000_000
_MOST_OTHER: Final = 100_000
_MOST_LEFT_OUT: Final = 500_000
_MOST_PLACES: Final = 100
_LONG: Final = 200
_MOST_TEXT: Final = 2**26
_MOST_FAULTS: Final = 1_000
_MOST_WEIGHED: Final = 500_000
_DEEPEST_OPTIMIZER: Final = 8
_GROUP: Final = re.compile(r"(.+)\.param_groups\.\d+\.params")
_MOST_PARAMS: Final = 4_000_000
_MOST_WORDS: Final = 64
_LARGEST: Final = 2**63

_DICTS: Final = {"collections.OrderedDict", "collections.defaultdict", "builtins.dict", "__builtin__.dict"}
_PLAIN: Final = {
    *_DICTS,
    *(
        f"{room}.{name}"
        for room in ("builtins", "__builtin__")
        for name in ("set", "frozenset", "complex", "bytearray")
    ),
    "_codecs.encode",
    "torch.Size",
    "torch.device",
    "torch.serialization._get_layout",
    "collections.Counter",
}
_REBUILD: Final = "torch._utils._rebuild_"

_Versions: TypeAlias = OrderedDict[str, dict[str, int]]


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
        return (self.offset + span(self.shape, self.stride)) * ((self.bits or 8) // 8)

    def header(self) -> TensorHeader:
        """Return its header, not yet placed in a file."""
        bits = TORCH_BITS.get(self.dtype)
        kept = None if bits is None else math.prod(self.shape) * bits // 8
        return TensorHeader(self.name, self.dtype, self.shape, kept, why=self.why, inside=self.inside)


@dataclass
class TorchObjects:
    """The tensors of a pickle by their path, the other values as short texts, the classes that torch would refuse.

    `versions` are what the modules said of themselves when their state_dict was made, by the path of that; `optimizers`
    what the state_dict of each optimizer says of its parameters; `value_bytes` about what the values take in the
    pickle, by the first part of their path.
    """

    tensors: list[StoredTensor] = field(default_factory=list)
    other: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    versions: dict[str, _Versions] = field(default_factory=dict)
    optimizers: list[OptimizerGroups] = field(default_factory=list)
    value_bytes: dict[str, int] = field(default_factory=dict)

    def contents(self, placed: list[TensorHeader], faults: list[Fault]) -> FileContents:
        """Return what the file holds, now that its tensors are placed, and what was unsound about that."""
        every = [*self.faults, *faults]
        return FileContents(placed, every, {}, self.other, self.versions, tuple(self.optimizers), self.value_bytes)


def torch_objects(value: Any, named: tuple[Global, ...], where: str, path: str = "") -> TorchObjects:
    """Sort out what the pickle of a checkpoint holds; `where` is the file, `path` where in a checkpoint it stands."""
    found = TorchObjects()
    _Sorter(found).visit(value, path, 0, "" if not path else None)
    refused = [one for one in named if not _expected(one)]
    for one in refused[:_MOST_FAULTS]:
        message = f"its pickle names {one}, which torch.load(weights_only=True) refuses unless it is allowed"
        found.faults.append(Fault("unsafe-global", "warning", where, message))
    if len(refused) > _MOST_FAULTS:
        message = f"its pickle names {len(refused) - _MOST_FAULTS:,} more that torch.load(weights_only=True) refuses"
        found.faults.append(Fault("unsafe-global", "warning", where, message))
    return found


def _expected(one: Global) -> bool:
    """Tell whether torch.load(weights_only=True) takes a global without being told to."""
    full = str(one)
    is_type = one.module == "torch" and (one.name.endswith("Storage") or one.name in TORCH_BITS)
    return full in _PLAIN or full.startswith(_REBUILD) or is_type or full in _OTHER_TORCH


_OTHER_TORCH: Final = {
    "torch.storage.UntypedStorage",
    "torch.storage.TypedStorage",
    "torch.nn.parameter.Parameter",
    "torch.nn.parameter.UninitializedParameter",
    "torch.nn.parameter.Buffer",
    "torch.Tensor",
    "torch._tensor._rebuild_from_type_v2",
    "torch.serialization._get_layout",
    "torch.strided",
    "torch.sparse_coo",
    "torch.per_tensor_affine",
    "torch.per_channel_affine",
    "torch._C._set_grad_enabled",
}


class _Sorter:
    """Walk through what the pickle holds, once along every path, in bounded depth and number."""

    def __init__(self, found: TorchObjects) -> None:
        self.found, self.steps, self.text = found, 0, 0
        self.values = self.left_out = 0
        self.visits: dict[int, int] = {}
        self.weighed = 0
        self.read_versions: dict[int, _Versions] = {}  # by the id of what stands in the pickle, perhaps many times

    def visit(self, value: Any, path: str, depth: int, inside: str | None) -> None:
        self.steps += 1
        self.text += max(len(path) - _LONG, 0)  # a long key stands in the path of each of its values
        is_listed = depth <= _DEEPEST and self.steps <= _MOST and self.text <= _MOST_TEXT
        tensor = _tensor(value, path) if is_listed else None
        if tensor is not None:
            self.found.tensors.append(tensor if tensor.inside == inside else tensor._replace(inside=inside))
            return
        if self.is_too_much(value, depth):
            self.left_out += 1
            if not any(fault.code == "too-deep" for fault in self.found.faults):
                limits = (
                    f"{_DEEPEST} levels, {_MOST_OTHER:,} values beside tensors, one in {_MOST_PLACES} places, "
                    f"or names of more than {_LONG} characters, {_MOST_TEXT:,} in all"
                )
                message = f"holds more than {limits}; the rest is not listed"
                self.found.faults.append(Fault("too-deep", "warning", path[:200], message))
            return
        children = _children(value)
        first_children = [*islice(children, _MOST_WORDS)]
        fields = dict(first_children)
        if {"state", "param_groups"} <= fields.keys() and depth < _DEEPEST_OPTIMIZER:
            self.found.optimizers.append(_optimizer(path, fields["param_groups"]))
        if depth == 0 and (group := _GROUP.fullmatch(path)):  # an object of its own in a distributed checkpoint
            self.found.optimizers.append(_optimizer(group[1], [PickledDict(["params", value])]))
        here = path if inside is not None and _is_named(value) else None
        if here is not None and isinstance(value, Called) and isinstance(value.state, PickledDict):
            self.found.versions[here] = self.versions(value.state)
        for key, child in chain(first_children, children):
            if self.steps > _MOST or self.left_out > _MOST_LEFT_OUT:
                break
            self.visit(child, f"{path}.{key}" if path else key, depth + 1, here)
        if not first_children and path:
            self.values += 1
            self.found.other[path] = brief(value)
            first = path.partition(".")[0]
            self.found.value_bytes[first] = self.found.value_bytes.get(first, 0) + self.weight(value)

    def weight(self, value: Any, depth: int = 0) -> int:
        """Return about how many bytes a value that is no tensor takes in a pickle."""
        self.weighed += 1
        if depth > _DEEPEST or self.weighed > _MOST_WEIGHED:
            return 0
        if isinstance(value, (str, bytes)):
            return 5 + len(value)
        if isinstance(value, Called):
            inner: Any = (value.args, value.state, value.pairs, value.items)
        else:
            inner = value.pairs if isinstance(value, PickledDict) else value
        if isinstance(inner, (list, tuple)) and not isinstance(inner, (Global, Persistent)):
            return 2 + sum(self.weight(one, depth + 1) for one in inner)
        return {bool: 1, int: 5, float: 9}.get(type(value), 1)

    def versions(self, state: PickledDict) -> _Versions:
        """Return the ``_metadata`` of a state_dict: what each module says of the version it was saved by."""
        kept = next((value for key, value in state.pairs[:_MOST_WORDS] if key == "_metadata"), None)
        if id(kept) not in self.read_versions:
            self.read_versions[id(kept)] = _versions(kept)
        return self.read_versions[id(kept)]

    def is_too_much(self, value: Any, depth: int) -> bool:
        """Count where a container stands: lists of two of a list of two of … are few, and have a billion paths."""
        if depth > _DEEPEST or self.values > _MOST_OTHER:
            return True
        if isinstance(value, (list, tuple, PickledDict, Called)):
            times = self.visits[id(value)] = self.visits.get(id(value), 0) + 1
            if times > 1:  # whoever looks for tensors in it reads all of it again
                self.steps += _length(value)
            if times > _MOST_PLACES and not isinstance(value, tuple):
                return True
        return self.steps > _MOST or self.text > _MOST_TEXT


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what is in a dict, a list or an object, by name."""
    if isinstance(value, PickledDict) or (isinstance(value, Called) and value.name in _DICTS):
        for key, child in _pairs(value):
            if isinstance(key, (str, int)):
                yield key if type(key) is str else brief(key), child
    elif isinstance(value, (list, tuple)) and not isinstance(value, (Global, Persistent)):
        if any(isinstance(child, (Called, PickledDict, list, tuple)) for child in value):
            for number, child in enumerate(value):
                yield str(number), child
    elif isinstance(value, Called) and value.name not in _PLAIN and isinstance(value.state, PickledDict):
        yield from _children(value.state)


def _pairs(value: PickledDict | Called) -> Iterator[tuple[Any, Any]]:
    """Yield the keys and values of a dict."""
    for one in _given(value):
        if type(one) in (list, tuple) and len(one) == 2:
            yield one[0], one[1]
    flat = iter(value.flat)
    yield from zip(flat, flat, strict=True)


def _given(value: PickledDict | Called) -> list[Any]:
    """Return what a dict was made of: Python 2 wrote ``OrderedDict([[key, value], …])``, as a call of a list."""
    args = value.args if isinstance(value, Called) and value.name in _DICTS else ()
    return args[0] if isinstance(args, tuple) and len(args) == 1 and isinstance(args[0], list) else []


def _length(value: list[Any] | tuple[Any, ...] | PickledDict | Called) -> int:
    return len(value) if isinstance(value, (list, tuple)) else len(_given(value)) + len(value.flat) // 2


def _is_named(value: Any) -> bool:
    """Tell whether a value is a mapping with texts for keys: an optimizer's state has numbers."""
    is_dict = isinstance(value, PickledDict) or (isinstance(value, Called) and value.name in _DICTS)
    return is_dict and all(isinstance(key, str) for key, _ in _pairs(value))


def _optimizer(path: str, groups: Any) -> OptimizerGroups:
    """Return the numbers, and the names if it has them, of the parameters in ``param_groups``."""
    keys: list[tuple[int | str, ...]] = []
    names: list[str] = []
    left = _MOST_PARAMS  # over all groups: they may be one group many times
    for group in groups if isinstance(groups, list) else ():
        fields = dict(islice(_children(group), _MOST_WORDS))
        params, words = fields.get("params"), fields.get("param_names")
        left -= _MOST_WORDS + sum(len(one) for one in (params, words) if isinstance(one, list))
        if left < 0:
            return OptimizerGroups(path, ())
        every = params if isinstance(params, list) else []
        keys.append(tuple(_small(one) if type(one) is int else one for one in every if type(one) in (int, str)))
        names += [one for one in words if isinstance(one, str)] if isinstance(words, list) else []
    return OptimizerGroups(path, tuple(keys), tuple(names))


def _small(number: int) -> int:
    """Return a number, -1 for one of more digits than Python writes out."""
    return number if -_LARGEST < number < _LARGEST else -1


def _versions(kept: Any) -> _Versions:
    """Return what is in such ``_metadata``: the numbers, by the path of the module."""
    found: _Versions = OrderedDict()
    for path, words in kept.pairs if isinstance(kept, (PickledDict, Called)) else ():
        if isinstance(path, str) and isinstance(words, PickledDict):
            pairs = words.pairs[:_MOST_WORDS]
            found[path] = {key: value for key, value in pairs if isinstance(key, str) and type(value) is int}
    return found


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


# --- tensors ---------------------------------------------------------------------------------------------------


def _tensor(value: Any, path: str) -> StoredTensor | None:
    """Return the tensor that a call would have made; None where it makes none."""
    if not isinstance(value, Called) or not isinstance(value.function, Global) or not isinstance(value.args, tuple):
        return None
    name, args = value.name, value.args
    try:
        if name in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"):
            return _strided(path, *args[:4])
        if name == "torch._utils._rebuild_tensor_v3":
            return _strided(path, args[0], args[1], args[2], args[3], _dtype(args[6]))
        if name in ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"):
            inner = _tensor(args[0], path)
            return None if inner is None else inner._replace(is_parameter=True)
        if name == "torch._tensor._rebuild_from_type_v2":
            rebuilt = Called(args[0], args[2])
            inner = _tensor(rebuilt, path)
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
        if name.startswith(_REBUILD):
            shape = next((_sizes(arg) for arg in args[:_MOST_WORDS] if _are_sizes(arg)), ())
            return StoredTensor(path, "unknown", shape, (), 0, None, False, f"{name} is not read here")
    except (TypeError, ValueError, IndexError, RecursionError):
        return StoredTensor(path, "unknown", (), (), 0, None, False, f"its {name} makes no sense")
    return None


def _strided(path: str, storage: Any, offset: Any, size: Any, stride: Any, dtype: str = "") -> StoredTensor:
    ref = _storage(storage)
    if type(offset) is not int or not 0 <= offset < _LARGEST:
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
    if not isinstance(kind, Global) or type(numel) is not int or not 0 <= numel < _LARGEST:
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
    if not isinstance(value, (tuple, list)) or len(value) > _MOST_WORDS:
        return False
    for size in value:  # noqa: SIM110 (`all` takes twice as long, and each tensor asks twice)
        if type(size) is not int or not 0 <= size < _LARGEST:
            return False
    return True


def _sizes(value: Any) -> tuple[int, ...]:
    if isinstance(value, Called) and value.name == "torch.Size" and isinstance(value.args, tuple):
        value = value.args[0]
    if not _are_sizes(value):
        raise ValueError
    return tuple(value)


def span(shape: tuple[int, ...], stride: tuple[int, ...]) -> int:
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
