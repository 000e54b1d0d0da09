"""What bash makes of a pattern in braces, written from its manual and not from our own code."""

from __future__ import annotations

import re
from itertools import product


def expand(pattern: str) -> list[str]:
    """Return the words that ``echo pattern`` would print, in their order."""
    parts: list[list[str]] = []
    rest = pattern
    while rest:
        if rest[0] != "{":
            text, rest = re.match(r"([^{]+)(.*)", rest).groups()
            parts.append([text])
            continue
        end = closing(rest)
        parts.append(inside(rest[1:end]))
        rest = rest[end + 1 :]
    return ["".join(words) for words in product(*parts)]


def closing(text: str) -> int:
    """Return where the brace that opens `text` is closed."""
    depth = 0
    for at, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return at
    raise AssertionError(f"unbalanced: {text}")


def inside(text: str) -> list[str]:
    """Expand what stands between two braces: a sequence, or alternatives that may have braces of their own."""
    sequence = re.fullmatch(r"(\d+)\.\.(\d+)(?:\.\.(\d+))?", text)
    if sequence:
        first, last, step = (int(number or 1) for number in sequence.groups())
        return [str(number) for number in range(first, last + 1, step)]
    depth, choices = 0, [""]
    for character in text:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            choices.append("")
        else:
            choices[-1] += character
    assert len(choices) > 1, f"bash leaves {{{text}}} as it is"
    return [word for choice in choices for word in expand(choice)]
