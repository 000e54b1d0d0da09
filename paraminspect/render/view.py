"""How a text may be decorated; decided by the output, never by the Report."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Glyphs:
    """The characters that are not ASCII, and what stands in for them where the output cannot show them."""

    unknown: str = "–"
    rule: str = "─"
    dot: str = "·"
    arrow: str = "→"
    ellipsis: str = "…"
    bars: str = "▁▂▃▄▅▆▇█"


ASCII = Glyphs("-", "-", "|", "->", "...", "_.:-=+*#")


@dataclass(frozen=True)
class View:
    """`width` is the terminal's, None where nothing may be cut or dropped (a pipe, a file)."""

    width: int | None = None
    colour: bool = False
    glyphs: Glyphs = field(default_factory=Glyphs)
    values: bool = False
    before_backward: bool = False
    boxes: bool = True
