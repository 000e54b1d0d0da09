"""The tensors of what a module took or returned, each with its place there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from paraminspect.modules.nested_tensors import dtype_name, tensors_in
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
    found: dict[str, LayerTensor] = {}
    for at, value in enumerate(args):
        found |= {one.name: one for one in _within(f"[{at}]", value)}
    for name, value in kwargs.items():
        found |= {one.name: one for one in _within(name, value)}
    return tuple(found.values())


def _within(place: str, value: Any) -> Iterator[LayerTensor]:
    """Yield the tensors that hang on a value, the first of very many."""
    named = list(_named(place, value, 0))[:_MOST]
    if not named:
        named = [(f"{place}[{at}]", tensor) for at, tensor in enumerate(tensors_in(value)[:_MOST])]
    for name, tensor in named:
        yield _described(name, tensor)


def _named(place: str, value: Any, depth: int) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield place, value
    elif depth < _DEEPEST and not isinstance(value, (str, bytes, int, float, type(None))):
        for step, item in _items(value):
            yield from _named(_joined(place, step), item, depth + 1)


def _joined(place: str, step: str) -> str:
    return f"{place}.{step}" if place and not step.startswith("[") else place + step


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a container holds, and how it is reached, by Python's own methods; nothing of any other object.

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
        yield from ((f"[{at}]", item) for at, item in enumerate(list(value)[:_MOST]))


def _key(key: object) -> str:
    return key if type(key) is str and key.isidentifier() else f"[{key!r}]" if type(key) in (str, int) else "[…]"


def _described(name: str, tensor: Tensor) -> LayerTensor:
    with torch._C.DisableTorchFunctionSubclass():
        shape = () if tensor.is_nested else tuple(map(int, tensor.shape))
        return LayerTensor(name, shape, dtype_name(tensor.dtype))
