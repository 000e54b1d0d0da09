"""Sentences of ours that quote an input: what is marked, and how it is spelled out."""

from __future__ import annotations

import pytest

from paraminspect.text.escape import ASCII, View, code, spell, word


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("", ""),
        ("a sentence", "A SENTENCE"),
        (code("fc.weight"), "<fc.weight>"),
        (f"{code('a')} is {word('b')}", "<a> IS [b]"),
        (f"{code('')}{word('')}|{code(' ')}", "|< >"),
        (code("\x0ea\x0fb\x11"), "<\\x0ea\\x0fb\\x11>"),
    ],
)
def test_what_is_marked_is_spelled_apart_from_our_own(text: str, spelled: str) -> None:
    brackets = {"\x0e": "<>", "\x11": "[]"}
    found = spell(text, lambda mark, marked: brackets[mark][0] + marked + brackets[mark][1], str.upper)
    assert found == spelled


def test_a_view_makes_a_sentence_harmless_and_cuts_what_is_marked_only() -> None:
    own, hostile = "long " * 80, "\u202eσ\n"
    text = f"{own}{code('n' * 400)} → {code(hostile)}"
    assert View().sentence(text) == f"{own}{'n' * 400} → \\u202eσ\\x0a"
    assert View(width=80).sentence(text) == f"{own}{'n' * 300}… (400 characters) → \\u202eσ\\x0a"
    assert View(glyphs=ASCII).sentence(text) == f"{own}{'n' * 400} -> \\u202esigma\\x0a"


def test_what_nobody_marked_steers_no_terminal_either() -> None:
    assert View().sentence("a\x1b[31m\n") == "a\\x1b[31m\\x0a"
