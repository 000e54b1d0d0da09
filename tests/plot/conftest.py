"""Figures to look into without a file: what is drawn, said and where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from paraminspect import plot
from paraminspect.report import Report

Draw = Callable[[Report, Path], None]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Figure]:
    """Draw a report as usual, but lay the figure out where it would be written to its file, and return it."""
    figures: list[Figure] = []

    def lay_out(figure: Figure, *_: object, **__: object) -> None:
        figure.draw_without_rendering()
        figures.append(figure)

    def run(report: Report, draw: Draw = plot.draw) -> Figure:
        draw(report, tmp_path / "picture.svg")
        return figures[-1]

    monkeypatch.setattr(Figure, "savefig", lay_out)
    return run


def words(figure: Figure) -> list[str]:
    """Return every text that is drawn."""
    return [text.get_text() for text in texts(figure)]


def texts(figure: Figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


def legend_of(figure: Figure) -> list[str]:
    """Return the entries of all legends."""
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]
