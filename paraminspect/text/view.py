"""How a text may be decorated; decided by the output, never by the Report."""

from __future__ import annotations

from dataclasses import dataclass, field

from paraminspect.text.escape import LONGEST, clean, clean_lines, clean_whole, spell, to_ascii


@dataclass(frozen=True)
class Glyphs:
    """The characters of rules and pictures, and what stands in for them where the output cannot show them.

    `ascii` says that nothing but ASCII may be used: names and our own texts are spelled in it too.
    """

    rule: str = "─"
    dot: str = "·"
    ellipsis: str = "…"
    bars: str = "▁▂▃▄▅▆▇█"
    blocks: str = "▏▎▍▌▋▊▉█"
    ascii: bool = False


ASCII = Glyphs("-", "|", "...", ".:-=+*#@", "=", ascii=True)


@dataclass(frozen=True)
class View:
    """Say how wide and how coloured a text may be, and what of a Report is wanted.

    `width` is the terminal's, None where nothing may be cut or dropped (a pipe, a file). `values` asks for the
    numbers of small tensors. `decoration` allows rules and pictures. `fold` lets a table print repeated blocks once;
    `depth` sums up what lies deeper than so many components of a name, None shows every tensor. `histograms` asks for
    those of every layer. `on_paper` is a page that is not made of lines of fixed width, and has no stderr beside it.
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

    def text(self, text: str) -> str:
        """Return a text from an input on one line, harmless, in characters the output has; cut only on a terminal."""
        shown = clean(text, None if self.width is None else LONGEST)
        return to_ascii(shown) if self.glyphs.ascii else shown

    def sentence(self, text: str) -> str:
        """Return a text of ours, and whatever an input has in it as `text` does."""
        if not text.isprintable():
            text = spell(text, lambda _, marked: self.text(marked), clean_whole)
        return to_ascii(text) if self.glyphs.ascii else text

    def lines(self, text: str) -> list[str]:
        """Return the lines of a text that is meant to have several, each harmless."""
        found = clean_lines(text)
        return [to_ascii(line) for line in found] if self.glyphs.ascii else found
