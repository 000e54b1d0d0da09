"""Frozen dataclasses that cost little time to define.

The standard library writes six functions for each of them as text, and compiles these: of two hundred, that was an
eighth of `paraminspect show`. Here all of them share the functions below, which take the names of the fields from a
table; an object of many fields is made in half the time too. Write::

    from paraminspect.frozen import dataclass

    @dataclass(frozen=True)
    class Point:
        x: int
        y: int = 0

Everything else is as ever: ``dataclasses.field``, ``fields``, ``replace`` and ``asdict``, what the type checker knows,
equality and hash by the fields, FrozenInstanceError. Classes with slots, and those that are not frozen, are for
``dataclasses.dataclass``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, FrozenInstanceError
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(*, frozen: bool, eq: bool = True) -> Callable[[type], type]:
        """Return the decorator of a class; with `eq` False an object is equal to itself alone."""
        if not frozen:
            raise TypeError("dataclasses.dataclass is for objects that change")
        return lambda cls: _completed(dataclasses.dataclass(init=False, repr=False, eq=False)(cls), eq)


def _completed(cls: Any, eq: bool) -> Any:
    """Give a class, of which the fields are known, what its objects need."""
    fields = dataclasses.fields(cls)
    names = frozenset(field.name for field in fields)

    def refuse(self: Any, name: str, *value: Any) -> None:
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot {'assign to' if value else 'delete'} field {name!r}")
        (object.__setattr__ if value else object.__delattr__)(self, name, *value)

    cls.__init__ = _initialiser(cls, fields)
    cls.__setattr__ = cls.__delattr__ = refuse
    if "__repr__" not in vars(cls):
        cls.__repr__ = _repr
    if eq:
        _compare(cls, [field.name for field in fields if field.compare])
    return cls


def _initialiser(cls: Any, fields: Sequence[Field[Any]]) -> Callable[..., None]:
    """Return an ``__init__`` that fills the dictionary of an object in the order of its fields."""
    held_by_objects = [field for field in fields if field.init or field.default_factory is not MISSING]
    blank = {field.name: field.default for field in held_by_objects}  # the others' defaults the class has
    factories = {field.name: field.default_factory for field in fields if field.default_factory is not MISSING}
    order = [field.name for field in fields if field.init]
    required = [name for name in order if blank[name] is MISSING and name not in factories]
    missing_after = [frozenset(required[at:]) for at in range(len(required) + 1)]  # by how many are given by position
    count, most, post = len(blank), len(order), hasattr(cls, "__post_init__")

    def fill(self: Any, *given: Any, **named: Any) -> None:
        held = self.__dict__
        held.update(blank)
        at = len(given)
        if at:
            held.update(zip(order, given, strict=False))
        held.update(named)
        known = len(held) == count and at <= most and missing_after[min(at, len(required))] <= named.keys()
        if not known or (at and named and not named.keys().isdisjoint(order[:at])):
            raise TypeError(f"{cls.__qualname__} takes {', '.join(order)}; got {at} by position and {[*named]}")
        if factories:
            held.update({name: make() for name, make in factories.items() if held[name] is MISSING})
        if post:
            self.__post_init__()

    return fill


def _repr(self: Any) -> str:
    shown = (f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self) if field.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _compare(cls: Any, names: Sequence[str]) -> None:
    """Let objects of a class be equal, and have one hash, where these fields are equal."""
    key: Any = attrgetter(*names) if names else lambda _: ()

    def equal(self: Any, other: object) -> Any:
        return key(self) == key(other) if type(self) is type(other) else NotImplemented

    if "__eq__" not in vars(cls):
        cls.__eq__ = equal
    if "__hash__" not in vars(cls) or vars(cls)["__hash__"] is None:
        cls.__hash__ = lambda self: hash(key(self))
