"""Are the values what their schemes should give? The tolerance is a tensor's own: few elements may stray far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from paraminspect.render.figures import figure, plural
from paraminspect.render.view import View
from paraminspect.report import Parameter, Report, Verdict

_MOST = 20


def is_off(verdict: Verdict) -> bool:
    """Tell whether a verdict found something wrong."""
    return verdict.verdict.endswith("off")


def figures_off(report: Report) -> set[tuple[str | None, str]]:
    """Return which figure, ``mean`` or ``std``, is wrong in which row."""
    return {(verdict.where, verdict.verdict.removesuffix(" off")) for verdict in report.verdicts if is_off(verdict)}


def nonfinite(rows: Iterable[Parameter], view: View) -> Iterator[tuple[str, str]]:
    """Yield a line for every tensor with NaN or infinities, up to a limit: its other figures leave them out."""
    found = [(row.name, row.values) for row in rows if row.values and (row.values.nan or row.values.inf)]
    for name, values in found[:_MOST]:
        counted = [f"{count:,} {what}" for count, what in ((values.nan, "NaN"), (values.inf, "infinite")) if count]
        yield "values", f"{view.text(name)}: {' and '.join(counted)}, left out of the figures"
    if len(found) > _MOST:
        yield "values", f"and {len(found) - _MOST:,} tensors more"


def judged(report: Report, view: View) -> Iterator[tuple[str, str]]:
    """Yield a line on how many tensors are as expected, and one for every figure that is off, up to a limit."""
    names = {verdict.where for verdict in report.verdicts}
    off = [verdict for verdict in report.verdicts if is_off(verdict)]
    fine = len(names) - len({verdict.where for verdict in off})
    if names:
        tensors = plural(len(names), "tensor")
        counted = tensors if fine == len(names) else f"{fine:,} of {tensors}"
        size = "its size" if len(names) == 1 else "their size"
        yield "expected", f"mean and std of {counted} are within the tolerance for {size}"
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
