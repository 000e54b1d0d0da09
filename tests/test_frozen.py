"""A frozen dataclass of ours against the standard library's: hypothesis draws what it is called with."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import field
from typing import Any

import pytest
from hypothesis import given, strategies as st

from paraminspect.frozen import dataclass


class Shape:
    """The fields of both: required, with a default, made by a factory, not compared, not of the call."""

    a: int
    b: str
    c: int = 3
    d: list[int] = field(default_factory=list)
    e: int = field(default=5, compare=False, repr=False)
    f: int = field(default=6, init=False)


def made(decorator: Any) -> Any:
    held = {name: value for name, value in vars(Shape).items() if name not in ("__dict__", "__weakref__")}
    return decorator(type("Shape", (), held))


OURS, THEIRS = made(dataclass(frozen=True)), made(dataclasses.dataclass(frozen=True))
NAMED = st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e", "zz"]), st.integers(0, 2))


def outcome(call: Any) -> Any:
    try:
        return call()
    except Exception as error:
        return type(error)


@given(st.lists(st.integers(0, 2), max_size=6), NAMED, st.lists(st.integers(0, 2), max_size=6), NAMED)
def test_as_the_standard_library(one: list[int], named: Any, other: list[int], others: Any) -> None:
    kinds = (OURS, THEIRS)
    a, b = ([outcome(lambda k=k, p=p, n=n: k(*p, **n)) for k in kinds] for p, n in ((one, named), (other, others)))
    assert repr(a[0]) == repr(a[1])
    if TypeError in (a[0], b[0]):
        return
    assert vars(a[0]) == vars(a[1]) and [*vars(a[0])] == [*vars(a[1])]
    assert (a[0] == b[0]) is (a[1] == b[1]) and a[0] != a[1]
    assert outcome(lambda: hash(a[0])) == outcome(lambda: hash(a[1]))
    changed = [vars(dataclasses.replace(found, a=7)) for found in a]
    assert changed[0] == changed[1] and dataclasses.asdict(a[0]) == dataclasses.asdict(a[1])
    assert copy.deepcopy(a[0]) == a[0]


def test_it_cannot_be_changed() -> None:
    held = OURS(1, "x")
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'a'"):
        held.a = 2
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'a'"):
        del held.a
    with pytest.raises(dataclasses.FrozenInstanceError):
        held.new = 2
    assert held.a == 1


def test_a_missing_field_is_named() -> None:
    kind = made(dataclass(frozen=True))
    with pytest.raises(TypeError, match=r"Shape takes a, b, c, d, e; got 1 by position and \['c'\]"):
        kind(1, c=2)
    for _ in range(50):  # after which its __init__ is compiled
        kind(1, "x")
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'b'"):
        kind(1, c=2)


@dataclass(frozen=True)
class Base:
    """A class that another one goes on from."""

    a: int
    b: int = 2


@dataclass(frozen=True)
class Derived(Base):
    """Fields of its own behind those of its base."""

    c: int = 3

    def __post_init__(self) -> None:
        if self.c < 0:
            raise ValueError("c")


@dataclass(frozen=True, eq=False)
class Alone:
    """Equal to itself alone."""

    a: int = 1


def test_bases_checks_and_identity() -> None:
    assert repr(Derived(1)) == "Derived(a=1, b=2, c=3)" and Derived(1) != Base(1)
    assert pickle.loads(pickle.dumps(Derived(1, c=4))) == Derived(1, 2, 4)
    with pytest.raises(ValueError, match="c"):
        Derived(1, c=-1)
    alone = Alone()
    assert alone == alone and alone != Alone() and len({alone, Alone()}) == 2
