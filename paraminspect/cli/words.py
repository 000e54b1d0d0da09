"""The words that the program prints, as the page `words` explains them: one source for a page and for a single word."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

_SPELLINGS = re.compile(r"[\s_]+")
_WIDTH = 15


class Explanation(NamedTuple):
    """What a word means: its spellings, the text, and the section that it stands in."""

    spellings: tuple[str, ...]
    text: str
    section: str


@cache
def glossary(page: str) -> Mapping[str, Explanation]:
    """Return the meanings by every spelling, in the order of the page."""
    return {spelling: one for one in _meanings(page) for spelling in one.spellings}


def meaning_of(word: str, page: str) -> Explanation | None:
    """Return what a word means, however it is cased, also in the plural and with a colon behind it."""
    known = {_plain(spelling): one for spelling, one in glossary(page).items()}
    plain = _plain(word)
    return known.get(plain) or known.get(plain.removesuffix("s"))


def _plain(word: str) -> str:
    return _SPELLINGS.sub(" ", word.strip().rstrip(":").casefold())


def _meanings(page: str) -> Iterator[Explanation]:
    """Read the entries: the words at the left, the text from a fixed column on, below them where they are too long."""
    section, fenced = "", False
    words, text = "", ""
    for line in page.splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        if line.startswith("```"):
            fenced = not fenced
            if words and not fenced:
                yield _meaning(words, text, section)
                words = ""
        elif fenced and line.startswith(" "):
            text += f" {line.strip()}"
        elif fenced:
            if words:
                yield _meaning(words, text, section)
            words, text = _entry(line)


def _entry(line: str) -> tuple[str, str]:
    """Part a line at the column of the texts; without a text there it is all words."""
    apart = line[_WIDTH - 2 : _WIDTH] == "  " or (len(line.partition(" ")[0]) == _WIDTH - 1)
    return (line[:_WIDTH].strip(), line[_WIDTH:].strip()) if apart else (line.strip(), "")


def _meaning(words: str, text: str, section: str) -> Explanation:
    return Explanation(tuple(words.split(", ")), text.strip(), section)
