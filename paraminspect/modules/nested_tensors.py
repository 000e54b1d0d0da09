"""Tensors in whatever holds them, found however deep; and what tells one tensor from another; the graph behind them."""

from __future__ import annotations

import contextlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import is_dataclass
from functools import lru_cache
from itertools import islice
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MemberDescriptorType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from paraminspect.modules.walk import attributes_of

_MOST = 1_000_000  # objects looked at: what is larger is no output but a data set
_PLAIN = (str, bytes, bytearray, int, float, complex, type(None), range)
_CONTAINERS = (dict, tuple, list, deque, set, frozenset)
_NO_OUTPUT = (type, FunctionType, BuiltinFunctionType, MethodType, ModuleType, nn.Module)


def tensors_in(output: Any) -> list[Tensor]:
    """Return the tensors of an output in order, each once: itself, or those that hang on it, however deep.

    Tuples, lists, dicts and sets give their items (a set in the order in which they were computed), a dataclass its
    attributes, a distribution its parameters; modules and functions give nothing. Any other object gives its
    attributes only where there is no tensor beside it: what a model keeps for its next call, as a cache of keys and
    values, is no output. The object's own code is run for a mapping only, and only if it holds no tensor in plain
    sight.
    """
    if isinstance(output, Tensor):
        return [output]
    return _search(output, opaque=False) or _search(output, opaque=True)


def _search(output: Any, opaque: bool) -> list[Tensor]:
    def inside(thing: Any) -> Iterable[Any]:
        parts = () if issubclass(type(thing), Tensor) else _parts(thing, opaque)
        return (part for part in parts if not isinstance(part, _PLAIN))

    return [thing for thing in depth_first([output], inside, _MOST) if isinstance(thing, Tensor)]


def depth_first(roots: Iterable[Any], inside: Callable[[Any], Iterable[Any]], most: int) -> Iterator[Any]:
    """Yield each object once, at most so many, and then what is `inside` it, in the order in which it is held.

    For example, ``[a, (b, a), c]`` gives the list, a, the tuple, b and c. No recursion, so that no depth is too much.
    """
    seen: dict[int, Any] = {}  # holds what it names, so that every id stays its own
    todo = [*roots][::-1]
    while todo and len(seen) < most:
        thing = todo.pop()
        if id(thing) not in seen:
            seen[id(thing)] = thing
            yield thing
            todo += reversed([*inside(thing)])


def argument_tensors(arguments: Iterable[Any]) -> Iterator[Tensor]:
    """Yield the tensors among the arguments of a torch function, which may be in lists, tuples and dicts."""
    for value in arguments:
        if isinstance(value, Tensor):
            yield value
        elif type(value) in (list, tuple):
            yield from argument_tensors(value)
        elif type(value) is dict:
            yield from argument_tensors([*value.values()])


def container_type(value: Any) -> type | None:
    """Return the built-in type that a container is, or derives from; None for anything else."""
    return next((kind for kind in _CONTAINERS if issubclass(type(value), kind)), None)


def contained_values(kind: Any, container: Any) -> Iterable[Any]:
    """Return what a container holds, by the method of its built-in type: a subclass may have another."""
    return dict.values(container) if kind is dict else kind.__iter__(container)


def _parts(thing: Any, opaque: bool) -> Iterable[Any]:
    """Return what a container holds, `opaque` objects too, by Python's own methods: a subclass may have others."""
    kind = container_type(thing)
    if kind is not None:
        values = contained_values(kind, thing)
        return sorted(values, key=_computed) if kind in (set, frozenset) else values
    if isinstance(thing, _NO_OUTPUT):
        return ()
    attributes = _attributes(thing)
    if isinstance(thing, Distribution):
        named = [attributes[name] for name in _constrained(thing) if name in attributes]
        return named or attributes.values()
    if isinstance(thing, Mapping) and (isinstance(thing, MappingProxyType) or not tensors_in(attributes)):
        with contextlib.suppress(Exception, SystemExit):
            return [*islice(thing.values(), _MOST)]
    return attributes.values() if opaque or is_dataclass(thing) or isinstance(thing, Mapping) else ()


def _computed(item: Any) -> int:
    """Return when autograd saw a tensor computed; a set keeps them by address, which differs from run to run."""
    node = item.grad_fn if isinstance(item, Tensor) else None
    return -1 if node is None else node._sequence_nr()


def _constrained(distribution: Distribution) -> Iterable[str]:
    """Return the names of the parameters that the class of a distribution declares."""
    declared = type(distribution).arg_constraints
    return declared if isinstance(declared, dict) else ()


def _attributes(thing: Any) -> dict[str, Any]:
    """Return the attributes that an object holds, in its slots and in its ``__dict__``, without calling its code."""
    found: dict[str, Any] = {}
    for cls in reversed(type(thing).__mro__):
        for name, member in vars(cls).items():
            if isinstance(member, MemberDescriptorType):
                with contextlib.suppress(AttributeError):  # a slot that was never set
                    found[name] = member.__get__(thing)
    return found | attributes_of(thing)


@lru_cache(64)
def dtype_name(dtype: torch.dtype) -> str:
    """Return ``float32`` for ``torch.float32``."""
    return str(dtype).removeprefix("torch.")


def storage_of(tensor: Tensor) -> int | None:
    """Return the identity of a tensor's storage, None where it has none (lazy, sparse, wrapper subclasses)."""
    try:
        return tensor.untyped_storage()._cdata if tensor.numel() else None
    except (RuntimeError, NotImplementedError, ValueError):
        return None


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Compare shape, dtype and every bit; on the meta device, where there are none, shape and dtype.

    NaN equals itself here, and 0.0 is not −0.0.
    """
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.is_meta or other.is_meta:
        return one.is_meta and other.is_meta
    return torch.equal(_bit_pattern(one), _bit_pattern(other))


def _bit_pattern(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


# --- the graph behind a tensor ---------------------------------------------------------------------------------


def leaves_of(root: Any) -> list[Tensor]:
    """Return the leaves that a backward from a tensor, or from a node, accumulates gradients in, each once."""
    if isinstance(root, Tensor) and root.grad_fn is None:
        return [root] if root.requires_grad else []
    return leaves_among(nodes_of(root))


def leaves_among(nodes: Iterable[Any]) -> list[Tensor]:
    """Return the leaves that some nodes accumulate gradients in, each once."""
    found = (getattr(node, "variable", None) for node in nodes)
    return list({id(leaf): leaf for leaf in found if isinstance(leaf, Tensor)}.values())


def nodes_of(root: Any, without: Set[Any] = frozenset()) -> list[Any]:
    """Return every node behind a tensor or a node, each once; those in `without`, and what is behind them, are not."""
    todo = [root.grad_fn if isinstance(root, Tensor) else root]
    found: dict[Any, None] = {}
    while todo:
        node = todo.pop()
        if node is not None and node not in found and node not in without:
            found[node] = None
            todo += [following for following, _ in node.next_functions]
    return [*found]


def operation_of(node: Any) -> str:
    """Return what torch calls the operation of a node: ``mul`` for MulBackward0, ``to`` for ToCopyBackward0."""
    name = re.sub(r"Backward\d*$", "", node.name())
    return {"ToCopy": "to"}.get(name) or re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
