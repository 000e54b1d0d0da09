"""The only way a text from an input reaches a stream: nothing in it can steer a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

LONGEST = 300
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})
_INVISIBLE = frozenset(map(chr, (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10))))
_SPELLINGS = str.maketrans(
    {
        "…": "...",
        "–": "-",
        "−": "-",
        "—": "-",
        "·": "*",
        "×": "x",
        "→": "->",
        "≤": "<=",
        "≥": ">=",
        "±": "+-",
        "√": "sqrt ",
        "²": "^2",
        "³": "^3",
        "ᵀ": "^T",
        "σ": "sigma",
        "φ": "phi",
        "µ": "mu",
        "μ": "mu",
        "ξ": "xi",
        "χ": "chi",
        "Σ": "sum",
        "₁": "1",
    }
)


def clean(text: str, limit: int | None = LONGEST) -> str:
    """Return `text` on one line, control and bidi characters as ``\\xNN`` or ``\\uNNNN``, cut after `limit`."""
    if limit is not None and len(text) > limit:
        text, tail = text[:limit], f"… ({len(text):,} characters)"
    else:
        tail = ""
    if not (text.isascii() and text.isprintable()):
        text = "".join(map(_visible, text))
    return text + tail


def clean_lines(text: str) -> list[str]:
    """Return the lines of a text that is meant to have several, each one clean."""
    return [clean(line, limit=None) for line in text.split("\n")]


def to_ascii(text: str) -> str:
    """Spell the signs of our own texts in ASCII (``√`` as ``sqrt``) and every other character as its code."""
    return text if text.isascii() else text.translate(_SPELLINGS).encode("ascii", "backslashreplace").decode("ascii")


def _visible(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN and character not in _INVISIBLE:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def some_names(names: Sequence[str], most: int = 12, longest: int = 60) -> str:
    """Return the first names on one line, each harmless and of bounded length, for a hint."""
    return ", ".join(clean(name, longest) for name in names[:most]) or "none"
