"""How a text reaches a stream: harmless, in characters that the output has, and as its `View` wants it.

A sentence of ours that quotes an input marks it: ``f"{code(name)} is of {word(dtype)}"``. What is marked is raw; each
format makes it harmless in its own way when it spells the sentence out. `code` marks what is shown exactly, names and
messages; `word` what may stand as it is where it looks like a word or a number.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import field

from paraminspect.frozen import dataclass

LONGEST = 300
CODE, WORD, END = "\x0e", "\x11", "\x0f"
"""The marks before a code and a word, and after either. No printable text has them, see `clean`."""
MARKS = (CODE, WORD)
_MARKED = re.compile(f"([{CODE}{WORD}])([^{END}]*){END}")
_NO_MARKS = {ord(mark): f"\\x{ord(mark):02x}" for mark in (CODE, WORD, END)}
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
        "‖": "||",
        "Δ": "delta",
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


def clean_whole(text: str) -> str:
    """Return `text` on one line, harmless and whole."""
    return clean(text, None)


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


def some_names(names: Sequence[str], most: int = 12) -> str:
    """Return the first names on one line, each harmless and of bounded length, for a hint."""
    return ", ".join(clean(name, 60) for name in names[:most]) or "none"


# --- marks -------------------------------------------------------------------------------------------------


def code(text: str) -> str:
    """Mark a name or a message from an input; nothing stays nothing."""
    return f"{CODE}{_without_marks(text)}{END}" if text else ""


def word(text: str) -> str:
    """Mark a word from an input, such as a dtype or the name of a scheme; nothing stays nothing."""
    return f"{WORD}{_without_marks(text)}{END}" if text else ""


def _without_marks(text: str) -> str:
    return text if text.isprintable() else text.translate(_NO_MARKS)


def spell(text: str, marked: Callable[[str, str], str], own: Callable[[str], str] = str) -> str:
    """Return a text with everything marked in it, its mark and itself, and everything of our own spelled out."""
    if END not in text:
        return own(text)
    if text[0] in MARKS and text.find(END) == len(text) - 1:  # one marked text, as most cells are
        return marked(text[0], text[1:-1])
    parts = _MARKED.split(text)  # own, mark, marked, own, mark, marked, …, own
    for at in range(0, len(parts), 3):
        parts[at] = own(parts[at])
        if at + 1 < len(parts):
            parts[at + 1 : at + 3] = ["", marked(parts[at + 1], parts[at + 2])]
    return "".join(parts)


# --- the view ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Glyphs:
    """The characters of rules, trees and pictures, and what stands in for them where the output cannot show them.

    `ascii` says that nothing but ASCII may be used: names and our own texts are spelled in it too.
    """

    rule: str = "─"
    dot: str = "·"
    ellipsis: str = "…"
    bars: str = "▁▂▃▄▅▆▇█"
    blocks: str = "▏▎▍▌▋▊▉█"
    ascii: bool = False
    trunk: str = "│  "
    branch: str = "├─ "
    last_branch: str = "└─ "


ASCII = Glyphs("-", "|", "...", ".:-=+*#@", "=", True, "|  ", "|- ", "`- ")


@dataclass(frozen=True)
class View:
    """Say how wide and how coloured a text may be, and what of a Report is wanted.

    `width` is the terminal's, None where nothing may be cut or dropped (a pipe, a file). `values` asks for the
    numbers of small tensors. `decoration` allows rules and pictures. `fold` lets a table print repeated blocks once;
    `depth` sums up what lies deeper than so many components of a name, None shows every tensor. `histograms` asks for
    those of every layer. `buffers` asks for every buffer and not one line a kind of them, `whole_repr` for the repr of
    the module however long, `theory` for what theory says in its own words. `on_paper` is a page that is not made of
    lines of fixed width, and has no stderr beside it.
    """

    width: int | None = None
    colour: bool = False
    glyphs: Glyphs = field(default_factory=Glyphs)
    values: bool = False
    decoration: bool = True
    fold: bool = True
    depth: int | None = None
    histograms: bool = False
    on_paper: bool = False
    buffers: bool = False
    whole_repr: bool = False
    theory: bool = False

    def text(self, text: str) -> str:
        """Return a text from an input on one line, harmless, in characters the output has; cut only on a terminal."""
        shown = clean(text, None if self.width is None else LONGEST)
        return to_ascii(shown) if self.glyphs.ascii else shown

    def sentence(self, text: str) -> str:
        """Return a text of ours, and whatever an input has in it as `text` does."""
        if not text.isprintable():
            inside = text[1:-1]
            plain = inside.isascii() and inside.isprintable() and len(inside) <= LONGEST
            if plain and text[-1] == END and text[0] in MARKS:  # as most cells are
                return inside
            text = spell(text, lambda _, marked: self.text(marked), clean_whole)
        return to_ascii(text) if self.glyphs.ascii else text

    def lines(self, text: str) -> list[str]:
        """Return the lines of a text that is meant to have several, each harmless."""
        found = clean_lines(text)
        return [to_ascii(line) for line in found] if self.glyphs.ascii else found
