"""Are the values what their schemes should give? The tolerance is a tensor's own: few elements may stray far."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.render.figures import figure, plural
from paraminspect.render.view import View
from paraminspect.report import Report, Verdict

_MOST = 20


def is_off(verdict: Verdict) -> bool:
    """Tell whether a verdict found something wrong."""
    return verdict.verdict.endswith("off")


def judged(report: Report, view: View) -> Iterator[tuple[str, str]]:
    """Yield a line on how many tensors are as expected, and one for every figure that is off, up to a limit."""
    names = {verdict.where for verdict in report.verdicts}
    off = [verdict for verdict in report.verdicts if is_off(verdict)]
    fine = len(names) - len({verdict.where for verdict in off})
    if names:
        tensors = plural(len(names), "tensor")
        counted = tensors if fine == len(names) else f"{fine:,} of {tensors}"
        yield "expected", f"mean and std of {counted} are within the tolerance of their size"
    for verdict in off[:_MOST]:
        yield "off", _off(verdict, view)
    if len(off) > _MOST:
        yield "off", f"and {len(off) - _MOST:,} more"


def _off(verdict: Verdict, view: View) -> str:
    what = f"{view.text(verdict.where or '')}: {view.text(verdict.verdict.removesuffix(' off'))}"
    wanted = figure(verdict.expected, view.glyphs)
    if verdict.tolerance is not None:
        wanted += f", give or take {figure(verdict.tolerance, view.glyphs)}"
    return f"{what} is {figure(verdict.measured, view.glyphs)}, its scheme should give {wanted}"
