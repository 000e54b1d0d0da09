"""Are the values what their schemes should give? The tolerance is a tensor's own: few elements may stray far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from paraminspect.render.judgement import BOUNDS, is_off
from paraminspect.report import Parameter, Report, Verdict
from paraminspect.text.numbers import figure
from paraminspect.text.view import View

_MOST = 20
_FIGURES = ("mean", "std")


def figures_off(report: Report) -> set[tuple[str | None, str | None]]:
    """Return which figure, ``mean`` or ``std``, is wrong in which row."""
    return {(verdict.where, verdict.figure) for verdict in report.verdicts if is_off(verdict)}


def nonfinite(rows: Iterable[Parameter], view: View) -> Iterator[tuple[str, str]]:
    """Yield a line for every tensor with NaN or infinities, up to a limit: its other figures leave them out."""
    found = [(row.name, row.values) for row in rows if row.values and (row.values.nan or row.values.inf)]
    for name, values in found[:_MOST]:
        yield "values", f"{view.text(name)}: {_counted(values.nan, values.inf)}, left out of the figures"
    if len(found) > _MOST:
        yield "values", f"and {len(found) - _MOST:,} tensors more"


def nonfinite_gradients(rows: Iterable[Parameter], view: View) -> Iterator[tuple[str, str]]:
    """Yield a line for every gradient with NaN or infinities, up to a limit."""
    found = [(row.name, row.gradient) for row in rows if row.gradient and (row.gradient.nan or row.gradient.inf)]
    for name, gradient in found[:_MOST]:
        yield "nonfinite", f"{view.text(name)}: {_counted(gradient.nan, gradient.inf)}, left out of the figures"
    if len(found) > _MOST:
        yield "nonfinite", f"and {len(found) - _MOST:,} tensors more"


def _counted(nan: int | None, inf: int | None) -> str:
    return " and ".join(f"{count:,} {what}" for count, what in ((nan, "NaN"), (inf, "infinite")) if count)


def judged(report: Report, view: View) -> Iterator[tuple[str, str]]:
    """Yield a line on how many tensors are as expected, and one for every figure that is off, up to a limit."""
    within = _within(report.verdicts)
    if within:
        yield "expected", within
    off = [verdict for verdict in report.verdicts if is_off(verdict)]
    for verdict in off[:_MOST]:
        yield "off", _off(verdict, view)
    if len(off) > _MOST:
        yield "off", f"and {len(off) - _MOST:,} more"


def _within(verdicts: Sequence[Verdict]) -> str:
    """Say how many tensors are within the tolerance, of each figure by itself unless both say the same."""
    tested, off = ({figure: _names(verdicts, figure, only) for figure in _FIGURES} for only in (False, True))
    mean, std = (_ratio(tested[figure], off[figure]) for figure in _FIGURES)
    tensors = tested["mean"] | tested["std"]
    noun = "tensor" if len(tensors) == 1 else "tensors"
    if not tensors:
        return ""
    if tested["mean"] == tested["std"] and off["mean"] == off["std"]:
        what = f"mean and std of {mean} {noun} are"
    elif not (tested["mean"] and tested["std"]):
        what = f"{'mean' if mean else 'std'} of {mean or std} {noun} {'is' if len(tensors) == 1 else 'are'}"
    else:
        what = f"mean of {mean} {noun} and std of {std} are"
    its = "its" if len(tensors) == 1 else "their"
    return f"{what} within the tolerance for {its} size{_too_few(len(tested['mean'] - tested['std']), len(tensors))}"


def _names(verdicts: Sequence[Verdict], figure: str, only_off: bool) -> set[str | None]:
    return {one.where for one in verdicts if one.figure == figure and (is_off(one) or not only_off)}


def _ratio(tested: set[str | None], off: set[str | None]) -> str:
    fine = f"{len(tested) - len(off):,} of " if off else ""
    return f"{fine}{len(tested):,}" if tested else ""


def _too_few(count: int, tensors: int) -> str:
    """Say in how many tensors the std could not be judged: a verdict on the mean alone comes from a small tensor."""
    if count == 0:
        return ""
    who = "it has" if tensors == 1 else f"{count:,} has" if count == 1 else f"{count:,} have"
    return f"; {who} too few elements to judge the std"


def _off(verdict: Verdict, view: View) -> str:
    if verdict.figure == BOUNDS and verdict.expected is not None and verdict.measured is not None:
        limit = "at least" if verdict.measured < verdict.expected else "at most"
        ends = [figure(number, view.glyphs) for number in (verdict.measured, verdict.expected)]
        return f"{view.text(verdict.where or '')}: a value is {ends[0]}, its scheme should give {limit} {ends[1]}"
    what = f"{view.text(verdict.where or '')}: {view.text(verdict.figure or '')}"
    wanted = figure(verdict.expected, view.glyphs)
    if verdict.tolerance is not None:
        wanted += f", give or take {figure(verdict.tolerance, view.glyphs)}"
    return f"{what} is {figure(verdict.measured, view.glyphs)}, its scheme should give {wanted}"
