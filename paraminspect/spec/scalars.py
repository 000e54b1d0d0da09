"""What a scalar means, in the core schema of YAML 1.2 (section 10.3); JSON's are among them."""

from __future__ import annotations

import re
from typing import Final

from paraminspect.spec.nodes import Mark, Value, shown, syntax_error

MAX_DIGITS: Final = 100

_INTEGER: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_SEXAGESIMAL: Final = re.compile(r"[-+]?[0-9]+(?::[0-5]?[0-9])+(?:\.[0-9]*)?")
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def plain_value(text: str, mark: Mark) -> Value:
    """Return what an unquoted scalar means in the core schema of YAML 1.2 (section 10.3)."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return _integer(text, mark)
    if _FLOAT.fullmatch(text):
        return _float(text, mark)
    if _NOT_FINITE.fullmatch(text):
        raise syntax_error(f"{text} is not a finite number", mark)
    if _SEXAGESIMAL.fullmatch(text):
        raise syntax_error(
            f"{shown(text)} is a number to base 60 in YAML 1.1 and a text in YAML 1.2",
            mark,
            "put it in quotes, or write the number out",
        )
    return checked_text(text, mark)


def _integer(text: str, mark: Mark) -> int:
    digits = text.lstrip("+-")
    if len(digits) > MAX_DIGITS:
        raise syntax_error(f"an integer of {len(digits)} digits is too large", mark)
    if digits[0] == "0" and digits.isdigit() and len(digits) > 1:
        raise syntax_error(f"{text[:40]} means different numbers in YAML 1.1 and 1.2", mark, _octal_hint(text, digits))
    return int(text, 0)


def _octal_hint(text: str, digits: str) -> str:
    octal = "" if re.search("[89]", digits) else str(int(digits, 8))
    sign = "-" if text.startswith("-") else ""
    return "write " + " or ".join(dict.fromkeys(f"{sign}{number}" for number in (octal, str(int(digits))) if number))


def _float(text: str, mark: Mark) -> float:
    if len(text) > 4 * MAX_DIGITS:
        raise syntax_error(f"a number of {len(text)} characters is too long", mark)
    value = float(text)
    if abs(value) == float("inf"):
        raise syntax_error(f"{text[:40]} is too large for a number", mark)
    if value == 0 and re.search("[1-9]", re.split("[eE]", text)[0]):
        raise syntax_error(f"{text[:40]} is too small for a number", mark)
    return value


def checked_text(text: str, mark: Mark) -> str:
    """Return `text` with surrogate pairs, as escapes make them, joined to the characters they stand for."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise syntax_error("a text holds half of a surrogate pair", mark) from None
