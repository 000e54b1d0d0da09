"""Where a tensor is held that no module registers and no attribute leads to: the class, or a function of it.

Only what Python holds is read: class attributes, closures, defaults and the globals that a function names.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any, NamedTuple

from torch import Tensor, nn

from paraminspect.modules.forgotten import Forgotten
from paraminspect.modules.walk import Path, attributes_of, join, registered, walk

MOST = 20_000
"""Values looked at, for all tensors together."""

DEEPEST = 6

_WHY = "not in parameters(), so no optimizer sees it, and state_dict lacks it; set it on self in __init__"
_LIBRARIES = ("torch", "builtins", "functools", "typing", "abc", "collections", "numpy")
_MRO, _NAMESPACE = type.__dict__["__mro__"], type.__dict__["__dict__"]


class _Held(NamedTuple):
    """A value, the name that leads to it, the module and its path where that begins, why it is not registered."""

    value: Any
    name: str
    owner: nn.Module
    path: str
    why: str
    depth: int = 0


def locate(paths: Iterable[Path], wanted: Iterable[Tensor]) -> Iterator[Forgotten]:
    """Yield where those of the tensors are held that are found, breadth first."""
    left = {id(tensor) for tensor in wanted}
    todo = deque(_starts([*paths]))
    seen: set[int] = set()
    while todo and left and len(seen) < MOST:
        held = todo.popleft()
        if id(held.value) in seen or held.depth > DEEPEST:
            continue
        seen.add(id(held.value))
        if issubclass(type(held.value), Tensor):
            if id(held.value) in left:
                left.remove(id(held.value))
                note = f"{held.why}: {_WHY}"
                yield Forgotten(held.name, held.value, held.owner, held.path, note)
        else:
            todo += _inside(held)


def _starts(paths: list[Path]) -> Iterator[_Held]:
    """Yield what the classes of the modules hold, each class once, then the functions that modules hold themselves."""
    seen: set[type] = set()
    for path, module in paths:
        for kind in _MRO.__get__(type(module)):
            if kind not in seen and not _is_library(kind):
                seen.add(kind)
                for name, value in list(_NAMESPACE.__get__(kind).items()):
                    yield _Held(value, join(path, name), module, path, f"an attribute of the class {kind.__name__}")
    for path, module in paths:
        for name, value in list(attributes_of(module).items()):
            if issubclass(type(value), (FunctionType, MethodType, partial)):
                yield _Held(value, join(path, name), module, path, f"held by the function {name}")
            elif name.endswith("_hooks") and value:
                hooks = value.values() if isinstance(value, dict) else ()
                yield from (_Held(hook, join(path, name), module, path, "held by a hook") for hook in hooks)


def _inside(held: _Held) -> Iterator[_Held]:
    """Yield what a module, a function or a container holds."""
    value, deeper = held.value, held.depth + 1

    def inner(item: Any, step: str, why: str = held.why) -> _Held:
        return _Held(item, f"{held.name}{step}", held.owner, held.path, why, deeper)

    if issubclass(type(value), nn.Module):
        for path, module in walk(value).once():
            for what in ("_parameters", "_buffers"):
                yield from (inner(item, f".{join(path, name)}") for name, item in registered(module, what))
    elif isinstance(value, (staticmethod, classmethod, MethodType)):
        yield inner(value.__func__, "")
    elif isinstance(value, property):
        yield from (inner(function, "") for function in (value.fget, value.fset) if function is not None)
    elif type(value) is partial:
        yield inner(value.func, "")
        yield from (inner(item, f".args[{at}]") for at, item in enumerate(value.args))
        yield from (inner(item, f".{name}") for name, item in value.keywords.items())
    elif type(value) is FunctionType:
        for name, item, where in _of_function(value):
            yield inner(item, f".{name}", f"{where} {value.__qualname__}")
    elif issubclass(type(value), dict):
        yield from (inner(item, f"[{key!r}]" if type(key) in (str, int) else "[…]") for key, item in dict.items(value))
    elif issubclass(type(value), (list, tuple, set, frozenset)):
        yield from (inner(item, f"[{at}]") for at, item in enumerate(value))
    elif not isinstance(value, type) and not _is_library(type(value)):
        yield from (inner(item, f".{name}") for name, item in list(attributes_of(value).items()))


def _of_function(function: FunctionType) -> Iterator[tuple[str, Any, str]]:
    """Yield the variables of a function that live outside of its calls, and what each is to it."""
    if str(function.__module__).partition(".")[0] in _LIBRARIES:
        return
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents, "in the closure of"
        except ValueError:  # not set yet
            continue
    for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield "default", default, "a default argument of"
    for name in dict.fromkeys(_names(function.__code__)):
        if name in function.__globals__:
            yield name, function.__globals__[name], "a global variable read by"


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_library(kind: type) -> bool:
    return str(type.__getattribute__(kind, "__module__")).partition(".")[0] in _LIBRARIES
