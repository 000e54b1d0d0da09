"""Which picture a report has, and what stands over it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from paraminspect.errors import UserError
from paraminspect.plot.overlay import draw_schemes, height_of_legend
from paraminspect.plot.picture import HEIGHT, POINTS, TITLE, cut, fitted, picture
from paraminspect.plot.ridges import draw_histograms, has_histograms, height_of
from paraminspect.plot.through_depth import draw_signal
from paraminspect.report import Comparison, Report, Signal
from paraminspect.text.numbers import plural, some_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_SCHEMES = 3


def draw(report: Report, path: Path, histograms: bool = False) -> None:
    """Draw what the report found: the comparison where it has one, else the signal, and below it the histograms.

    Raises UserError if there is nothing to draw, matplotlib is missing, or the file cannot be written.
    """
    if report.comparison is not None:
        comparison(report, path)
    elif histograms:
        _signal_and_histograms(report, path)
    else:
        signal(report, path)


def signal(report: Report, path: Path) -> None:
    """Draw the rms through depth beside the expected one: forward to the left, backward to the right."""
    found = _signal_of(report)
    with picture(path, HEIGHT) as figure:
        _head(figure, report, found)
        draw_signal(figure, found)


def histograms(report: Report, path: Path) -> None:
    """Draw how the elements of every layer are distributed, one layer below the other."""
    found = _with_histograms(report)
    with picture(path, height_of(found)) as figure:
        _head(figure, report, found)
        draw_histograms(figure, found)


def _signal_and_histograms(report: Report, path: Path) -> None:
    found = _with_histograms(report)
    below = height_of(found)
    with picture(path, HEIGHT + below) as figure:
        _head(figure, report, found)
        upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(HEIGHT, below))[:, 0]
        draw_signal(upper, found)
        draw_histograms(lower, found)


def comparison(report: Report, path: Path) -> None:
    """Draw the rms through depth of every scheme over each other, forward and backward."""
    found = report.comparison
    if found is None or not any(trial.signal and trial.signal.layers for trial in found.trials):
        raise _nothing("no scheme could be followed through the layers")
    with picture(path, HEIGHT + height_of_legend(found)) as figure:
        _head(figure, report, found)
        draw_schemes(figure, found)


def _signal_of(report: Report) -> Signal:
    if report.signal is None or not report.signal.layers:
        raise _nothing("no signal went through the layers")
    return report.signal


def _with_histograms(report: Report) -> Signal:
    found = _signal_of(report)
    if not has_histograms(found):
        raise _nothing("the layers were not counted into histograms")
    return found


def _nothing(why: str) -> UserError:
    return UserError(f"nothing to draw: {why}", where="--plot", code="nothing-to-draw")


def _head(figure: Figure, report: Report, found: Signal | Comparison) -> None:
    figure.suptitle(_title(report, found), x=0.01, horizontalalignment="left")


def _title(report: Report, found: Signal | Comparison) -> str:
    """Say on two lines what is drawn: the model and its schemes; seeds, input and versions."""
    schemes = _schemes(report) if isinstance(found, Signal) else plural(_distinct(found), "scheme")
    inputs = report.forward.input if report.forward else ()
    drawn = ", ".join(" ".join(filter(None, (f"{one.shape}", one.dtype, one.sample))) for one in inputs)
    torch = report.environment.torch
    first = (cut(report.source.name, 48), schemes)
    second = (
        plural(found.seeds, "seed") if report.environment.seed is None else _seeds(found, report.environment.seed),
        f"input {cut(drawn, 48)}" if drawn else "",
        cut(f"torch {torch}", 32) if torch else "",
        f"paraminspect {cut(report.environment.paraminspect, 16)}",
    )
    lines = (": ".join(filter(None, first)), " · ".join(filter(None, second)))
    return "\n".join(fitted(line, TITLE, POINTS) for line in lines)


def _seeds(found: Signal | Comparison, first: int) -> str:
    return f"seed {first}" if found.seeds == 1 else f"seeds {first} to {first + found.seeds - 1}"


def _distinct(found: Comparison) -> int:
    return len({trial.scheme for trial in found.trials})


def _schemes(report: Report) -> str:
    """Return the schemes of the tensors with fans, which are weights; of all where no scheme used any."""
    inits = [row.init for row in report.parameters if row.kind == "parameter" and row.init]
    with_fans = [init.scheme for init in inits if init.fan_in is not None]
    names = list(dict.fromkeys(with_fans or [init.scheme for init in inits]))
    return some_of([cut(name, 24) for name in names], _MOST_SCHEMES)
