"""The words for types in the table of layers (see layer_table.py), taken apart."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

ELEMENT: Final[Mapping[str, str]] = MappingProxyType(
    {"sizes": "size", "optional_sizes": "size", "counts": "count", "ints": "int", "floats": "float"}
)
"""The words for one thing or a list of them, and the word for the one thing."""


def choices(word: str) -> list[str]:
    """Return the texts that ``Literal['a', 'b']`` allows; none for any other word."""
    return ast.literal_eval(word.removeprefix("Literal")) if word.startswith("Literal") else []


def base_and_length(word: str) -> tuple[str, int | None]:
    """Split ``sizes[2]`` into the word and the length; a word without one has None."""
    found = re.fullmatch(r"(\w+)\[(\d+)\]", word)
    return (found[1], int(found[2])) if found else (word, None)
