"""Which rows a table has: those of one kind, summed up by module and folded if the view says so."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence

from paraminspect.page.folding import FEWEST_ROWS, Places, fold
from paraminspect.page.several import Several, sum_up
from paraminspect.report import Parameter, Report
from paraminspect.text.view import View


def no_places(_row: Parameter) -> Sequence[str]:
    """Name no module beside a row."""
    return ()


class Rows:
    """Arrange the rows of a report as a view wants them."""

    def __init__(self, report: Report, view: View) -> None:
        self._report = report
        self._view = view
        verdicts: dict[str | None, set[Hashable]] = {}
        for verdict in report.verdicts:
            verdicts.setdefault(verdict.where, set()).add((verdict.about, verdict.figure, verdict.verdict))
        self._verdicts = {name: frozenset(found) for name, found in verdicts.items()}

    def of_kind(
        self, kind: str, places: Places = no_places, told: Callable[[Parameter], Hashable] = lambda _: None
    ) -> list[Parameter]:
        """Return the rows of a kind; `told` is what a table tells of a row beside it, which folded rows agree in."""
        return self.of_kinds((kind,), places, told)

    def of_kinds(
        self, kinds: Collection[str], places: Places = no_places, told: Callable[[Parameter], Hashable] = lambda _: None
    ) -> list[Parameter]:
        """Return the rows of some kinds, in the order of the report."""
        rows = [row for row in self._report.parameters if row.kind in kinds]
        if self._view.depth is not None:
            rows = at_depth(rows, self._view.depth)
        if not self._view.fold or len(rows) < FEWEST_ROWS:
            return rows
        return fold(rows, lambda row: (self._judged(row), told(row)), places)

    def _judged(self, row: Parameter) -> Hashable:
        if isinstance(row, Several):
            return tuple([self._verdicts.get(member.name) for member in row.members])
        return self._verdicts.get(row.name)


def folded(rows: Sequence[Parameter]) -> str:
    """Say how many rows were folded into how many; nothing where none were."""
    times = [row.times for row in rows if isinstance(row, Several) and row.times > 1]
    return f"{sum(times):,} rows folded into {len(times):,}, their figures taken together" if times else ""


def at_depth(rows: Sequence[Parameter], depth: int) -> list[Parameter]:
    """Return the rows whose names have at most `depth` components, and one row a module for those below it.

    Kinds stay apart. A module's row stands where the first of its tensors stood.
    """
    groups: dict[Hashable, list[Parameter]] = {}
    for index, row in enumerate(rows):
        module = _module(row.name, depth)
        groups.setdefault((row.kind, module) if module else index, []).append(row)
    return [_one_row(members, depth) for members in groups.values()]


def _module(name: str, depth: int) -> str:
    """Return the first components of a longer name; nothing for a name that is short enough."""
    parts = name.split(".", depth)
    return ".".join(parts[:depth]) if len(parts) > depth else ""


def _one_row(members: list[Parameter], depth: int) -> Parameter:
    module = _module(members[0].name, depth)
    return sum_up(members, module, tensors=len(members)) if module else members[0]
