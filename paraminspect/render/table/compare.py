"""`compare`: one line a trial, which scheme is steadiest, and the slopes across widths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from paraminspect.render.comparison import (
    backward_steps,
    course,
    forward_steps,
    is_off,
    judgement,
    known,
    number,
    scale,
    setting,
    share,
    summary,
    title,
    verdict,
)
from paraminspect.render.table.folding import entry, flow, fold
from paraminspect.render.table.layout import Column, lay_out
from paraminspect.render.table.style import BROKEN, HEAD, QUIET, SUSPICIOUS, paint
from paraminspect.report import Comparison, Report, Slope, Trial
from paraminspect.text.numbers import plural
from paraminspect.text.view import View

_STYLES = {"vanishing": SUSPICIOUS, "exploding": SUSPICIOUS, "dead": BROKEN, "nonfinite": BROKEN, "failed": BROKEN}
_LEGEND = (
    "factor: what a layer makes of the mean square, 1 keeps it",
    "by depth: rms on a log scale, first layer left",
)
_HEADS = {"pre": "pre", "out": "out", "gradient": "grad"}
_MOST = 40
_INDENT = 2


def compare(report: Report, view: View) -> Iterator[str]:
    """Yield the table of trials, what comes out of it, and for several widths the slopes of every layer."""
    name = view.text(report.source.name)
    first, *rest = fold(f"{name}: {title(report, view)}", view, _INDENT)
    yield paint(first[: len(name)], HEAD, view.colour) + first[len(name) :] + "\n"
    for line in [*rest, *flow(setting(report, view), f" {view.glyphs.dot} ", view, _INDENT)]:
        yield line + "\n"
    found = report.comparison
    if found is None:
        return
    yield "\n"
    yield from lay_out(_columns(report, found, view), found.trials, view)
    for line in flow(_LEGEND[: 1 + view.decoration], f" {view.glyphs.dot} ", view, _INDENT):
        yield paint(line, QUIET, view.colour) + "\n"
    yield "\n"
    for head, text in summary(found, view.text, view):
        yield from entry(head, text, view)
    if found.slopes:
        yield "\n"
        yield from _slopes(found.slopes, view)


def _columns(report: Report, found: Comparison, view: View) -> list[Column[Trial]]:
    loss = report.forward.loss_name if report.forward else None
    return [
        Column("scheme", lambda trial: view.text(trial.scheme), style=_mark(found)),
        Column("width", lambda trial: _whole(trial.width), "right", 1),
        Column("depth", lambda trial: _whole(trial.depth), "right", 1),
        *_course("forward", forward_steps, found, view, 2),
        *_course("backward", backward_steps, found, view, 4),
        _figure("q last", lambda trial: trial.q_last, 8, view),
        _figure("first/last", lambda trial: trial.gradient_ratio, 7, view, "gradient"),
        Column("found", lambda trial: share(trial.dead), "right", 6, "dead"),
        Column("theory", lambda trial: share(trial.expected_dead), "right", 6, "dead"),
        Column("saturated", lambda trial: share(trial.saturated), "right", 9),
        _figure("at init", lambda trial: trial.loss, 5, view, f"loss {view.text(loss)}" if loss else "loss"),
        _figure("ln C", lambda trial: trial.expected_loss, 5, view, f"loss {view.text(loss)}" if loss else "loss"),
    ]


def _mark(found: Comparison) -> Callable[[Trial], str]:
    return lambda trial: HEAD if trial.scheme == found.steadiest else ""


def _whole(size: int | None) -> str:
    return "" if size is None else f"{size:,}"


def _figure(head: str, pick: Callable[[Trial], float | None], rank: int, view: View, group: str = "") -> Column[Trial]:
    """Show a figure of the trials that stand."""

    return Column(head, lambda trial: known(pick(trial), view), "decimal", rank, group)


def _course(
    about: str, steps: Callable[..., list[float]], found: Comparison, view: View, picture: int
) -> list[Column[Trial]]:
    """Show one direction: the factor, what theory gives, the verdict, and the rms by depth on a scale for all."""
    common = scale(steps(trial.signal) for trial in found.trials)

    def drawn(trial: Trial) -> str:
        return common.draw(steps(trial.signal), view.glyphs) if view.decoration else ""

    return [
        Column("factor", lambda trial: number(course(trial, about).factor, view), "right", 1, about),
        Column("theory", lambda trial: known(course(trial, about).expected, view), "right", 3, about),
        Column("verdict", lambda trial: view.text(judgement(trial, about)), rank=1, group=about, style=_judged(about)),
        Column("by depth", drawn, rank=picture, group=about),
    ]


def _judged(about: str) -> Callable[[Trial], str]:
    return lambda trial: _STYLES.get(verdict(trial, about), "")


# --- across widths -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Line:
    """One layer with its slopes by scheme and figure; or, without them, a number of layers that are left out here."""

    layer: str
    slopes: dict[tuple[str, str], Slope]


def _slopes(slopes: Sequence[Slope], view: View) -> Iterator[str]:
    """Yield the table of slopes, layers down and schemes across; on a terminal the middle of a long one is left out."""
    by_layer: dict[str, dict[tuple[str, str], Slope]] = {}
    for slope in slopes:
        by_layer.setdefault(slope.layer, {})[slope.scheme, slope.figure] = slope
    lines = [_Line(view.text(layer) or "the model itself", found) for layer, found in by_layer.items()]
    if view.width is not None and len(lines) > _MOST:
        half = _MOST // 2
        left_out = f"{view.glyphs.ellipsis} {plural(len(lines) - 2 * half, 'more layer')}"
        lines = [*lines[:half], _Line(left_out, {}), *lines[-half:]]
    schemes = list(dict.fromkeys(slope.scheme for slope in slopes))
    columns = [_slope(scheme, figure, rank, view) for rank, scheme in enumerate(schemes, 1) for figure in _HEADS]
    yield from lay_out([Column("slope of ln rms", lambda line: line.layer), *columns], lines, view)


def _slope(scheme: str, figure: str, rank: int, view: View) -> Column[_Line]:
    def cell(line: _Line) -> str:
        found = line.slopes.get((scheme, figure))
        return "" if found is None else f"{found.slope:.2f}"

    def style(line: _Line) -> str:
        found = line.slopes.get((scheme, figure))
        return BROKEN if found is not None and is_off(found) else ""

    return Column(_HEADS[figure], cell, "decimal", rank, view.text(scheme), style=style)
