"""What torch.save put into a pickle, sorted out: tensors by their path, optimizers, versions, what else there is."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Final, TypeAlias

from paraminspect.report import Fault, OptimizerGroups, TensorHeader
from paraminspect.sources.checkpoint.element_types import TORCH_BITS
from paraminspect.sources.checkpoint.file_contents import FileContents
from paraminspect.sources.checkpoint.pickle_walk import Called, Global, Persistent, PickledDict
from paraminspect.sources.checkpoint.pickled_values import (
    LARGEST,
    MOST_WORDS,
    REBUILD,
    StoredTensor,
    brief,
    tensor_of,
)
from paraminspect.text.numbers import some_of

_DEEPEST: Final = 64  # levels of containers
_MOST: Final = 4_000_000  # values that are visited
_MOST_OTHER: Final = 100_000  # values beside tensors
_MOST_LEFT_OUT: Final = 500_000  # values beyond these limits, after which the rest is not visited
_MOST_PLACES: Final = 100  # in which one container may stand
_LONG: Final = 200  # characters of a path that cost nothing
_MOST_TEXT: Final = 2**26  # characters beyond these, of all paths
_MOST_NAMED: Final = 5  # globals that a fault names
_MOST_WEIGHED: Final = 500_000  # values whose bytes are added up
_DEEPEST_OPTIMIZER: Final = 8  # levels of containers above the state_dict of one
_GROUP: Final = re.compile(r"(.+)\.param_groups\.\d+\.params")
_MOST_PARAMS: Final = 4_000_000  # that the groups of one optimizer may name

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
_HELD: Final = {"_parameters", "_buffers", "_modules"}
_PRIVATE: Final = {
    "training",
    "_non_persistent_buffers_set",
    "_backward_pre_hooks",
    "_backward_hooks",
    "_is_full_backward_hook",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
    "_backend",
}
"""What every nn.Module has of its own beside what it holds; the last is of torch before 1.6."""
_MOST_MODULES: Final = 100  # that a file has saved whole, of which it is said

_Versions: TypeAlias = OrderedDict[str, dict[str, int]]


@dataclass
class TorchObjects:
    """The tensors of a pickle by their path, the other values as short texts, the classes that torch would refuse.

    `versions` are what the modules said of themselves when their state_dict was made, by the path of that; `optimizers`
    what the state_dict of each optimizer says of its parameters; `value_bytes` about what the values take in the
    pickle, by the first part of their path. `modules` are the classes of the nn.Modules saved whole, by where they
    stand: their tensors have the names of their state_dict.
    """

    tensors: list[StoredTensor] = field(default_factory=list)
    other: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    versions: dict[str, _Versions] = field(default_factory=dict)
    optimizers: list[OptimizerGroups] = field(default_factory=list)
    value_bytes: dict[str, int] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)

    def contents(self, placed: list[TensorHeader], faults: list[Fault]) -> FileContents:
        """Return what the file holds, now that its tensors are placed, and what was unsound about that."""
        return FileContents(
            placed,
            [*self.faults, *faults],
            other=self.other,
            versions=self.versions,
            optimizers=tuple(self.optimizers),
            value_bytes=self.value_bytes,
            modules=self.modules,
        )


def torch_objects(value: Any, named: tuple[Global, ...], where: str, path: str = "") -> TorchObjects:
    """Sort out what the pickle of a checkpoint holds; `where` is the file, `path` where in a checkpoint it stands."""
    found = TorchObjects()
    _Sorter(found).visit(value, path, 0, "" if not path else None)
    refused = [str(one) for one in named if not _expected(one)]
    if refused:
        names = some_of(sorted(refused, key=_is_of_torch), _MOST_NAMED)
        allowed = "it is" if len(refused) == 1 else "they are"
        message = f"its pickle names {names}, which torch.load(weights_only=True) refuses unless {allowed} allowed"
        found.faults.append(Fault("unsafe-global", "warning", where, message))
    return found


def _is_of_torch(name: str) -> bool:
    """Tell whether a class is torch's own: of many that are named, the others are to be seen first."""
    return name.startswith("torch.")


