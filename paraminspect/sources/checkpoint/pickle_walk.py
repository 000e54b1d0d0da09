"""A pickle read as data: its opcodes build plain values and named records; nothing is imported, nothing is called.

A global is a record of its two names, a call a record of what would have been called and with what. The opcodes are
those of Python's ``pickletools``, all protocols.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

LONGEST: Final = 512_000_000
"""How many bytes of a pickle are read."""

_ROOM: Final = 3 * 2**30
"""About how many bytes the values of a pickle may take: those of a million tensors take 2 GiB."""

_DEEPEST: Final = 100
_LONGEST_NAME: Final = 1000


class BadPickle(Exception):
    """Say why bytes are no pickle that can be read; `at` is the position of the opcode."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.message, self.at = message, at


class Global(NamedTuple):
    """A class or function that the pickle names."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Persistent(NamedTuple):
    """What stands outside of the pickle, by its persistent id."""

    id: Any


@dataclass(eq=False, slots=True)
class Called:
    """What a call would have made: `function` of `args`; then `state`, and the items put into it."""

    function: Any
    args: Any
    kwargs: Any = None
    state: Any = None
    pairs: list[tuple[Any, Any]] = field(default_factory=list)
    items: list[Any] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class PickledDict:
    """A dict, by its pairs: a key of a hostile file is never hashed."""

    pairs: list[tuple[Any, Any]] = field(default_factory=list)


class Walked(NamedTuple):
    """What a pickle holds, the globals that it names in order, and where it ends."""

    value: Any
    globals: tuple[Global, ...]
    end: int


_MARK: Final = object()


def walk(data: bytes, start: int = 0) -> Walked:
    """Read the pickle that begins at `start`. Raises BadPickle where it breaks off or makes no sense."""
    machine = _Machine(data, start)
    try:
        return machine.run()
    except BadPickle:
        raise
    except (IndexError, ValueError, TypeError, KeyError, AttributeError, struct.error, RecursionError, OverflowError):
        raise BadPickle("its opcodes make no sense", machine.at) from None


class _Machine:
    def __init__(self, data: bytes, start: int) -> None:
        self.data, self.at, self.size = data, start, len(data)
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.named: dict[Global, None] = {}
        self.depths: dict[int, int] = {}  # of the tuples in tuples, which are kept so that no other has their id
        self.kept: list[Any] = []

    def run(self) -> Walked:
        data, size = self.data, len(self.data)
        room = _ROOM
        while room > 0:
            if self.at >= size:
                raise BadPickle("it breaks off", self.at)
            code = data[self.at]
            self.at += 1
            room -= _COSTS[code]
            if code == 0x2E:  # STOP
                return Walked(self.stack.pop(), tuple(self.named), self.at)
            step = _STEPS[code]
            if step is None:
                raise BadPickle(f"byte 0x{code:02x} is no opcode", self.at - 1)
            step(self)
        raise BadPickle(f"its values would take more than {_ROOM:,} bytes", self.at)

    # What the opcodes have in common.

    def take(self, count: int) -> bytes:
        piece = self.data[self.at : self.at + count]
        if count < 0 or len(piece) < count:
            raise BadPickle("it breaks off", self.at)
        self.at += count
        return piece

    def line(self) -> bytes:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise BadPickle("it breaks off", self.at)
        piece = self.data[self.at : end]
        self.at = end + 1
        return piece

    def byte(self) -> int:
        """Return the next byte: what most opcodes have, so that `number` would be a quarter of the time."""
        at = self.at
        if at >= self.size:
            raise BadPickle("it breaks off", at)
        self.at = at + 1
        return self.data[at]

    def four(self) -> int:
        """Return the next four bytes as an unsigned number."""
        at, end = self.at, self.at + 4
        if end > self.size:
            raise BadPickle("it breaks off", at)
        self.at = end
        return int.from_bytes(self.data[at:end], "little")

    def number(self, form: str) -> int:
        found: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return found

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def to_mark(self) -> list[Any]:
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise BadPickle("a mark is missing", self.at)
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def name(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise BadPickle("a global has no name", self.at)
        if len(module) + len(name) > _LONGEST_NAME:  # each tensor has its own, in what is said of it
            raise BadPickle(f"a global has a name of more than {_LONGEST_NAME:,} characters", self.at)
        found = Global(module, name)
        self.named[found] = None
        self.push(found)

    def call(self, function: Any, args: Any, kwargs: Any = None) -> None:
        self.push(Called(function, args, kwargs))

    def put_pairs(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, (PickledDict, Called)):
            raise BadPickle("an item is put into what holds none", self.at)
        target.pairs.extend(zip(items[::2], items[1::2], strict=True))

    def put_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, Called):
            target.items.extend(items)
        else:
            raise BadPickle("an item is put into what holds none", self.at)

    def build(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Called):
            self.stack[-1].state = state

    def newobj(self, with_keywords: bool) -> None:
        kwargs = self.stack.pop() if with_keywords else None
        args = self.stack.pop()
        self.call(self.stack.pop(), args, kwargs)

    def reduce(self) -> None:
        args = self.stack.pop()
        self.call(self.stack.pop(), args)

    def instance(self) -> None:
        items = self.to_mark()
        self.call(items[0], tuple(items[1:]))

    def inst(self) -> None:
        module, name = self.line().decode(), self.line().decode()
        items = self.to_mark()
        self.name(module, name)
        self.call(self.stack.pop(), tuple(items))

    def stack_global(self) -> None:
        name = self.stack.pop()
        self.name(self.stack.pop(), name)

    def text_global(self) -> None:
        module = self.line().decode()
        self.name(module, self.line().decode())

    def persistent(self) -> None:
        self.push(Persistent(self.stack.pop()))

    def tuple_of(self, count: int) -> None:
        items = tuple(self.stack[-count:])
        if _MARK in items or len(items) < count:
            raise BadPickle("a mark is in the way", self.at)
        del self.stack[-count:]
        self.push_tuple(items)

    def push_tuple(self, items: tuple[Any, ...]) -> None:
        """Push a tuple; refuse one so deep that whoever compares or frees it may come to the end of the C stack."""
        depth = 1 + max((self.depths.get(id(item), 0) for item in items if type(item) is tuple), default=-1)
        if depth > _DEEPEST:
            raise BadPickle(f"it nests tuples more than {_DEEPEST} deep", self.at)
        if depth:
            self.depths[id(items)] = depth
            self.kept.append(items)
        self.push(items)

    def integer(self) -> None:
        text = self.line()
        self.push({b"00": False, b"01": True}.get(text) if text in (b"00", b"01") else int(text))


def _long(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _quoted(data: bytes) -> str:
    if len(data) < 2 or data[:1] != data[-1:] or data[:1] not in (b"'", b'"'):
        raise ValueError
    return data[1:-1].decode("latin-1")


def _single(machine: _Machine, count: int) -> None:
    items = [machine.stack.pop() for _ in range(count)][::-1]
    machine.put_pairs(items) if count == 2 else machine.put_items(items)


_Step = Callable[[_Machine], object]

_NAMED_STEPS: Final[dict[bytes, _Step]] = {
    # marks, the stack, the memo
    b"(": lambda m: m.push(_MARK),
    b"0": lambda m: m.stack.pop(),
    b"1": lambda m: m.to_mark(),
    b"2": lambda m: m.push(m.stack[-1]),
    b"p": lambda m: m.memo.__setitem__(int(m.line()), m.stack[-1]),
    b"q": lambda m: m.memo.__setitem__(m.byte(), m.stack[-1]),
    b"r": lambda m: m.memo.__setitem__(m.four(), m.stack[-1]),
    b"\x94": lambda m: m.memo.__setitem__(len(m.memo), m.stack[-1]),
    b"g": lambda m: m.push(m.memo[int(m.line())]),
    b"h": lambda m: m.push(m.memo[m.byte()]),
    b"j": lambda m: m.push(m.memo[m.four()]),
    # numbers
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"I": lambda m: m.integer(),
    b"J": lambda m: m.push(m.number("<i")),
    b"K": lambda m: m.push(m.byte()),
    b"M": lambda m: m.push(m.number("<H")),
    b"L": lambda m: m.push(int(m.line().removesuffix(b"L"))),
    b"\x8a": lambda m: m.push(_long(m.take(m.byte()))),
    b"\x8b": lambda m: m.push(_long(m.take(m.number("<i")))),
    b"F": lambda m: m.push(float(m.line())),
    b"G": lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    # texts and bytes
    b"S": lambda m: m.push(_quoted(m.line())),
    b"T": lambda m: m.push(m.take(m.number("<i")).decode("latin-1")),
    b"U": lambda m: m.push(m.take(m.byte()).decode("latin-1")),
    b"V": lambda m: m.push(m.line().decode("raw-unicode-escape")),
    b"X": lambda m: m.push(_text(m.take(m.four()))),
    b"\x8c": lambda m: m.push(_text(m.take(m.byte()))),
    b"\x8d": lambda m: m.push(_text(m.take(m.number("<Q")))),
    b"B": lambda m: m.push(m.take(m.four())),
    b"C": lambda m: m.push(m.take(m.byte())),
    b"\x8e": lambda m: m.push(m.take(m.number("<Q"))),
    b"\x96": lambda m: m.push(m.take(m.number("<Q"))),
    # containers
    b")": lambda m: m.push(()),
    b"t": lambda m: m.push_tuple(tuple(m.to_mark())),
    b"\x85": lambda m: m.tuple_of(1),
    b"\x86": lambda m: m.tuple_of(2),
    b"\x87": lambda m: m.tuple_of(3),
    b"]": lambda m: m.push([]),
    b"l": lambda m: m.push(m.to_mark()),
    b"a": lambda m: _single(m, 1),
    b"e": lambda m: m.put_items(m.to_mark()),
    b"}": lambda m: m.push(PickledDict()),
    b"d": lambda m: m.push(PickledDict([*zip(*[iter(m.to_mark())] * 2, strict=True)])),
    b"s": lambda m: _single(m, 2),
    b"u": lambda m: m.put_pairs(m.to_mark()),
    b"\x8f": lambda m: m.push([]),
    b"\x90": lambda m: m.put_items(m.to_mark()),
    b"\x91": lambda m: m.push(m.to_mark()),
    # what would be named, called, built
    b"c": lambda m: m.text_global(),
    b"\x93": lambda m: m.stack_global(),
    b"R": lambda m: m.reduce(),
    b"\x81": lambda m: m.newobj(with_keywords=False),
    b"\x92": lambda m: m.newobj(with_keywords=True),
    b"o": lambda m: m.instance(),
    b"i": lambda m: m.inst(),
    b"b": lambda m: m.build(),
    b"P": lambda m: m.push(Persistent(m.line().decode("latin-1"))),
    b"Q": lambda m: m.persistent(),
    # the protocol, its frames
    b"\x80": lambda m: m.take(1),
    b"\x95": lambda m: m.take(8),
}

_STEPS: Final[list[_Step | None]] = [_NAMED_STEPS.get(bytes([code])) for code in range(256)]

# About how many bytes an opcode takes that makes something: an entry of the memo, a tuple, a list, a dict, a record.
_DEAR: Final = {b"pqr\x94": 100, b"t\x85\x86\x87]l\x8f\x91": 72, b"}d": 136, b"Roi\x81\x92c\x93": 220}

_COSTS: Final = [next((cost for codes, cost in _DEAR.items() if code in codes), 24) for code in range(256)]
