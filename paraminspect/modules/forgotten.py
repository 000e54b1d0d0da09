"""Tensors and modules that hang on a model where nothing registers them: they neither train nor save with it.

The search reads what Python itself holds: instance attributes, and the items of containers by the iteration of their
built-in base class. No code of the model runs: no property, no ``__iter__``, ``__eq__``, ``__hash__`` or ``__repr__``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from paraminspect.frozen import dataclass
from paraminspect.modules.hidden_weights import computed_by
from paraminspect.modules.nested_tensors import contained_values, container_type, leaves_among, nodes_of, operation_of
from paraminspect.modules.walk import Path, attributes_of, is_torchs, join, own_attributes, registered

MOST_VALUES = 20_000
"""Values looked at behind one attribute; numbers and texts do not count."""

DEEPEST = 8
"""Containers in containers that are opened."""

_NOTHING_INSIDE = frozenset({int, float, complex, bool, str, bytes, type(None), torch.dtype, torch.device})
_LISTS = ("nn.ModuleList", "nn.ParameterList")
_CONTAINERS: dict[Any, tuple[str, str]] = {
    list: _LISTS,
    tuple: _LISTS,
    deque: _LISTS,
    set: _LISTS,
    frozenset: _LISTS,
    dict: ("nn.ModuleDict", "nn.ParameterDict"),
}
_PLAIN = "a plain tensor attribute: not in parameters()"
_UNSAVED = "not in state_dict"
_UNMOVED = "does not follow .to(device)"
_LEARNED = {"weight", "bias"}
_MOVES = ("_apply", "to")
_SAVES = ("_save_to_state_dict", "state_dict", "get_extra_state")
_LOST = "no optimizer sees it, state_dict lacks it"


class Forgotten(NamedTuple):
    """A tensor that nothing registers: how it is reached from the model, as in ``layers[0].weight``, and why.

    `owner` is the module at `path`, an attribute of which leads to it. A `constant` is nothing that anybody forgot.
    """

    name: str
    tensor: Tensor
    owner: nn.Module
    path: str
    note: str
    constant: bool = False


@dataclass(frozen=True)
class _Place:
    """Where a value hangs: its name, the module whose attribute leads there and that module's path.

    `held_by` is the class of what holds it: None for the attribute of a module, nn.Module for what a module that is
    itself forgotten has registered, and `note` then says why. `depth` counts the containers on the way, `in_object`
    says that an object of the user's is on it too.
    """

    name: str
    owner: nn.Module
    path: str
    held_by: type | None = None
    note: str = ""
    depth: int = 0
    in_object: bool = False


class Search:
    """Find what no module registers, starting from the registered modules and the tensors they register.

    `modules` are the forgotten modules that were found, by where they hang; `cut` are the attributes behind which there
    was too much to see; `computed` are the tensors that were computed when the model was built, from whatever leaves.
    """

    def __init__(self, paths: Iterable[Path], known: Iterable[Tensor]) -> None:
        self.modules: dict[str, nn.Module] = {}
        self.cut: list[str] = []
        self.computed: list[Forgotten] = []
        self._paths = list(paths)
        self._tensors = {id(tensor) for tensor in known}
        self._seen = {id(module) for _, module in self._paths}
        own = {kind: _has_own_class(kind, _MOVES) for kind in {type(module) for _, module in self._paths}}
        self._movers = [path for path, module in self._paths if own[type(module)] or _holds(module, _MOVES)]

    def tensors(self) -> Iterator[Forgotten]:
        """Yield each forgotten tensor once, by the place where it hangs."""
        for path, module in self._paths:
            for place, value in _attributes(module, path):
                yield from self._behind(place, value)
        yield from self._of_dropped_parameters()

    def _of_dropped_parameters(self) -> Iterator[Forgotten]:
        """Yield what was computed from a Parameter that is held nowhere else: ``nn.Parameter(…).half()``, ``p * 0.01``.

        A graph that leads to known leaves alone is walked once, however many tensors share it.
        """
        in_order: set[Any] = set()
        for one in self.computed:
            nodes = nodes_of(one.tensor, in_order)
            leaves = leaves_among(nodes)
            if any(issubclass(type(leaf), nn.Parameter) and id(leaf) not in self._tensors for leaf in leaves):
                yield one
            else:
                in_order.update(nodes)

    def _behind(self, start: _Place, value: Any) -> Iterator[Forgotten]:
        """Look at a value and all that it leads to, depth first, in the order in which it is held."""
        left = [(start, value)]
        looked = 0
        while left:
            place, value = left.pop()
            looked += place.held_by is not nn.Module
            if looked > MOST_VALUES:
                self.cut.append(start.name)
                return
            if issubclass(type(value), Tensor):
                yield from self._tensor(place, value)
            elif id(value) not in self._seen:
                self._seen.add(id(value))
                left += reversed(list(self._inside(place, value)))

    def _tensor(self, place: _Place, tensor: Tensor) -> Iterator[Forgotten]:
        with torch._C.DisableTorchFunctionSubclass():
            note = _why_tensor(place, tensor, self._moves(place))
            constant = _is_constant(place, tensor)
            if not note and not tensor.is_leaf:
                why = _why_computed(operation_of(tensor.grad_fn))
                self.computed.append(Forgotten(place.name, tensor, place.owner, place.path, why))
        if (note or constant) and id(tensor) not in self._tensors:
            self._tensors.add(id(tensor))
            yield Forgotten(place.name, tensor, place.owner, place.path, note, constant)

    def _moves(self, place: _Place) -> bool:
        """Tell whether the module of a place, or one above it, moves tensors by code of its own."""
        return _has_own(place.owner, _MOVES) or any(
            not path or place.path == path or place.path.startswith(f"{path}.") for path in self._movers
        )

    def _inside(self, place: _Place, value: Any) -> Iterator[tuple[_Place, Any]]:
        if issubclass(type(value), nn.Module):
            self.modules[place.name] = value
            return _of_module(place, value)
        return islice(_of_container(place, value), MOST_VALUES + 1)


def _attributes(module: nn.Module, path: str) -> Iterator[tuple[_Place, Any]]:
    """Yield the plain attributes of a module, without those that torch computes or holds a second time."""
    found = [(name, value) for name, value in own_attributes(module) if type(value) not in _NOTHING_INSIDE]
    if not found:  # as in most
        return
    skipped = {one.name for one in computed_by(module)}
    if issubclass(type(module), nn.RNNBase):
        skipped.add("_flat_weights")
    for name, value in found:
        if name not in skipped:
            yield _Place(join(path, name), module, path), value


def _of_module(place: _Place, module: nn.Module) -> Iterator[tuple[_Place, Any]]:
    """Yield the tensors of a forgotten module, its children and its plain attributes."""
    inner = _Place(place.name, module, place.name, nn.Module, place.note or _why_module(place))
    for what in ("_parameters", "_buffers", "_modules"):
        for name, value in registered(module, what):
            yield replace(inner, name=join(place.name, name)), value
    yield from _attributes(module, place.name)


def _of_container(place: _Place, value: Any) -> Iterator[tuple[_Place, Any]]:
    """Yield the items of a plain container, or the attributes of the one object that may stand on the way."""
    kind = container_type(value)
    if kind is not None and place.depth < DEEPEST:
        inner = replace(place, held_by=kind, depth=place.depth + 1)
        for step, item in _items(kind, value):
            yield replace(inner, name=place.name + step), item
    elif kind is None and not place.in_object and not _is_library(type(value)):
        inner = replace(place, held_by=type(value), in_object=True)
        for name, item in list(attributes_of(value).items()):
            if type(item) not in _NOTHING_INSIDE:
                yield replace(inner, name=join(place.name, name)), item


def _items(kind: Any, container: Any) -> Iterator[tuple[str, Any]]:
    """Yield how each item is reached, and the item; a million numbers or texts are passed over at the speed of C."""
    values = list(contained_values(kind, container))
    if set(map(type, values)) <= _NOTHING_INSIDE:
        return
    keys = list(dict.keys(container)) if kind is dict else range(len(values))
    opening, closing = "{}" if kind in (set, frozenset) else "[]"
    for at, (key, value) in enumerate(zip(keys, values, strict=True)):
        if type(value) not in _NOTHING_INSIDE:
            yield opening + (repr(key) if _is_plain(key) else f"<{_name_of(type(key))} {at}>") + closing, value


def _is_plain(key: object) -> bool:
    """Tell whether the repr of a key is Python's own."""
    if type(key) is tuple:
        return set(map(type, key)) <= _NOTHING_INSIDE
    return type(key) in _NOTHING_INSIDE


