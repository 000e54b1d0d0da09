"""Every path that leads to a module, read from what modules hold: no code of theirs runs, no recursion ends early."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from functools import cached_property
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

from torch import Tensor, nn
from torch.jit._script import RecursiveScriptModule

from paraminspect.frozen import dataclass

MOST_ALIASES = 10_000
"""Paths through a module that had a path already: modules registered twice, nested n deep, have 2^n of them."""

_MRO = type.__dict__["__mro__"]
_NAMESPACE = type.__dict__["__dict__"]
_OF_MODULE: Callable[[object], Any] = vars(nn.Module)["__dict__"].__get__  # whatever a subclass says it is

Path = tuple[str, nn.Module]


@dataclass(frozen=True)
class Walk:
    """The paths of a module in torch's order, from ``""`` for itself.

    A module that is registered inside itself has no path through itself: `cycles` are the names left out for that.
    `cut` says that there were more than MOST_ALIASES further paths to modules that had one, and some are left out.
    """

    paths: tuple[Path, ...]
    cycles: tuple[str, ...] = ()
    cut: bool = False

    def once(self) -> Iterator[Path]:
        """Yield every module once, under its first path."""
        return iter(self._first)

    @cached_property
    def overridden(self) -> str:
        """Say which class puts its own code in the place of torch's ``parameters()``; nothing if none does.

        Of the modules below the root only `named_modules` counts: torch asks nothing else of them.
        """
        usual: set[type] = set()
        methods: Sequence[str] = _NAMING
        for _, module in self.paths:
            kind, held = type(module), attributes_of(module)
            for method in methods:
                if method in held or not (kind in usual or is_torchs(kind, method)):
                    return f"{kind.__name__} has its own {method}()"
            usual.add(kind)
            methods = _NAMING[-1:]
        return ""

    @cached_property
    def _first(self) -> tuple[Path, ...]:
        found: dict[int, Path] = {}
        for one in self.paths:
            found.setdefault(id(one[1]), one)
        return tuple(found.values())


def attributes_of(held: object) -> dict[str, Any]:
    """Return the instance attributes of any object, without a property, ``__getattr__`` or metaclass being asked.

    A traced module keeps its own in another one.
    """
    found = _OF_MODULE(held) if issubclass(type(held), nn.Module) else _namespace_of(held)
    if type(found) is not dict:
        return {}
    if "_actual_script_module" not in found:  # as in most
        return found
    traced = found["_actual_script_module"]
    return attributes_of(traced) if type(traced) is RecursiveScriptModule else found


def own_attributes(module: nn.Module) -> list[tuple[str, Any]]:
    """Return the attributes that a module has beyond those of every nn.Module, in their order."""
    held = attributes_of(module)
    names = [*held]
    usual = len(_OF_EVERY)
    first = names[:usual] == _OF_EVERY  # as in most
    return [(name, held[name]) for name in (names[usual:] if first else names) if first or name not in _OF_EVERY]


def _namespace_of(held: object) -> Any:
    for kind in _MRO.__get__(type(held)):
        descriptor = _NAMESPACE.__get__(kind).get("__dict__")
        if type(descriptor) in (GetSetDescriptorType, MemberDescriptorType):
            return descriptor.__get__(held)
    return None


_OF_EVERY = [*attributes_of(nn.Module())]


def registered(module: nn.Module, what: str) -> list[tuple[str, Any]]:
    """Return the items of ``_parameters``, ``_buffers`` or ``_modules`` that are not None.

    A class that never called ``super().__init__()`` has none; a ScriptModule has dictionaries of torch's own.
    """
    held: Any = attributes_of(module).get(what)
    if not held and type(held) is dict:  # as most are
        return []
    if issubclass(type(held), dict):
        items = dict.items(held)
    elif type(held).__module__ == "torch.jit._script":
        items = held.items()
    else:
        return []
    if not items:
        return []
    kind = nn.Module if what == "_modules" else Tensor
    return [
        (name if type(name) is str else _text(name), value) for name, value in [*items] if issubclass(type(value), kind)
    ]


def _text(name: object) -> str:
    """Return a name as torch writes it, also that of an Enum; torch has no way to write one that is no text."""
    return str.__str__(name) if issubclass(type(name), str) else f"<{type(name).__name__}>"


def join(path: str, name: str) -> str:
    """Return ``path.name``, at the root the name alone."""
    return f"{path}.{name}" if path else name


def names_of_parameters(module: nn.Module) -> list[tuple[nn.Parameter, tuple[str, ...]]]:
    """Return every Parameter of `module` once, with all its names."""
    found: dict[int, tuple[nn.Parameter, list[str]]] = {}
    for path, owner in walk(module).paths:
        for name, parameter in registered(owner, "_parameters"):
            found.setdefault(id(parameter), (parameter, []))[1].append(join(path, name))
    return [(parameter, tuple(names)) for parameter, names in found.values()]


def walk(root: nn.Module) -> Walk:
    """Follow ``_modules`` depth first: linear in the number of paths, at any depth, whatever registers what."""
    paths: list[Path] = [("", root)]
    cycles: list[str] = []
    seen = {id(root)}
    above = {id(root)}
    aliases = 0
    # The modules from the root to where the walk is: path, id, whether it had a path before, and the children left.
    trail = [("", id(root), False, iter(registered(root, "_modules")))]
    while trail:
        path, key, again, children = trail[-1]
        for name, child in children:
            own = id(child)
            if own in above:
                cycles += [] if again else [join(path, name)]
                continue
            aliases += again  # what is below it has paths too: leaving them out loses no module
            if again and aliases > MOST_ALIASES:
                continue
            inner = f"{path}.{name}" if path else name
            paths.append((inner, child))
            below: Any = attributes_of(child).get("_modules")
            if below or type(below) is not dict:  # of those that no code of a user's made, it is empty in most
                below = registered(child, "_modules")
            if below:
                trail.append((inner, own, own in seen, iter(below)))
                above.add(own)
            seen.add(own)
            if below:
                break
        else:
            trail.pop()
            above.remove(key)
    return _kept_short(Walk(tuple(paths), tuple(cycles), aliases > MOST_ALIASES))


# --- names without the prefix of a wrapper ---------------------------------------------------------------------

_short: ContextVar[tuple[nn.Module, str] | None] = ContextVar("_short", default=None)


@contextlib.contextmanager
def names_without(prefix: str, root: nn.Module) -> Iterator[None]:
    """Let every walk of `root` leave out a prefix, as ``module.``, that all its names have.

    The model in the wrappers is at ``""`` then; the wrappers, which hold nothing else, are at ``(DataParallel)``.
    """
    before = _short.set((root, prefix) if prefix else None)
    try:
        yield
    finally:
        _short.reset(before)


def without_prefix(name: str) -> str:
    """Return a name, or a glob, that a user may have typed with the prefix as the walk has it."""
    short = _short.get()
    return name.removeprefix(short[1]) if short else name


def _kept_short(found: Walk) -> Walk:
    short = _short.get()
    if short is None or found.paths[0][1] is not short[0]:
        return found
    prefix = short[1]

    def shown(path: str, module: nn.Module) -> str:
        if path.startswith(prefix):
            return path[len(prefix) :]
        return "" if f"{path}." == prefix else f"({' '.join(filter(None, (type(module).__name__, path)))})"

    paths = [(shown(path, module), module) for path, module in found.paths]
    return Walk(tuple(paths), tuple(name.removeprefix(prefix) for name in found.cycles), found.cut)


_NAMING = ("parameters", "named_parameters", "_named_members", "named_modules")


def is_torchs(kind: type, method: str) -> bool:
    """Tell whether the first class that defines `method` is one of torch's."""
    owner = next(base for base in _MRO.__get__(kind) if method in _NAMESPACE.__get__(base))
    return str(type.__getattribute__(owner, "__module__")).partition(".")[0] == "torch"
