"""Which picture a report has, and what stands over it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from paraminspect.errors import UserError
from paraminspect.plot.icicle import MOST_LEVELS, draw_icicle, height_of_icicle
from paraminspect.plot.module_boxes import module_boxes
from paraminspect.plot.overlay import draw_schemes, height_of_legend
from paraminspect.plot.picture import HEIGHT, POINTS, TITLE, cut, fitted, picture
from paraminspect.plot.ridges import draw_histograms, has_histograms, height_of
from paraminspect.plot.through_depth import draw_signal
from paraminspect.report import Comparison, Report, Signal, TreeLayer
from paraminspect.text.numbers import plural, seeds, some_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_SCHEMES = 3


def draw(report: Report, path: Path, histograms: bool = False, depth: int | None = None) -> None:
    """Draw what the report found: the tree of modules, down to a `depth`, or the comparison where it has one.

    Else it is the signal, and below it the histograms. Raises UserError if there is nothing to draw, matplotlib is
    missing, or the file cannot be written.
    """
    if report.command == "summary":
        layers(report, path, depth)
    elif report.comparison is not None:
        comparison(report, path)
    elif histograms:
        _signal_and_histograms(report, path)
    else:
        signal(report, path)


def signal(report: Report, path: Path) -> None:
    """Draw the rms through depth beside the expected one: forward to the left, backward to the right."""
    found = _signal_of(report)
    with picture(path, HEIGHT) as figure:
        _head(figure, report, _schemes(report), _seeds(report, found))
        draw_signal(figure, found)


def histograms(report: Report, path: Path) -> None:
    """Draw how the elements of every layer are distributed, one layer below the other."""
    found = _with_histograms(report)
    with picture(path, height_of(found)) as figure:
        _head(figure, report, _schemes(report), _seeds(report, found))
        draw_histograms(figure, found)


def _signal_and_histograms(report: Report, path: Path) -> None:
    found = _with_histograms(report)
    below = height_of(found)
    with picture(path, HEIGHT + below) as figure:
        _head(figure, report, _schemes(report), _seeds(report, found))
        upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(HEIGHT, below))[:, 0]
        draw_signal(upper, found)
        draw_histograms(lower, found)


def comparison(report: Report, path: Path) -> None:
    """Draw the rms through depth of every scheme over each other, forward and backward."""
    found = report.comparison
    if found is None or not any(trial.signal and trial.signal.layers for trial in found.trials):
        raise _nothing("no scheme could be followed through the layers")
    with picture(path, HEIGHT + height_of_legend(found)) as figure:
        _head(figure, report, plural(_distinct(found), "scheme"), _seeds(report, found))
        draw_schemes(figure, found)


def layers(report: Report, path: Path, depth: int | None = None) -> None:
    """Draw where parameters, multiply-adds and saved bytes are: the modules below each other, as wide as their share.

    A `depth` of 0 and None are as many levels as can be read.
    """
    rows = sorted((one for one in report.layers if isinstance(one, TreeLayer)), key=lambda one: one.index)
    found = module_boxes(rows, min(depth or MOST_LEVELS, MOST_LEVELS))
    if not found.boxes:
        raise _nothing("no module has parameters, multiply-adds or saved bytes")
    with picture(path, height_of_icicle(found)) as figure:
        _head(figure, report, _class_of(report), "")
        draw_icicle(figure, found, (False, bool(report.uncounted), False))


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


def _head(figure: Figure, report: Report, what: str, seeds: str) -> None:
    """Say on two lines what is drawn: the model and what of it; seeds, input and versions."""
    inputs = report.forward.input if report.forward else ()
    drawn = ", ".join(" ".join(filter(None, (f"{one.shape}", one.dtype, one.sample))) for one in inputs)
    torch = report.environment.torch
    first = (cut(report.source.name, 48), what)
    second = (
        seeds,
        f"input {cut(drawn, 48)}" if drawn else "",
        cut(f"torch {torch}", 32) if torch else "",
        f"paraminspect {cut(report.environment.paraminspect, 16)}",
    )
    lines = (": ".join(filter(None, first)), " · ".join(filter(None, second)))
    title = "\n".join(fitted(line, TITLE, POINTS) for line in lines)
    figure.suptitle(title, x=0.01, horizontalalignment="left")


def _seeds(report: Report, found: Signal | Comparison) -> str:
    first = report.environment.seed
    return plural(found.seeds, "seed") if first is None else seeds(first, found.seeds)


def _distinct(found: Comparison) -> int:
    return len({trial.scheme for trial in found.trials})


def _class_of(report: Report) -> str:
    return cut(report.model.type, 40) if report.model and report.model.type != report.source.name else ""


def _schemes(report: Report) -> str:
    """Return the schemes of the tensors with fans, which are weights; of all where no scheme used any."""
    inits = [row.init for row in report.parameters if row.kind == "parameter" and row.init]
    with_fans = [init.scheme for init in inits if init.fan_in is not None]
    names = list(dict.fromkeys(with_fans or [init.scheme for init in inits]))
    return some_of([cut(name, 24) for name in names], _MOST_SCHEMES)
