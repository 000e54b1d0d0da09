"""JSON of a file that others wrote: what it would take in memory is reckoned from its bytes before it is parsed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from paraminspect.errors import UserError
from paraminspect.sources.checkpoint.file_bytes import Bytes

LONGEST: Final = 160_000_000
"""The most bytes that are read: a million and a half of tensors take as many."""

_ROOM: Final = 3 * 2**29
_COSTS: Final = ((b"[", 72), (b"{", 200), (b",", 48), (b'"', 32))
"""About how many bytes an array, an object, a value, half a text takes beside its characters."""


def parse_json(raw: bytes, file: Bytes, what: str, hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Parse UTF-8 JSON, its objects by `hook`. Raises UserError, in which it is called `what`, where it cannot be.

    A file of ``[[],[],…`` takes thirty times its length in memory: it is refused as is one of too many bytes.
    """
    if len(raw) > LONGEST:
        raise too_long(file, what, len(raw))
    room = len(raw) * (1 if raw.isascii() else 4) + sum(raw.count(sign) * cost for sign, cost in _COSTS)
    if room > _ROOM:
        message = f"{what} holds so many values that they would take more than {_ROOM:,} bytes of memory"
        raise UserError(message, where=file.name, code="header-too-large")
    try:
        return json.loads(raw.decode(), object_pairs_hook=hook, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:  # also what is not UTF-8, and integers of 5,000 digits
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UserError(f"{what} is no JSON: {reason}", where=file.name, code="bad-header") from None


def too_long(file: Bytes, what: str, length: int) -> UserError:
    """Return the error for what is not even read."""
    message = f"{what} is {length:,} bytes long; at most {LONGEST:,} are read"
    return UserError(message, where=file.name, code="header-too-large")


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number in JSON")