def _is_library(kind: type) -> bool:
    """Tell objects that hold tensors for good reasons, an optimizer among them, from the user's own."""
    return str(type.__getattribute__(kind, "__module__")).partition(".")[0] in ("torch", "builtins")


def _name_of(kind: type) -> str:
    return str(type.__getattribute__(kind, "__name__"))


# --- why it is forgotten, and what to write instead ------------------------------------------------------------


def _why_module(place: _Place) -> str:
    if place.held_by is None:
        return f"its module was set past registration: {_LOST}; use add_module"
    if place.held_by in _CONTAINERS:
        return f"its module is in a plain {_name_of(place.held_by)}: {_LOST}; use {_CONTAINERS[place.held_by][0]}"
    return f"its module is in a {_name_of(place.held_by)}, which is no Module: {_LOST}; make it one"


def _why_tensor(place: _Place, tensor: Tensor, moved: bool) -> str:
    """Return why a tensor is forgotten; nothing for what is computed, a constant, or in a container for its values.

    `moved` says that modules move tensors by code of their own, this one perhaps among them.
    """
    if place.held_by is nn.Module:
        return place.note
    parameter = _is_parameter(tensor)
    if not tensor.is_leaf or (not parameter and not tensor.requires_grad and not _is_called_a_parameter(place, tensor)):
        return ""
    if place.held_by is None:
        return _why_attribute(place, parameter, tensor.requires_grad, moved)
    if place.held_by in _CONTAINERS:
        return f"in a plain {_name_of(place.held_by)}: {_LOST}; use {_CONTAINERS[place.held_by][1]}"
    return f"in a {_name_of(place.held_by)}, which is no Module: {_LOST}; make it one"


