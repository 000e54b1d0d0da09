"""Frozen dataclasses that cost little time to define.

The standard library writes six functions for each of them as text, and compiles these: of two hundred, that was an
eighth of `paraminspect show`. Here all of them share the functions below, which take the names of the fields from a
table; an object of many fields is made in half the time too. A class of which there are many objects, as the rows of
a large model, has its ``__init__`` compiled after the first of them: that takes a fifth of the time for each. Write::

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
from collections.abc import Callable, Mapping, Sequence
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


_MANY = 50
"""Objects of a class after which its ``__init__`` is compiled: that has paid off after about as many more."""


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
    """Return an ``__init__`` that fills the dictionary of an object in the order of its fields.

    The one that it puts in its own place in the end does the same.
    """
    held_by_objects = [field for field in fields if field.init or field.default_factory is not MISSING]
    blank = {field.name: field.default for field in held_by_objects}  # the others' defaults the class has
    factories = {field.name: field.default_factory for field in fields if field.default_factory is not MISSING}
    order = [field.name for field in fields if field.init]
    required = [name for name in order if blank[name] is MISSING and name not in factories]
    missing_after = [frozenset(required[at:]) for at in range(len(required) + 1)]  # by how many are given by position
    count, most, post = len(blank), len(order), hasattr(cls, "__post_init__")
    made = 0

    def fill(self: Any, *given: Any, **named: Any) -> None:
        nonlocal made
        made += 1
        if made == _MANY:
            cls.__init__ = _compiled(cls.__qualname__, blank, factories, order, post)
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


def _compiled(
    name: str, blank: Mapping[str, Any], factories: Mapping[str, Any], order: Sequence[str], post: bool
) -> Callable[..., None]:
    """Return an ``__init__`` with the fields as its arguments.

    For a class of a field `a`, and one `b` that is a new list unless it is given, it reads::

        def __init__(self, a, b=default_b):
            held = self.__dict__
            held['a'] = a
            held['b'] = make_b() if b is default_b else b
    """
    arguments = [one if blank[one] is MISSING and one not in factories else f"{one}=default_{one}" for one in order]
    lines = [f"def __init__({', '.join(['self', *arguments])}):", " held = self.__dict__"]
    known: dict[str, Any] = {}
    for one, default in blank.items():
        known[f"default_{one}"] = default
        value = one if one in order else f"default_{one}"
        if one in factories:
            known[f"make_{one}"] = factories[one]
            value = f"make_{one}() if {value} is default_{one} else {value}"
        lines.append(f" held[{one!r}] = {value}")
    lines += [" self.__post_init__()"] * post
    exec("\n".join(lines), known)
    found: Callable[..., None] = known["__init__"]
    found.__qualname__ = f"{name}.__init__"
    return found


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
