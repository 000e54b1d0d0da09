"""Lines of a terminal: colour and width of text, by way of rich; texts broken at spaces, or cut in the middle.

The styles are of the sixteen-colour palette, which the terminal's theme sets; yellow, white and blue are not used: one
of them is unreadable on every light or dark background. In a pipe nothing is broken or cut. Rich is imported when
there is something to paint, or a character that may be wide.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial

from paraminspect.page.parts import BROKEN, FINE, HEAD, QUIET, SHARED, SUSPICIOUS
from paraminspect.text.escape import View

_STYLES = {HEAD: "bold", SHARED: "magenta", SUSPICIOUS: "red", BROKEN: "bold red", QUIET: "dim", FINE: "green"}
_WORD = re.compile(r" *[^ ]+")


def width_of(text: str) -> int:
    """Return how many columns `text` takes in a terminal: two for a wide character."""
    return len(text) if text.isascii() else _cell_len()(text)


@cache
def _cell_len() -> Callable[[str], int]:
    from rich.cells import cell_len

    return cell_len


def paint(text: str, tone: str, colour: bool) -> str:
    """Return `text` in the style of a tone; unchanged where colour is off."""
    return _painter(tone)(text) if colour and tone and text else text


@cache
def _painter(tone: str) -> Callable[[str], str]:
    from rich.color import ColorSystem
    from rich.style import Style

    return partial(Style.parse(_STYLES[tone]).render, color_system=ColorSystem.STANDARD)


def fold(text: str, view: View, indent: int = 0) -> list[str]:
    """Return `text` in lines that fit the terminal; those after the first are indented."""
    if view.width is None or width_of(text) <= view.width:
        return [text]
    indent = min(indent, view.width // 2)
    lines, line = [], ""
    for word in _words(text, view.width - indent):
        if width_of(line) + width_of(word) <= view.width:
            line += word
        else:
            lines.append(line)
            line = " " * indent + word.lstrip(" ")
    return [*filter(None, lines), line]


def _words(text: str, room: int) -> Iterator[str]:
    """Yield the words, each with the spaces before it; one that is too wide for any line in pieces."""
    for word in _WORD.findall(text):
        start = used = 0
        for at, character in enumerate(word):
            width = width_of(character)
            if used + width > room and at > start:
                yield word[start:at]
                start, used = at, 0
            used += width
        yield word[start:]


def flow(parts: Sequence[str], between: str, view: View, indent: int) -> list[str]:
    """Return the parts joined, in lines that fit the terminal: broken between parts where that is possible."""
    lines: list[str] = []
    for part in parts:
        joined = f"{lines[-1]}{between}{part}" if lines else part
        if len(fold(joined, view, indent)) == 1:
            lines[-1:] = [joined]
        else:
            lines += fold(" " * indent * bool(lines) + part, view, indent)
    return lines


def entry(head: str, text: str, view: View, width: int = 9) -> Iterator[str]:
    """Yield ``head  text`` with the head in bold, a long text going on below itself."""
    first, *rest = fold(f"{head:<{width}} {text}".rstrip(), view, width + 1)
    yield paint(first[: len(head)], HEAD, view.colour) + first[len(head) :] + "\n"
    for line in rest:
        yield line + "\n"


def aside(text: str, view: View) -> Iterator[str]:
    """Yield a quiet remark under a table, broken before a way out in brackets where that is possible."""
    remark, bracket, way_out = text.rpartition(" (")
    for line in flow([remark, bracket.lstrip() + way_out], " ", view, 2):
        yield paint(line, QUIET, view.colour) + "\n"


def cut(text: str, width: int, view: View) -> str:
    """Cut the middle out of a text that is too wide for its column; the ends tell names apart."""
    if width_of(text) <= width:
        return text
    keep = max(0, width - len(view.glyphs.ellipsis))
    front = _start(text, keep // 3)
    back = _start(text[::-1], keep - width_of(front))[::-1]
    return _start(front + view.glyphs.ellipsis + back, width)


def cut_name(text: str, width: int, view: View) -> str:
    """Cut a name that is too wide for its column, but not the guide lines of a tree that stand before it."""
    glyphs = view.glyphs
    name = text.lstrip(f" {glyphs.trunk}{glyphs.branch}{glyphs.last_branch}")
    guide = min(len(text) - len(name), width - len(glyphs.ellipsis))
    return text[:guide] + cut(text[guide:], width - guide, view)


def _start(text: str, room: int) -> str:
    """Return as much of the beginning as fits."""
    at = 0
    for at, character in enumerate(text):
        room -= width_of(character)
        if room < 0:
            return text[:at]
    return text