def _why_computed(op: str) -> str:
    return (
        f"computed by {op} when the model was built, from a tensor that nothing registers: not in parameters(), so no "
        "optimizer sees it; register an nn.Parameter, and compute this in forward"
    )


def _why_attribute(place: _Place, parameter: bool, requires_grad: bool, moved: bool) -> str:
    if parameter:
        return f"a Parameter that was set past registration: {_LOST}; use register_parameter"
    if requires_grad:
        return f"requires grad, but is no Parameter: {_LOST}; use nn.Parameter"
    lacks = (_UNSAVED * (not _has_own(place.owner, _SAVES)), _UNMOVED * (not moved))
    return f"{', '.join(filter(None, (_PLAIN, *lacks)))}; use nn.Parameter or register_buffer"


def _is_parameter(tensor: Tensor) -> bool:
    return issubclass(type(tensor), nn.Parameter) or attributes_of(tensor).get("_is_param") is True


def _is_constant(place: _Place, tensor: Tensor) -> bool:
    """Tell whether a tensor is a plain attribute that no gradient is asked for, and not called a parameter.

    Such are tables, masks, stored examples, and what metrics add up.
    """
    plain = place.held_by is None and tensor.is_leaf and not _is_parameter(tensor) and not tensor.requires_grad
    return plain and not _is_called_a_parameter(place, tensor)


def _is_called_a_parameter(place: _Place, tensor: Tensor) -> bool:
    """Tell whether a plain attribute goes by what torch calls a parameter, where a layer would have one.

    That is a floating-point ``weight`` of two dimensions or more, and, beside it or beside a Parameter, whatever is
    named a weight or a bias: ``bias``, ``bias_k``. A lone vector ``weight`` is one of classes, a scalar one of a sum.
    """
    real = tensor.is_floating_point() or tensor.is_complex()
    if place.held_by is not None or not real or not tensor.dim():
        return False
    name = place.name.rpartition(".")[2]
    if name == "weight" and tensor.dim() > 1:
        return True
    beside = registered(place.owner, "_parameters") or (name != "weight" and "weight" in attributes_of(place.owner))
    return bool(beside) and not _LEARNED.isdisjoint(name.lower().split("_"))


def _has_own(module: nn.Module, methods: Iterable[str]) -> bool:
    """Tell whether a module, or its class, has code of its own in the place of one of these methods of nn.Module."""
    return _holds(module, methods) or _has_own_class(type(module), methods)


def _holds(module: nn.Module, methods: Iterable[str]) -> bool:
    return not attributes_of(module).keys().isdisjoint(methods)


def _has_own_class(kind: type, methods: Iterable[str]) -> bool:
    return not all(is_torchs(kind, name) for name in methods)
