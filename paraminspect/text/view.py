"""How a text may be decorated; decided by the output, never by the Report."""

from __future__ import annotations

from dataclasses import dataclass, field

from paraminspect.text.escape import LONGEST, clean, clean_lines, to_ascii


@dataclass(frozen=True)
class Glyphs:
    """The characters that are not ASCII, and what stands in for them where the output cannot show them.

    `ascii` says that nothing else may be used either: names are spelled in ASCII too.
    """

    unknown: str = "–"
    rule: str = "─"
    dot: str = "·"
    arrow: str = "→"
    ellipsis: str = "…"
    bars: str = "▁▂▃▄▅▆▇█"
    times: str = "×"
    blocks: str = "▏▎▍▌▋▊▉█"
    ascii: bool = False


ASCII = Glyphs("-", "-", "|", "->", "...", ".:-=+*#@", "x", "=", ascii=True)


@dataclass(frozen=True)
class View:
    """Say how wide and how coloured a text may be.

    `width` is the terminal's, None where nothing may be cut or dropped (a pipe, a file). `values` asks for the
    numbers of small tensors. `decoration` allows rules and pictures. `fold` lets a table print repeated blocks once;
    `depth` sums up what lies deeper than so many components of a name, None shows every tensor. `histograms` asks for
    those of every layer.
    """

    width: int | None = None
    colour: bool = False
    glyphs: Glyphs = field(default_factory=Glyphs)
    values: bool = False
    decoration: bool = True
    fold: bool = True
    depth: int | None = None
    histograms: bool = False

    def text(self, text: str) -> str:
        """Return a text from an input on one line, harmless, in characters the output has; cut only on a terminal."""
        shown = clean(text, None if self.width is None else LONGEST)
        return to_ascii(shown) if self.glyphs.ascii else shown

    def lines(self, text: str) -> list[str]:
        """Return the lines of a text that is meant to have several, each harmless."""
        found = clean_lines(text)
        return [to_ascii(line) for line in found] if self.glyphs.ascii else found
