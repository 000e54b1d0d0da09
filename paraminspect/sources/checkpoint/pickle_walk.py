"""A pickle read as data: its opcodes build plain values and named records; nothing is imported, nothing is called.

A global is a record of its two names, a call a record of what would have been called and with what. The opcodes are
those of Python's ``pickletools``, all protocols.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

LONGEST: Final = 512_000_000
"""How many bytes of a pickle are read."""

_ROOM: Final = 3 * 2**27
"""About how many bytes the values of a pickle may take in memory beside its own."""
_MOST_FOR_STORAGES: Final = 4 * 2**30
"""How many more they may take at the most, where there are storages that it describes."""

_DEEPEST: Final = 100
_LONGEST_NAME: Final = 1000


class BadPickle(Exception):
    """Say why bytes are no pickle that can be read; `at` is the position of the opcode."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.message, self.at = message, at


class Global(NamedTuple):
    """A class or function that the pickle names; `full` is both, as ``torch.Size``."""

    module: str
    name: str
    full: str

    def __str__(self) -> str:
        return self.full


@dataclass(eq=False, slots=True)
class Persistent:
    """What stands outside of the pickle, by its persistent id."""

    id: Any


def _in_pairs(flat: Sequence[Any]) -> list[tuple[Any, Any]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


@dataclass(eq=False, slots=True)
class Called:
    """What a call would have made: `function` of `args`; then `state`, and what was put into it.

    That is `items`, and keys and values in turn, `flat`.
    """

    function: Any
    args: Any
    state: Any = None
    flat: Sequence[Any] = ()
    items: Sequence[Any] = ()

    @property
    def name(self) -> str:
        """Return what was called, as ``torch.Size``; nothing where the pickle calls a value that it made."""
        return self.function.full if type(self.function) is Global else ""

    @property
    def pairs(self) -> list[tuple[Any, Any]]:
        """Return the keys and values that were put into it."""
        return _in_pairs(self.flat)


@dataclass(eq=False, slots=True)
class PickledDict:
    """A dict, by its keys and values in turn, `flat`: a key of a hostile file is never hashed."""

    flat: Sequence[Any] = ()

    @property
    def pairs(self) -> list[tuple[Any, Any]]:
        """Return its keys and values."""
        return _in_pairs(self.flat)


class Walked(NamedTuple):
    """What a pickle holds, the globals that it names in order, and where it ends."""

    value: Any
    globals: tuple[Global, ...]
    end: int


def walk(data: bytes, start: int = 0, for_storages: int = 0) -> Walked:
    """Read the pickle that begins at `start`. Raises BadPickle where it breaks off or makes no sense.

    `for_storages` is how many bytes its values may take more, for there are storages that it describes: a tensor takes
    about a kilobyte here, and without a bound the objects of a small file would take gigabytes.
    """
    room = _ROOM + len(data) - start + min(for_storages, _MOST_FOR_STORAGES)
    machine = _Machine(data, start, room)
    try:
        return machine.run()
    except (IndexError, ValueError, TypeError, KeyError, AttributeError, struct.error, RecursionError, OverflowError):
        message = "it breaks off" if machine.at >= len(data) else "its opcodes make no sense"
        raise BadPickle(message, min(machine.at, len(data))) from None


class _Machine:
    def __init__(self, data: bytes, start: int, room: int) -> None:
        self.data, self.at, self.size = data, start, len(data)
        self.room = self.whole_room = room
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []  # what lay on the stack below each mark
        self.memo: list[Any] = []  # pickles number it from 0 on
        self.far: dict[int, Any] = {}  # and what one numbers otherwise
        self.named: dict[Global, None] = {}
        self.depths: dict[int, int] = {}  # of the tuples in tuples, which are kept so that no other has their id
        self.kept: list[Any] = []

    def run(self) -> Walked:
        """Take one opcode after the other until the last.

        Those that make up a tensor, some 30 for each, are written out here, by how many there are: so each takes a
        third of the time of a step, which is a call of its own and keeps all this in the machine.
        """
        data, memo, far, marks = self.data, self.memo, self.far, self.marks
        at, stack, room = self.at, self.stack, self.room
        fours = [memoryview(data)[shift : self.size - (self.size - shift) % 4].cast("I") for shift in range(4)]
        costs, constants, steps = _COSTS, _CONSTANTS, _STEPS
        try:
            while room > 0:
                code = data[at]
                at += 1
                room -= costs[code]
                if code == 0x72:  # LONG_BINPUT
                    at += 4
                    index = fours[at & 3][(at >> 2) - 1]
                    if index == len(memo):
                        memo.append(stack[-1])
                    else:
                        room -= self.put(index, stack[-1])
                elif code == 0x4B:  # BININT1
                    stack.append(data[at])
                    at += 1
                elif code == 0x68:  # BINGET
                    index = data[at]
                    at += 1
                    stack.append(memo[index] if index < len(memo) else far[index])
                elif code == 0x94:  # MEMOIZE
                    memo.append(stack[-1])
                elif code == 0x6A:  # LONG_BINGET
                    at += 4
                    index = fours[at & 3][(at >> 2) - 1]
                    stack.append(memo[index] if index < len(memo) else far[index])
                elif code == 0x86:  # TUPLE2
                    last = stack.pop()
                    first = stack[-1]
                    stack[-1] = pair = (first, last)
                    if type(last) is tuple or type(first) is tuple:
                        room -= self.nest(pair)
                elif code == 0x85:  # TUPLE1
                    last = stack[-1]
                    stack[-1] = single = (last,)
                    if type(last) is tuple:
                        room -= self.nest(single)
                elif code == 0x28:  # MARK
                    marks.append(stack)
                    stack = []
                elif code == 0x74:  # TUPLE
                    items = tuple(stack)
                    stack = marks.pop()
                    stack.append(items)
                    if tuple in map(type, items):
                        room -= self.nest(items)
                elif code == 0x52 or code == 0x81:  # REDUCE, NEWOBJ
                    last = stack.pop()
                    stack[-1] = Called(stack[-1], last)
                elif code == 0x58:  # BINUNICODE
                    at = start = at + 4
                    at += fours[at & 3][(at >> 2) - 1]
                    text = data[start:at].decode("utf-8", "surrogatepass")
                    room -= 0 if text.isascii() else 4 * len(text)
                    stack.append(text)
                elif code == 0x51:  # BINPERSID
                    stack[-1] = Persistent(stack[-1])
                elif code in constants:
                    stack.append(constants[code])
                elif code == 0x2E:  # STOP
                    if not stack:
                        raise BadPickle("it holds no value", at)
                    return Walked(stack.pop(), tuple(self.named), at)
                else:
                    step = steps[code]
                    if step is None:
                        raise BadPickle(f"byte 0x{code:02x} is no opcode", at - 1)
                    self.at, self.stack, self.room = at, stack, room
                    step(self)
                    at, stack, room = self.at, self.stack, self.room
        finally:
            self.at = max(at, self.at)
        raise BadPickle(f"its values would take more than {self.whole_room:,} bytes", at)

    # What the opcodes have in common.

    def take(self, count: int) -> bytes:
        at = self.at
        self.at = end = at + count
        if count < 0 or end > self.size:
            raise IndexError
        return self.data[at:end]

    def line(self) -> bytes:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            self.at = self.size
            raise IndexError
        at, self.at = self.at, end + 1
        return self.data[at:end]

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def number(self, form: str) -> int:
        found: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return found

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def push_text(self, text: str) -> None:
        self.room -= 0 if text.isascii() else 4 * len(text)
        self.stack.append(text)

    def put(self, index: int, value: Any) -> int:
        """Keep a value in the memo, and return what it takes if it has a number that is not the next one."""
        if 0 <= index < len(self.memo):
            self.memo[index] = value
            return 0
        self.far[index] = value
        return _DEAR_NUMBER

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index] if 0 <= index < len(self.memo) else self.far[index])

    def memoize(self, index: int) -> None:
        if index == len(self.memo):
            self.memo.append(self.stack[-1])
        else:
            self.room -= self.put(index, self.stack[-1])

    def to_mark(self) -> list[Any]:
        items = self.stack
        self.stack = self.marks.pop()
        return items

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.to_mark()

    def name(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise BadPickle("a global has no name", self.at)
        if len(module) + len(name) > _LONGEST_NAME:  # each tensor has its own, in what is said of it
            raise BadPickle(f"a global has a name of more than {_LONGEST_NAME:,} characters", self.at)
        found = Global(module, name, f"{module}.{name}")
        self.named[found] = None
        self.push(found)

    def put_pairs(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, (PickledDict, Called)) or len(items) % 2:
            raise BadPickle("an item is put into what holds none", self.at)
        if isinstance(target.flat, list):
            target.flat.extend(items)
        else:
            target.flat = items

    def put_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, Called):
            if isinstance(target.items, list):
                target.items.extend(items)
            else:
                target.items = items
        else:
            raise BadPickle("an item is put into what holds none", self.at)

    def build(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Called):
            self.stack[-1].state = state

    def call(self) -> None:
        args = self.stack.pop()
        self.stack.append(Called(self.stack.pop(), args))

    def call_with_keywords(self) -> None:
        self.stack.pop()
        self.call()

    def instance(self) -> None:
        items = self.to_mark()
        self.push(Called(items[0], tuple(items[1:])))

    def inst(self) -> None:
        module, name = self.line().decode(), self.line().decode()
        items = self.to_mark()
        self.name(module, name)
        self.push(Called(self.stack.pop(), tuple(items)))

    def stack_global(self) -> None:
        name = self.stack.pop()
        self.name(self.stack.pop(), name)

    def text_global(self) -> None:
        module = self.line().decode()
        self.name(module, self.line().decode())

    def push_tuple(self, items: tuple[Any, ...]) -> None:
        for item in items:
            if type(item) is tuple:
                self.room -= self.nest(items)
                break
        self.push(items)

    def nest(self, items: tuple[Any, ...]) -> int:
        """Note how deep a tuple of tuples is, and return what the note takes.

        One so deep is refused that whoever compares or frees it may come to the end of the C stack.
        """
        depth = 1
        for item in items:
            if type(item) is tuple and (inner := self.depths.get(id(item), 0)) >= depth:
                depth = inner + 1
        if depth > _DEEPEST:
            raise BadPickle(f"it nests tuples more than {_DEEPEST} deep", self.at)
        self.depths[id(items)] = depth
        self.kept.append(items)
        return _DEAR_NUMBER

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


