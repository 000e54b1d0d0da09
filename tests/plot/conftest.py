"""Figures to look into without a file: what is drawn, said and where."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from paraminspect import plot
from paraminspect.plot import report as drawing
from paraminspect.plot.picture import picture
from paraminspect.report import Report

Draw = Callable[[Report, Path], None]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Figure]:
    """Draw a report into a file as usual, and return the figure that it was written from."""

    def run(report: Report, draw: Draw = plot.draw) -> Figure:
        figures: list[Figure] = []

        @contextmanager
        def kept(path: Path, height: float) -> Iterator[Figure]:
            with picture(path, height) as figure:
                yield figure
                figures.append(figure)

        monkeypatch.setattr(drawing, "picture", kept)
        draw(report, tmp_path / "picture.svg")
        figures[0].draw_without_rendering()  # places are those of its own resolution then, not the file's
        return figures[0]

    return run


def words(figure: Figure) -> list[str]:
    """Return every text that is drawn."""
    return [text.get_text() for text in texts(figure)]


def texts(figure: Figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


def legend_of(figure: Figure) -> list[str]:
    """Return the entries of all legends."""
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]
