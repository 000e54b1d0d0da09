"""`compare`: one line a trial, which scheme is steadiest, and the slopes across widths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from paraminspect.frozen import dataclass
from paraminspect.page.heading import experiment, page_of
from paraminspect.page.parts import BROKEN, HEAD, SUSPICIOUS, Column, Entries, Line, Page, Part, Table
from paraminspect.page.pictures import backward_steps, course_scale, forward_steps
from paraminspect.report import Comparison, Course, Report, Signal, Slope, Trial
from paraminspect.text.escape import View, code, word
from paraminspect.text.numbers import figure, percent, plural

_RETURNED = ("pre", "out")
_HEADS = {"pre": "pre", "out": "out", "gradient": "grad"}
_TONES = {"vanishing": SUSPICIOUS, "exploding": SUSPICIOUS, "dead": BROKEN, "nonfinite": BROKEN, "failed": BROKEN}
_LEGEND = (
    "factor: what a layer makes of the mean square, 1 keeps it",
    "by depth: rms on a log scale, first layer left",
)
_DIGITS = 3


# --- what was compared -------------------------------------------------------------------------------------------


def compare(report: Report, view: View) -> Page:
    """Return the table of trials, what comes out of it, and for several widths the slopes of every layer."""
    found = report.comparison
    if found is None:
        return page_of(report, view, [])
    legend = _LEGEND[: 1 + view.decoration]
    parts: list[Part] = [Table(_columns(report, found, view), found.trials, legend=legend, field=".comparison.trials")]
    parts.append(Entries(list(summary(found))))
    if found.slopes:
        parts.append(_slopes_one_by_one(found.slopes) if view.on_paper else _slopes_side_by_side(found.slopes))
    page = page_of(report, view, parts)
    return replace(page, title=page.title + _first_size(found.trials), setting=_setting(report, found, view))


def _first_size(trials: Sequence[Trial]) -> str:
    """Say of which size the model is that the title counts: of several it is the first."""
    found = _size(trials[0]) if trials else ""
    return f", at {found}" if found else ""


def _setting(report: Report, found: Comparison, view: View) -> list[str]:
    """Say in a few parts what every run had in common: seeds, input, device, version."""
    seed, last = report.environment.seed, (report.environment.seed or 0) + found.seeds - 1
    seeds = plural(found.seeds, "seed") if seed is None else f"seed{'s' * (last > seed)} {seed}"
    forward = report.forward and replace(report.forward, loss_name=None)
    common = replace(report, environment=replace(report.environment, seed=None), forward=forward)
    return [seeds if seed is None or last == seed else f"{seeds} to {last}", *experiment(common, view)]


def _size(trial: Trial) -> str:
    sizes = (("width", trial.width), ("depth", trial.depth))
    return ", ".join(f"{what} {size:,}" for what, size in sizes if size is not None)


# --- one trial ---------------------------------------------------------------------------------------------------


def course(trial: Trial, about: str) -> Course:
    """Return a trial's course, an unknown one where it failed."""
    found: Course = getattr(trial.signal, about) if trial.signal else Course()
    return found


def verdict(trial: Trial, about: str) -> str:
    """Return the verdict in a word."""
    return course(trial, about).verdict if trial.signal else "failed"


def judgement(trial: Trial, about: str) -> str:
    """Return the verdict with what one has to know about it: its power law, or the depth where the signal is gone."""
    found = course(trial, about)
    if found.leaves is not None and not found.extrapolated and found.verdict not in ("steady", "unknown"):
        return f"{found.verdict} at {found.leaves:,}"
    if found.verdict == "steady" and found.law == "power law":
        return "steady, power"
    return verdict(trial, about)


def _rounded(value: float | None) -> str:
    """Return a figure with three digits; nothing where there is none."""
    return "" if value is None else figure(value, _DIGITS)


def _columns(report: Report, found: Comparison, view: View) -> list[Column[Trial]]:
    loss = f"loss {word(report.forward.loss_name)}" if report.forward and report.forward.loss_name else "loss"
    return [
        Column("scheme", lambda trial: code(trial.scheme), tone=lambda one: HEAD * (one.scheme == found.steadiest)),
        Column("width", lambda trial: "" if trial.width is None else f"{trial.width:,}", "right", 1),
        Column("depth", lambda trial: "" if trial.depth is None else f"{trial.depth:,}", "right", 1),
        *_course("forward", forward_steps, found, view, 2),
        *_course("backward", backward_steps, found, view, 4),
        *([_figure("q last", lambda trial: trial.q_last, 8)] if view.theory else ()),
        _figure("first/last", lambda trial: trial.gradient_ratio, 7, "gradient"),
        _share("found", lambda trial: trial.dead, 6, "dead"),
        _share("expected", lambda trial: trial.expected_dead, 6, "dead"),
        _share("saturated", lambda trial: trial.saturated, 9),
        _figure("at init", lambda trial: trial.loss, 5, loss),
        _figure("ln C", lambda trial: trial.expected_loss, 5, loss),
    ]


def _figure(head: str, pick: Callable[[Trial], float | None], rank: int, group: str = "") -> Column[Trial]:
    """Show a figure of the trials that stand."""
    return Column(head, lambda trial: _rounded(pick(trial)), "decimal", rank, group)


