"""The page a person reads in a terminal: lines of fixed width, folded and cut to fit; in a pipe complete."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.page.parts import (
    HEAD,
    QUIET,
    SHARED,
    TONES,
    Code,
    Entries,
    Listing,
    Page,
    Paragraph,
    Part,
    Table,
    in_words,
)
from paraminspect.render.table.layout import lay_out
from paraminspect.render.table.lines import aside, entry, flow, fold, paint
from paraminspect.report import Headline
from paraminspect.text.escape import View

_INDENT = 2
_MOST_CODE = 40
_LABEL = 22


def draw(found: Page, view: View) -> Iterator[str]:
    """Yield the lines of a page, each with its newline: the title and what was run, then its parts, a blank between."""
    headed = bool(found.name or found.title)
    if headed:
        yield from _named(found.name, f": {view.sentence(found.title)}" if found.title else "", view)
    for line in flow([view.sentence(part) for part in found.setting], f" {view.glyphs.dot} ", view, _INDENT):
        yield line + "\n"
    for at, part in enumerate(found.parts):
        yield "\n" if at or headed else ""
        yield from _part(part, view)


def _part(part: Part, view: View) -> Iterator[str]:
    match part:
        case Headline():
            yield from _headline(part, view)
        case Table():
            yield from _table(part, view)
        case Entries():
            yield from _entries(part, view)
        case Listing():
            yield from _listing(part, view)
        case Code():
            yield from _code(part, view)
        case Paragraph():
            for line in fold(view.sentence(part.text), view, _INDENT):
                yield paint(line, part.tone, view.colour) + "\n"


def _named(name: str, text: str, view: View) -> Iterator[str]:
    """Yield a name in bold, and what is said of it."""
    bold = view.sentence(name)
    first, *rest = fold(bold + text, view, _INDENT)
    yield paint(first[: len(bold)], HEAD, view.colour) + first[len(bold) :] + "\n"
    for line in rest:
        yield line + "\n"


def _headline(part: Headline, view: View) -> Iterator[str]:
    for line in fold(view.sentence(in_words(part)), view, _INDENT):
        yield paint(line, TONES[part.tone], view.colour) + "\n"
    if part.hint:
        for line in fold(f"  try: {view.sentence(part.hint)}", view, len("  try: ")):
            yield line + "\n"


def _table(part: Table[object], view: View) -> Iterator[str]:
    yield from lay_out(part, view)
    if part.note:
        yield from aside(f"{part.note} (all with {part.option})", view)
    legend = [text for text in map(view.sentence, part.legend) if len(fold(text, view)) == 1]
    for line in flow(legend, f" {view.glyphs.dot} ", view, _INDENT):
        yield paint(line, QUIET, view.colour) + "\n"


def _entries(part: Entries, view: View) -> Iterator[str]:
    for line in fold(view.sentence(part.title), view, _INDENT) if part.title else ():
        yield paint(line, SHARED, view.colour) + "\n"
    for term, text in part.lines:
        yield from entry(term, view.sentence(text), view, part.width)


def _code(part: Code, view: View) -> Iterator[str]:
    """Yield the lines; in a terminal very many are cut in the middle, and what goes on hangs behind its line."""
    lines = view.lines(part.text)
    if view.width is not None and len(lines) > _MOST_CODE and not part.whole:
        half = _MOST_CODE // 2
        left_out = f"  {view.glyphs.ellipsis} {len(lines) - 2 * half:,} more lines"
        lines = [*lines[:half], paint(left_out, QUIET, view.colour), *lines[-half:]]
    for line in lines:
        for folded in fold(line, view, len(line) - len(line.lstrip()) + 2 * _INDENT):
            yield folded + "\n"


def _listing(part: Listing, view: View) -> Iterator[str]:
    yield from _named(part.name, f"  {view.sentence(part.about)}", view)
    for label, text in part.texts:
        yield from _labelled(label, text, view)


def _labelled(label: str, text: str, view: View) -> Iterator[str]:
    """Yield one line, or the label and the lines of a tensor below it, as far left as they need to be."""
    lines, indent = view.lines(text), 2 * _INDENT
    one = f"  {label + ':':<{_LABEL}}{lines[0]}"
    if len(lines) == 1 and len(fold(one, view)) == 1:
        yield one + "\n"
        return
    yield f"  {label}:\n"
    fits = all(len(fold(" " * indent + line, view)) == 1 for line in lines)
    for line in lines:
        for folded in fold(" " * indent + line, view, 2 * indent) if fits else fold(line, view, indent):
            yield folded + "\n"
