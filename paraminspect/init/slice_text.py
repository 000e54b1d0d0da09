"""``GLOB[forget]``, ``GLOB[0:16]``, ``GLOB[each]``: the slice that a rule is for, told from fnmatch's own brackets.

A name or a glob may end in brackets of its own: ``*.weigh[ts]`` is a character class of fnmatch, one of the letters
t and s. What stands in the last brackets is a slice only where it is one of the names below, or has a colon between
whole numbers. A parameter that literally goes by the whole text comes first. Nothing here imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from paraminspect.errors import did_you_mean
from paraminspect.frozen import dataclass

if TYPE_CHECKING:
    from paraminspect.modules.row_slices import RowSlice

GATES: Final = {
    "LSTM": {"i": "input", "f": "forget", "g": "cell", "o": "output"},
    "GRU": {"r": "reset", "z": "update", "n": "new"},
    "MultiheadAttention": {"q": "query", "k": "key", "v": "value"},
}
"""The names of what each layer stacks, by the letters that torch's formulas use."""

SLICES: Final = "slices"
"""What a report calls the scheme of a parameter that rules filled slice by slice."""

EACH: Final = "each"
NAMES: Final = (*(name for gates in GATES.values() for name in gates.values()), "padding", EACH)
_LETTERS: Final = {letter: name for gates in GATES.values() for letter, name in gates.items()}
_BRACKETS: Final = re.compile(r"(?s)(.+)\[([^\[\]]+)\]")
_NUMBERS: Final = re.compile(r"\s*(-?[0-9]{1,18})?\s*:\s*(-?[0-9]{1,18})?\s*")


@dataclass(frozen=True)
class SliceText:
    """A slice as it was written: `names` of gates, or the numbers `start` and `stop`, None where left out."""

    text: str
    names: tuple[str, ...] = ()
    start: int | None = None
    stop: int | None = None


def split_slice(text: str) -> tuple[str, SliceText | None]:
    """Return the glob, and the slice behind it; None where the glob has none."""
    found = _BRACKETS.fullmatch(text)
    if found is None:
        return text, None
    glob, inside = found.groups()
    words = tuple(word.strip() for word in inside.split(","))
    if all(word in NAMES for word in words):
        return glob, SliceText(inside, words)
    numbers = _NUMBERS.fullmatch(inside)
    if numbers is None:
        return text, None
    start, stop = (None if end is None else int(end) for end in numbers.groups())
    return glob, SliceText(inside, (), start, stop)


def meant_slice(text: str) -> tuple[str, str, str]:
    """Return the glob before the last brackets of a text that is no slice, what they hold, and what may be meant.

    Three empty texts where there are no brackets.
    """
    found = _BRACKETS.fullmatch(text)
    if found is None:
        return "", "", ""
    glob, inside = found.groups()
    if inside.isdecimal():
        return glob, inside, f"row {inside} alone is [{inside}:{int(inside) + 1}]"
    if inside in _LETTERS:
        return glob, inside, f"did you mean {_LETTERS[inside]!r}?"
    return glob, inside, did_you_mean(inside, NAMES)


def are_all(slices: Sequence[RowSlice], shape: tuple[int, ...]) -> bool:
    """Tell whether slices of one dimension leave nothing of a tensor of that shape."""
    end = 0
    for one in sorted(slices, key=lambda one: one.start):
        if one.start > end:
            return False
        end = max(end, one.stop)
    return len({one.dim for one in slices}) == 1 and end >= shape[slices[0].dim]
