"""One line for the uses of a shared parameter: how often it was read, and how the contributions add up."""

from __future__ import annotations

from collections.abc import Sequence

from paraminspect.render.figures import figure
from paraminspect.render.view import View
from paraminspect.report import Parameter, Report, Use


class UsesByParameter:
    """Find a row and its uses by the row's name."""

    def __init__(self, report: Report) -> None:
        self._rows = {row.name: row for row in report.parameters}
        self._uses: dict[str, list[Use]] = {}
        for use in report.uses:
            self._uses.setdefault(use.parameter, []).append(use)

    def row(self, name: str) -> Parameter | None:
        """Return the row of that name; None when it is not among those shown."""
        return self._rows.get(name)

    def of(self, name: str) -> Sequence[Use]:
        """Return the uses of one parameter in order of execution."""
        return self._uses.get(name, ())

    def line(self, name: str, view: View) -> str:
        """Return e.g. ``, used 2 times: gradient 3 + 3 = 6``; nothing when no use is known."""
        row, uses = self.row(name), self.of(name)
        if row is None or not uses:
            return ""
        times = "once" if len(uses) == 1 else f"{len(uses):,} times"
        total = sum_of_uses(row, uses, view)
        return f", used {times}: gradient {total}" if total else f", used {times}"


def sum_of_uses(row: Parameter, uses: Sequence[Use], view: View) -> str:
    """Return ``3 + 3 = 6`` for one element, else the rms of every use and of the sum; nothing without a gradient."""
    gradient, glyphs = row.gradient, view.glyphs
    if gradient is None or gradient.rms is None:
        return ""
    if row.numel == 1:
        terms = [figure(use.gradient.mean, glyphs) for use in uses]
        return f"{' + '.join(_few(terms, view))} = {figure(gradient.mean, glyphs)}"
    terms = [figure(use.gradient.rms, glyphs) for use in uses]
    return f"rms {', '.join(_few(terms, view))}; of their sum {figure(gradient.rms, glyphs)}"


def _few(terms: list[str], view: View) -> list[str]:
    return terms if len(terms) <= 8 else [*terms[:4], view.glyphs.ellipsis, *terms[-2:]]
