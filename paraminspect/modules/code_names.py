"""Whether the code of a module's class names an attribute at all, apart from where it is built: without running it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from types import CodeType, FunctionType
from typing import Any, Final

from torch import nn

_BUILDING: Final = re.compile(r"_*(init|build|make|reset|set|get|load|from|state|extra_repr|tie|prune|freeze|to)(_|$)")
"""Beginnings of the names of methods that make a module or look at it, and are no part of a forward."""


def may_be_read(name: str, modules: Mapping[str, nn.Module]) -> bool:
    """Tell whether a class above the parameter `name` names the next part of it outside of what builds the module.

    ``self.aux`` in a branch of the forward: another input, or another mode, may read ``aux.weight``. A part that no
    code names cannot be read by its name. Parts of torch's own containers are read by number: they tell nothing, and
    False is returned where there is nothing but them.
    """
    parts, told = name.split("."), False
    for depth, part in enumerate(parts):
        owner = modules.get(".".join(parts[:depth]))
        if owner is None or type(owner).__module__.startswith("torch.nn."):
            continue
        kind: Any = type(owner)
        if part not in names_in(kind):
            return False
        told = True
    return told


@cache
def names_in(kind: Any) -> frozenset[str]:
    """Return what the methods of a class and of those it derives from name, torch's own left out."""
    found: set[str] = set()
    for base in kind.__mro__:
        if base.__module__.startswith(("torch.nn.", "builtins")):
            continue
        for name, value in vars(base).items():
            function = getattr(value, "__func__", value)
            function = getattr(function, "__wrapped__", function)
            if isinstance(function, FunctionType) and not _BUILDING.match(name):
                found.update(_names(function.__code__))
    return frozenset(found)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
        elif isinstance(constant, str):  # getattr(self, "aux")
            yield constant
