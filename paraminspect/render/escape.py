"""The only way a text from an input reaches a stream: nothing in it can steer a terminal."""

from __future__ import annotations

import unicodedata

LONGEST = 300
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})


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


def _visible(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
