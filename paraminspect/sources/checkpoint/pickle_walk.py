"""What a pickle would make, told from its opcodes: nothing is imported, nothing is called, no object is made.

``torch.load(weights_only=True)`` refuses code, but believes what a pickle says of sizes, and a tuple in a tuple in a
tuple, deep enough, ends the process. So the pickle is walked first, on a stack of texts, numbers, tuples and names.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

_MOST_STEPS = 10_000_000
_DEEPEST = 100
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")
_GETS = ("GET", "BINGET", "LONG_BINGET")
_TUPLES = ("EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "TUPLE")
_LITERALS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_MARK = object()


class Name(str):
    """What a pickle would import, as ``module.name``."""


class StoredStorage(NamedTuple):
    """The memory of tensors, as a pickle of torch names it: the class of the storage, its key, its elements."""

    kind: str
    key: str
    numel: int


class BadPickle(Exception):
    """Say what is wrong with a pickle, as the rest of a sentence about it."""


@dataclass
class PickleFacts:
    """What a pickle names: what it would import, and the storages it refers to."""

    names: dict[str, None] = field(default_factory=dict)
    storages: list[StoredStorage] = field(default_factory=list)


def walk_pickle(stream: IO[bytes], facts: PickleFacts) -> None:
    """Walk one pickle to its end and add to `facts`.

    Raises BadPickle for what is no pickle, has too many steps, or nests tuples too deep.
    """
    machine = _Machine(facts)
    for count, (opcode, argument) in enumerate(_steps(stream)):
        if count > _MOST_STEPS:
            raise BadPickle(f"has more than {_MOST_STEPS:,} steps")
        try:
            machine.step(opcode, argument)
        except (IndexError, KeyError):
            raise BadPickle("is damaged: its steps do not fit together") from None


def _steps(stream: IO[bytes]) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            yield opcode, argument
    except (ValueError, OverflowError, MemoryError, UnicodeError):
        raise BadPickle("is cut short or damaged") from None


class _Value(NamedTuple):
    """A value on the stack, None for what is of no interest, and how deep tuples nest in it."""

    value: Any
    depth: int = 0


class _Machine:
    """A stack and a memo, as a pickle's steps use them."""

    def __init__(self, facts: PickleFacts) -> None:
        self.facts = facts
        self.stack: list[Any] = []
        self.memo: dict[int, _Value] = {}

    def step(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        name = opcode.name
        if name in _PUTS:
            self.memo[len(self.memo) if name == "MEMOIZE" else int(argument)] = self.stack[-1]
        elif name in _GETS:
            self.stack.append(self.memo[int(argument)])
        elif name == "MARK":
            self.stack.append(_MARK)
        elif name == "DUP":
            self.stack.append(self.stack[-1])
        else:
            self.stack += [self._result(name, argument, self._taken(opcode))] * len(opcode.stack_after)

    def _taken(self, opcode: pickletools.OpcodeInfo) -> list[_Value]:
        """Take off the stack what a step takes: so many values, or all down to the last mark and what lies below it."""
        before = opcode.stack_before
        if pickletools.markobject not in before:
            return [self.stack.pop() for _ in before][::-1]
        taken: list[_Value] = []
        while (top := self.stack.pop()) is not _MARK:
            taken.append(top)
        below = [self.stack.pop() for _ in range(before.index(pickletools.markobject))]
        return [*below[::-1], *taken[::-1]]

    def _result(self, name: str, argument: Any, taken: list[_Value]) -> _Value:
        """Return what a step leaves on the stack; note what it would import, and the storage it refers to."""
        if name in _TUPLES:
            depth = 1 + max((one.depth for one in taken), default=0)
            if depth > _DEEPEST:
                raise BadPickle(f"nests tuples more than {_DEEPEST} deep")
            return _Value(tuple(one.value for one in taken), depth)
        if name in ("GLOBAL", "INST"):
            return _Value(self._named(*argument.split(" ", 1)))
        if name == "STACK_GLOBAL":
            return _Value(self._named(*(one.value for one in taken)))
        if name == "BINPERSID":
            self._storage(taken[0].value)
        if name in _LITERALS:
            return _Value(_LITERALS[name])
        return _Value(argument if isinstance(argument, (str, int)) and not taken else None)

    def _named(self, module: Any, attribute: Any) -> Name:
        name = Name(f"{module}.{attribute}")
        self.facts.names[name] = None
        return name

    def _storage(self, reference: Any) -> None:
        match reference:
            case ("storage", Name() as kind, str() as key, _, int() as numel, *_) if numel >= 0:
                self.facts.storages.append(StoredStorage(kind.rpartition(".")[2], key, numel))
            case _:
                raise BadPickle("refers to memory in a way that torch.save does not")
