"""The tensors of what a module took or returned, each with its place there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from itertools import islice
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from paraminspect.modules.nested_tensors import dtype_name
from paraminspect.modules.walk import attributes_of
from paraminspect.report import LayerTensor

_MOST = 64
_DEEPEST = 8


def layer_tensors(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[LayerTensor, ...]:
    """Return the tensors among the arguments of a call: by position ``[0]``, by keyword its name.

    A lone argument goes without a position: its tensors are named by their place in it.
    """
    if len(args) == 1 and not kwargs:
        only = args[0]
        if isinstance(only, Tensor):
            return (_described("", only),)
        return tuple(_within("", only))
    named = [(f"[{at}]", value) for at, value in enumerate(args)] + list(kwargs.items())
    plain = {one.name: one for place, value in named for one in _within(place, value, opaque=False)}
    if plain:  # what hangs on an object beside them, such as a cache of keys and values, is state
        return tuple(plain.values())
    return tuple({one.name: one for place, value in named for one in _within(place, value)}.values())


def _within(place: str, value: Any, opaque: bool = True) -> Iterator[LayerTensor]:
    """Yield the tensors that hang on a value, the first of very many; on `opaque` objects where there are no others."""
    named = list(islice(_named(place, value, 0, opaque=False), _MOST))
    if not named and opaque:
        named = list(islice(_named(place, value, 0, opaque=True), _MOST))
    for name, tensor in named:
        yield _described(name, tensor)


def _named(place: str, value: Any, depth: int, opaque: bool) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a value; those of `opaque` objects too where there are no others, see `tensors_in`."""
    if isinstance(value, Tensor):
        yield place, value
    elif depth < _DEEPEST and not isinstance(value, (str, bytes, int, float, type(None))):
        for step, item in _items(value, opaque):
            yield from _named(_joined(place, step), item, depth + 1, opaque)


def _joined(place: str, step: str) -> str:
    return f"{place}.{step}" if place and not step.startswith("[") else place + step


def _items(value: Any, opaque: bool) -> Iterator[tuple[str, Any]]:
    """Yield what a container holds, and how it is reached, by Python's own methods; of another object its attributes.

    An attribute and a key that could be one go by their name, other keys and places stand in brackets.
    """
    if is_dataclass(value) and not isinstance(value, type):
        held = attributes_of(value)
        yield from ((one.name, held[one.name]) for one in fields(value) if one.name in held)
    elif issubclass(type(value), dict):
        yield from ((_key(key), item) for key, item in dict.items(value))
    elif issubclass(type(value), tuple) and hasattr(type(value), "_fields"):
        yield from ((name, item) for name, item in zip(type(value)._fields, tuple.__iter__(value), strict=False))
    elif issubclass(type(value), (list, tuple)):
        kind: Any = list if issubclass(type(value), list) else tuple
        yield from ((f"[{at}]", item) for at, item in enumerate(islice(kind.__iter__(value), _MOST)))
    elif opaque and not isinstance(value, (type, Module, ModuleType, FunctionType)):
        yield from attributes_of(value).items()


def _key(key: object) -> str:
    return key if type(key) is str and key.isidentifier() else f"[{key!r}]" if type(key) in (str, int) else "[…]"


def _described(name: str, tensor: Tensor) -> LayerTensor:
    if type(tensor) in (Tensor, Parameter) and not tensor.is_nested:
        return _described_once(name, tensor.shape, tensor.dtype)
    with torch._C.DisableTorchFunctionSubclass():
        return _described_once(name, torch.Size() if tensor.is_nested else tensor.shape, tensor.dtype)


@lru_cache(10_000)
def _described_once(name: str, shape: torch.Size, dtype: torch.dtype) -> LayerTensor:
    """Return the description of a tensor; most modules of a model take and return tensors like those of others."""
    return LayerTensor(name, tuple(map(int, shape)), dtype_name(dtype))
