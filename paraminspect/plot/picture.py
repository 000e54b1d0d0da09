"""A file with a picture: the same bytes for the same report, written whole or not at all, and no state left behind."""

from __future__ import annotations

import importlib.util
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paraminspect.errors import UserError
from paraminspect.files import checked, whole
from paraminspect.text.escape import clean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FONT = "DejaVu Sans"
"""The font that matplotlib brings along: the same picture on every machine."""
WIDTH, HEIGHT = 7.2, 4.0
TITLE, SMALL = 10.0, 9.0
POINTS = 72 * WIDTH - 10
"""The room for a line of text, and two sizes of it, in points."""
_DOTS_PER_INCH = 200
_METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": "paraminspect"},
    "svg": {"Creator": "paraminspect", "Date": None},
}
_STYLE: dict[str, Any] = {
    "font.family": FONT,
    "font.size": 9.5,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "figure.titlesize": TITLE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.6,
    "lines.scale_dashes": False,
    "text.parse_math": False,  # a name may hold dollars
    "figure.constrained_layout.w_pad": 0.06,
    "figure.constrained_layout.h_pad": 0.06,
    "svg.hashsalt": "paraminspect",
}


def check(path: str | Path) -> Path:
    """Return where to draw, or refuse before anything is run: no PNG or SVG by its name, no folder, no matplotlib."""
    found = checked(str(path), [f".{suffix}" for suffix in _METADATA], "--plot")
    if importlib.util.find_spec("matplotlib") is None:
        raise _without_matplotlib("there is no matplotlib to draw with")
    return found


@contextmanager
def picture(path: Path, height: float) -> Iterator[Figure]:
    """Yield an empty figure so many inches high, and write it to `path` when it has been drawn.

    Raises UserError as `check` does, and where the file cannot be written.
    """
    check(path)
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
    except (ImportError, OSError, ValueError) as error:  # a ValueError: an MPLBACKEND that there is not
        raise _without_matplotlib(f"matplotlib cannot be imported: {error}") from error
    with style.context(["default", _STYLE]):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        yield figure
        with whole(path) as temporary:
            suffix = path.suffix.lower().removeprefix(".")
            figure.savefig(temporary, format=suffix, dpi=_DOTS_PER_INCH, metadata=_METADATA[suffix])


def _without_matplotlib(message: str) -> UserError:
    hint = "install it: pip install 'paraminspect[plot]'"
    return UserError(message, where="--plot", hint=hint, code="no-matplotlib")


# --- texts: harmless, literal, of bounded length, in characters that the font has ---------------------------------


def cut(text: str, most: int) -> str:
    """Return a text from an input as it can be drawn; of a long one both ends, which tell names apart."""
    shown = "".join(map(_drawable, clean(text, limit=None)))
    if len(shown) <= most:
        return shown
    front = (most - 1) // 3
    return f"{shown[:front]}…{shown[len(shown) - (most - 1 - front) :]}"


def points(text: str, size: float) -> float:
    """Return how wide a text of one line is in a font of that size, in points as the size is."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=FONT, size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width)


def fitted(text: str, size: float, room: float) -> str:
    """Return as much of a text as there is room for, in points."""
    if points(text, size) <= room:
        return text
    most = bisect_right(range(len(text)), room, key=lambda end: points(text[:end] + "…", size))
    return text[: max(0, most - 1)] + "…"


@cache
def _drawable(character: str) -> str:
    """Return a character, or its code where the font has no shape for it."""
    from matplotlib.font_manager import findfont, get_font

    code = ord(character)
    if get_font(findfont(FONT)).get_char_index(code):
        return character
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def power(exponent: int) -> str:
    """Return a power of ten as an axis shows it."""
    return f"{10**exponent:g}" if -2 <= exponent <= 3 else f"1e{exponent}"
