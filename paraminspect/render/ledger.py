"""One line for the uses of a shared parameter: how often it was read, and how the contributions add up."""

from __future__ import annotations

from paraminspect.render.figures import figure
from paraminspect.render.view import View
from paraminspect.report import Report, Use


def uses_of(report: Report, name: str) -> list[Use]:
    """Return the uses of one parameter in order of execution."""
    return [use for use in report.uses if use.parameter == name]


def uses_line(report: Report, name: str, view: View) -> str:
    """Return e.g. ``, used 2 times: gradient 3 + 3 = 6``; the rms of each use when there are many elements."""
    uses = uses_of(report, name)
    row = next((row for row in report.parameters if row.name == name), None)
    if not uses or row is None:
        return ""
    times = "once" if len(uses) == 1 else f"{len(uses):,} times"
    if row.gradient is None or row.gradient.rms is None:
        return f", used {times}"
    return f", used {times}: {sum_of_uses(uses, row.gradient.rms, row.gradient.mean, row.numel, view)}"


def sum_of_uses(uses: list[Use], rms: float, total: float | None, numel: int | None, view: View) -> str:
    """Return ``gradient 3 + 3 = 6`` for one element, else the rms of every use and of the sum."""
    if numel == 1:
        terms = [figure(use.gradient.mean, view.glyphs) for use in uses]
        return f"gradient {_joined(terms, ' + ', view)} = {figure(total, view.glyphs)}"
    terms = [figure(use.gradient.rms, view.glyphs) for use in uses]
    return f"gradient rms {_joined(terms, ', ', view)} each, {figure(rms, view.glyphs)} their sum"


def _joined(terms: list[str], between: str, view: View) -> str:
    if len(terms) > 8:
        terms = [*terms[:4], view.glyphs.ellipsis, *terms[-2:]]
    return between.join(terms)