def _even(items: list[Any]) -> list[Any]:
    if len(items) % 2:
        raise ValueError
    return items


_Step = Callable[[_Machine], object]

_NAMED_STEPS: Final[dict[bytes, _Step]] = {
    # marks, the stack, the memo; what `run` has is not here
    b"0": lambda m: m.pop(),
    b"1": lambda m: m.to_mark(),
    b"2": lambda m: m.push(m.stack[-1]),
    b"p": lambda m: m.memoize(int(m.line())),
    b"q": lambda m: m.memoize(m.byte()),
    b"g": lambda m: m.get(int(m.line())),
    # numbers
    b"I": lambda m: m.integer(),
    b"J": lambda m: m.push(m.number("<i")),
    b"M": lambda m: m.push(m.number("<H")),
    b"L": lambda m: m.push(int(m.line().removesuffix(b"L"))),
    b"\x8a": lambda m: m.push(_long(m.take(m.byte()))),
    b"\x8b": lambda m: m.push(_long(m.take(m.number("<i")))),
    b"F": lambda m: m.push(float(m.line())),
    b"G": lambda m: m.push(m.number(">d")),
    # texts and bytes
    b"S": lambda m: m.push(_quoted(m.line())),
    b"T": lambda m: m.push(m.take(m.number("<i")).decode("latin-1")),
    b"U": lambda m: m.push(m.take(m.byte()).decode("latin-1")),
    b"V": lambda m: m.push_text(m.line().decode("raw-unicode-escape")),
    b"\x8c": lambda m: m.push_text(_text(m.take(m.byte()))),
    b"\x8d": lambda m: m.push_text(_text(m.take(m.number("<Q")))),
    b"B": lambda m: m.push(m.take(m.number("<I"))),
    b"C": lambda m: m.push(m.take(m.byte())),
    b"\x8e": lambda m: m.push(m.take(m.number("<Q"))),
    b"\x96": lambda m: m.push(m.take(m.number("<Q"))),
    # containers
    b"\x87": lambda m: m.push_tuple((m.stack.pop(), m.stack.pop(), m.stack.pop())[::-1]),
    b"]": lambda m: m.push([]),
    b"l": lambda m: m.push(m.to_mark()),
    b"a": lambda m: m.put_items([m.stack.pop()]),
    b"e": lambda m: m.put_items(m.to_mark()),
    b"}": lambda m: m.push(PickledDict()),
    b"d": lambda m: m.push(PickledDict(_even(m.to_mark()))),
    b"s": lambda m: m.put_pairs([m.stack.pop(), m.stack.pop()][::-1]),
    b"u": lambda m: m.put_pairs(m.to_mark()),
    b"\x8f": lambda m: m.push([]),
    b"\x90": lambda m: m.put_items(m.to_mark()),
    b"\x91": lambda m: m.push(m.to_mark()),
    # what would be named, called, built
    b"c": lambda m: m.text_global(),
    b"\x93": lambda m: m.stack_global(),
    b"\x92": lambda m: m.call_with_keywords(),
    b"o": lambda m: m.instance(),
    b"i": lambda m: m.inst(),
    b"b": lambda m: m.build(),
    b"P": lambda m: m.push(Persistent(m.line().decode("latin-1"))),
    # the protocol, its frames
    b"\x80": lambda m: m.take(1),
    b"\x95": lambda m: m.take(8),
}

_CONSTANTS: Final[dict[int, Any]] = {ord("N"): None, 0x88: True, 0x89: False, ord(")"): ()}
_STEPS: Final[list[_Step | None]] = [_NAMED_STEPS.get(bytes([code])) for code in range(256)]

# About how many bytes an opcode takes: a place on the stack or in the memo, and what it makes. The time that it takes
# counts too: 24 bytes where `run` has it, 48 where it is a step.
_QUICK: Final = b"rKh\x94tj.N\x88\x89)"
_DEAR: Final = {
    b"STUVX\x8c\x8dBC\x8e\x96": 80,  # a text, without its characters
    b"\x85\x86\x87]\x8f}Q": 80,  # a tuple, a list, a dict
    b"(a": 88,  # a list that grows
    b"R\x81\x92s": 96,  # a call; a dict with its first item
    b"oiP": 160,
    b"c\x93": 400,  # a global: three texts and an entry of a dict
}
_DEAR_NUMBER: Final = 110
"""What an entry of a dict of numbers takes."""

_COSTS: Final = [
    next((cost for codes, cost in _DEAR.items() if code in codes), 24 if code in _QUICK else 48) for code in range(256)
]