def _share(head: str, pick: Callable[[Trial], float | None], rank: int, group: str = "") -> Column[Trial]:
    """Show a share in percent, where there is one."""

    def cell(trial: Trial) -> str:
        value = pick(trial)
        return "" if value is None else percent(value)

    return Column(head, cell, "right", rank, group)


def _course(
    about: str, steps: Callable[[Signal | None], list[float]], found: Comparison, view: View, picture: int
) -> list[Column[Trial]]:
    """Show one direction: the factor, what theory gives, the verdict, and the rms by depth on a scale for all."""
    common = course_scale(steps(trial.signal) for trial in found.trials)

    def drawn(trial: Trial) -> str:
        return common.draw(steps(trial.signal), view.glyphs) if view.decoration else ""

    return [
        Column("factor", lambda trial: figure(course(trial, about).factor, _DIGITS), "right", 1, about),
        Column("expected", lambda trial: _rounded(course(trial, about).expected), "right", 3, about),
        Column(
            "verdict",
            lambda trial: word(judgement(trial, about)),
            rank=1,
            group=about,
            tone=lambda trial: _TONES.get(verdict(trial, about), ""),
        ),
        Column("by depth", drawn, rank=picture, group=about),
    ]


# --- what comes out ----------------------------------------------------------------------------------------------


def summary(comparison: Comparison) -> Iterator[Line]:
    """Yield which scheme is steadiest and why, what failed, and what goes with the width."""
    if comparison.steadiest is not None or comparison.reason is not None:
        yield "steadiest", ": ".join(map(code, filter(None, (comparison.steadiest, comparison.reason))))
    for trial in comparison.trials:
        if trial.error is not None:
            size = _size(trial)
            yield "failed", f"{code(trial.scheme)}{f' at {size}' if size else ''}: {code(trial.error)}"
    for scheme in dict.fromkeys(slope.scheme for slope in comparison.slopes):
        yield "width", f"{code(scheme)}: {_across([one for one in comparison.slopes if one.scheme == scheme])}"


def _across(slopes: Sequence[Slope]) -> str:
    layers = {slope.layer for slope in slopes}
    off = [slope for slope in slopes if is_off(slope)]
    if not off:
        returns = "returns" if len(layers) == 1 else "return"
        return f"what {plural(len(layers), 'layer')} {returns} goes with it no more than by chance"
    worst = max(off, key=lambda slope: abs(slope.slope))
    goes = "return grows" if worst.slope > 0 else "return shrinks"
    growing = f"{len({slope.layer for slope in off}):,} of {plural(len(layers), 'layer')} {goes}"
    figures = f"{_rounded(worst.slope)}, give or take {figure(worst.tolerance, _DIGITS)}"
    return f"what {growing} with it, most in {code(worst.layer)}: slope of ln rms {figures}"


def is_off(slope: Slope) -> bool:
    """Tell whether what a layer returns goes with the width, more than by chance."""
    return slope.figure in _RETURNED and slope.tolerance is not None and abs(slope.slope) > slope.tolerance


def _off(slope: Slope | None) -> str:
    return BROKEN if slope is not None and is_off(slope) else ""


# --- across widths -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Slopes:
    """One layer with its slopes by scheme and figure."""

    layer: str
    slopes: dict[tuple[str, str], Slope]


def _slopes_side_by_side(slopes: Sequence[Slope]) -> Table[_Slopes]:
    """Return the table of slopes, layers down and schemes across."""
    by_layer: dict[str, dict[tuple[str, str], Slope]] = {}
    for slope in slopes:
        by_layer.setdefault(slope.layer, {})[slope.scheme, slope.figure] = slope
    lines = [_Slopes(layer, found) for layer, found in by_layer.items()]
    names = Column[_Slopes]("slope of ln rms", lambda line: code(line.layer) or "the model itself")
    schemes = enumerate(dict.fromkeys(slope.scheme for slope in slopes), 1)
    columns = [_slope_column(scheme, figure, rank) for rank, scheme in schemes for figure in _HEADS]
    return Table([names, *columns], lines, noun="layer")


def _slope_column(scheme: str, figure: str, rank: int) -> Column[_Slopes]:
    def cell(line: _Slopes) -> str:
        found = line.slopes.get((scheme, figure))
        return "" if found is None else f"{found.slope:.2f}"

    def tone(line: _Slopes) -> str:
        return _off(line.slopes.get((scheme, figure)))

    return Column(_HEADS[figure], cell, "decimal", rank, code(scheme), tone=tone)


def _slopes_one_by_one(slopes: Sequence[Slope]) -> Table[Slope]:
    """Return the table of slopes, a row for each, with the tolerance and what theory gives."""
    columns: list[Column[Slope]] = [
        Column("layer", lambda slope: code(slope.layer) or "the model itself"),
        Column("scheme", lambda slope: code(slope.scheme)),
        Column("of ln rms", lambda slope: word(slope.figure)),
        Column("slope", lambda slope: _rounded(slope.slope), "right", tone=_off),
        Column("tolerance", lambda slope: _rounded(slope.tolerance), "right"),
        Column("expected", lambda slope: _rounded(slope.expected), "right"),
    ]
    return Table(columns, slopes, field=".comparison.slopes")