def _expected(one: Global) -> bool:
    """Tell whether torch.load(weights_only=True) takes a global without being told to."""
    full = str(one)
    is_type = one.module == "torch" and (one.name.endswith("Storage") or one.name in TORCH_BITS)
    return full in _PLAIN or full.startswith(REBUILD) or is_type or full in _OTHER_TORCH


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

    def visit(
        self, value: Any, path: str, depth: int, inside: str | None, in_module: bool = False, is_private: bool = False
    ) -> None:
        """Sort out a value and all in it; of what is private to a module only the tensors count."""
        self.steps += 1
        self.text += max(len(path) - _LONG, 0)  # a long key stands in the path of each of its values
        is_listed = depth <= _DEEPEST and self.steps <= _MOST and self.text <= _MOST_TEXT
        tensor = tensor_of(value, path) if is_listed else None
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
        first_children = [*islice(children, MOST_WORDS)]
        fields = dict(first_children)
        if {"state", "param_groups"} <= fields.keys() and depth < _DEEPEST_OPTIMIZER:
            self.found.optimizers.append(_optimizer(path, fields["param_groups"]))
        if depth == 0 and (group := _GROUP.fullmatch(path)):  # an object of its own in a distributed checkpoint
            self.found.optimizers.append(_optimizer(group[1], [PickledDict(["params", value])]))
        is_module = isinstance(value, Called) and value.name not in _DICTS and fields.keys() >= _HELD
        if is_module and not in_module and len(self.found.modules) < _MOST_MODULES:
            self.found.modules[path] = _class_of(value)
        is_tree = inside is not None and (is_module or _is_named(value))
        here = inside if in_module else path if is_tree else None
        if here == path and isinstance(value, Called) and isinstance(value.state, PickledDict) and not is_module:
            self.found.versions[here] = self.versions(value.state)
        for key, child in chain(first_children, children):
            if self.steps > _MOST or self.left_out > _MOST_LEFT_OUT:
                break
            below = f"{path}.{key}" if path else key
            if not is_module:
                self.visit(child, below, depth + 1, here, in_module, is_private)
            elif key in _HELD:
                self.visit(child, path, depth + 1, here, in_module=True, is_private=True)
            else:
                self.visit(child, below, depth + 1, None, in_module=True, is_private=key in _PRIVATE)
        if not first_children and path and not is_private:
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
        kept = next((value for key, value in state.pairs[:MOST_WORDS] if key == "_metadata"), None)
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


def _class_of(value: Called) -> str:
    """Return the class of an object; before 1.6 torch.save kept that of a module outside of the pickle."""
    kept = value.function.id if isinstance(value.function, Persistent) else ()
    found = kept[1] if isinstance(kept, tuple) and len(kept) > 1 else value.function
    return found.full if type(found) is Global else "an object"


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
        fields = dict(islice(_children(group), MOST_WORDS))
        params, words = fields.get("params"), fields.get("param_names")
        left -= MOST_WORDS + sum(len(one) for one in (params, words) if isinstance(one, list))
        if left < 0:
            return OptimizerGroups(path, ())
        every = params if isinstance(params, list) else []
        keys.append(tuple(_small(one) if type(one) is int else one for one in every if type(one) in (int, str)))
        names += [one for one in words if isinstance(one, str)] if isinstance(words, list) else []
    return OptimizerGroups(path, tuple(keys), tuple(names))


def _small(number: int) -> int:
    """Return a number, -1 for one of more digits than Python writes out."""
    return number if -LARGEST < number < LARGEST else -1


def _versions(kept: Any) -> _Versions:
    """Return what is in such ``_metadata``: the numbers, by the path of the module."""
    found: _Versions = OrderedDict()
    for path, words in kept.pairs if isinstance(kept, (PickledDict, Called)) else ():
        if isinstance(path, str) and isinstance(words, PickledDict):
            pairs = words.pairs[:MOST_WORDS]
            found[path] = {key: value for key, value in pairs if isinstance(key, str) and type(value) is int}
    return found
