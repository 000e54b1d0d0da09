"""The tensors of whatever a forward takes or returns."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from itertools import islice
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MemberDescriptorType, MethodType, ModuleType
from typing import Any

from torch import Tensor, nn
from torch.distributions import Distribution

_MOST = 1_000_000  # objects looked at: what is larger is no output but a data set
_PLAIN = (str, bytes, bytearray, int, float, complex, type(None), range)
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
    found: dict[int, Tensor] = {}
    seen: dict[int, Any] = {}  # holds what it names, so that every id stays its own
    todo = [output]
    while todo and len(seen) < _MOST:
        thing = todo.pop()
        if isinstance(thing, _PLAIN) or id(thing) in seen:
            continue
        seen[id(thing)] = thing
        if isinstance(thing, Tensor):
            found[id(thing)] = thing
        else:
            todo.extend(reversed([*_parts(thing, opaque)]))
    return [*found.values()]


def _parts(thing: Any, opaque: bool) -> Iterable[Any]:
    """Return what a container holds, `opaque` objects too, by Python's own methods: a subclass may have others."""
    if isinstance(thing, dict):
        return dict.values(thing)
    if isinstance(thing, tuple):
        return tuple.__iter__(thing)
    if isinstance(thing, list):
        return list.__iter__(thing)
    if isinstance(thing, deque):
        return deque.__iter__(thing)
    if isinstance(thing, set):
        return sorted(set.__iter__(thing), key=_computed)
    if isinstance(thing, frozenset):
        return sorted(frozenset.__iter__(thing), key=_computed)
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
    """Return the attributes that an object holds, in its ``__dict__`` and in its slots, without calling its code."""
    found: dict[str, Any] = {}
    for cls in reversed(type(thing).__mro__):
        for name, member in vars(cls).items():
            if isinstance(member, MemberDescriptorType):
                with contextlib.suppress(AttributeError):  # a slot that was never set
                    found[name] = member.__get__(thing)
    with contextlib.suppress(AttributeError, TypeError):
        found |= object.__getattribute__(thing, "__dict__")
    return found
