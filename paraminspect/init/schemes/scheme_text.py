"""A scheme on the command line: ``name`` or ``name:arg=value,arg=value``. Nothing here imports torch."""

from __future__ import annotations

import re
from typing import Any, Final

from paraminspect.errors import UserError

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
_NOT_FINITE: Final = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_EXAMPLE: Final = "write name or name:argument=value,argument=value, e.g. normal:std=0.01"


def parse_scheme(text: str, where: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the arguments that `text` spells; numbers become int or float, the rest stays text.

    Whether the scheme exists and takes them is for `registry.bind` to say. Raises `UserError`, placed at `where`,
    for text of another form.
    """
    name, colon, rest = (part.strip() for part in text.partition(":"))
    if not name:
        raise _malformed("no scheme name", where)
    arguments: dict[str, Any] = {}
    for part in rest.split(",") if colon else []:
        key, value = _pair(part.strip(), where)
        if key in arguments:
            raise _malformed(f"{key!r} is given twice", where, "keep one of them")
        arguments[key] = _number_or_text(value)
    return name, arguments


def _pair(part: str, where: str) -> tuple[str, str]:
    """Split ``argument=value``."""
    key, equals, value = (piece.strip() for piece in part.partition("="))
    if not part:
        raise _malformed("an argument is missing after ':' or ','", where)
    if not equals:
        raise _malformed(f"{part!r} has no '='", where)
    if not key:
        raise _malformed(f"{part!r} has no argument name", where)
    if not value:
        raise _malformed(f"{part!r} has no value", where)
    return key, value


def _number_or_text(text: str) -> int | float | str:
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) or _NOT_FINITE.fullmatch(text) else text


def _malformed(message: str, where: str, hint: str = _EXAMPLE) -> UserError:
    return UserError(message, where=where, hint=hint, code="bad-scheme")
