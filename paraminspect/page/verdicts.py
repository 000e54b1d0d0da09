"""Are the values what their schemes should give? The tolerance is a tensor's own: few elements may stray far."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from paraminspect.page.parts import BROKEN, Column, Line
from paraminspect.page.several import Several, members_of
from paraminspect.report import Parameter, Report, Verdict
from paraminspect.rules.value_rules import BOUNDS, is_off, strayed
from paraminspect.text.escape import word
from paraminspect.text.numbers import and_more

_FIGURES = ("mean", "std")
_MOST = 20


def judgement(report: Report) -> Callable[[Parameter], str]:
    """Return what joins the verdicts on a row's mean, std and bounds into one, a bad one winning.

    A figure that is fine alone is named: a few elements say nothing about the std.
    """
    fine: dict[str | None, list[str]] = {}
    off: dict[str | None, list[str]] = {}
    for verdict in report.verdicts:
        if verdict.about == "scheme":
            (off if is_off(verdict) else fine).setdefault(verdict.where, []).append(verdict.figure or "")

    def judged(row: Parameter) -> str:
        strays = [member.name for member in members_of(row) if member.name in off]
        if strays and isinstance(row, Several) and row.tensors:
            return f"{len(strays):,} off"
        if strays:
            return f"{' and '.join(off[strays[0]])} off"
        fit = {figure for member in members_of(row) for figure in fine.get(member.name, [])}
        named = fit - {BOUNDS}
        return f"{named.pop()} ok" if len(named) == 1 else "ok" if fit else ""

    return judged


def verdict_column(report: Report) -> Column[Parameter]:
    """Show the judgement of each row."""
    judged = judgement(report)
    return Column(
        "verdict",
        lambda row: word(judged(row)),
        rank=1,
        tone=lambda row: BROKEN if judged(row).endswith("off") else "",
    )


def figures_off(report: Report) -> set[tuple[str | None, str | None]]:
    """Return which figure, ``mean`` or ``std``, is wrong in which row."""
    return {(verdict.where, verdict.figure) for verdict in report.verdicts if is_off(verdict)}


def conformity(report: Report) -> Iterator[Line]:
    """Yield a line on how many tensors are as expected, and one for every figure that is off, up to a limit."""
    within = _within(report.verdicts, tensors_of_parts(report))
    if within:
        yield "expected", within
    off = [verdict for verdict in report.verdicts if is_off(verdict)]
    for verdict in off[:_MOST]:
        yield "off", strayed(verdict)
    if len(off) > _MOST:
        yield "off", and_more(len(off) - _MOST)


def tensors_of_parts(report: Report) -> dict[str | None, str]:
    """Return the name of the tensor by that of each of its parts: ``lstm.bias`` by ``lstm.bias[forget]``."""
    return {f"{row.name}{part.label}": row.name for row in report.parameters for part in row.parts}


def _within(verdicts: Sequence[Verdict], wholes: Mapping[str | None, str]) -> str:
    """Say how many tensors are within the tolerance, of each figure by itself unless both say the same.

    A tensor is if all its parts are that were judged.
    """
    tested, off = (
        {figure: {wholes.get(name, name) for name in _names(verdicts, figure, only)} for figure in _FIGURES}
        for only in (False, True)
    )
    mean, std = (_ratio(tested[figure], off[figure]) for figure in _FIGURES)
    tensors = tested["mean"] | tested["std"]
    noun = "tensor" if len(tensors) == 1 else "tensors"
    if not tensors:
        return ""
    if tested["mean"] == tested["std"] and off["mean"] == off["std"]:
        what = f"mean and std of {mean} {noun} are"
    elif not (tested["mean"] and tested["std"]):
        what = f"{'mean' if mean else 'std'} of {mean or std} {noun} is"
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
