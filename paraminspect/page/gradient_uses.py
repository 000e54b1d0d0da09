"""Which parameters a gradient reached, what read them, and how the contributions of the uses add up, in words."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence

from paraminspect.page.parts import Line
from paraminspect.page.remarks import notes
from paraminspect.page.several import Several, pool_gradients
from paraminspect.report import NOT_ATTRIBUTED, Cause, Gradient, Parameter, Report, Use
from paraminspect.rules.wording import by_severity, in_a_word
from paraminspect.text.escape import code, word
from paraminspect.text.numbers import figure, plural, some_of

"""The operation of what a gradient holds beyond the uses that were seen."""

_OUT_OF_SIGHT = "TorchScript or a Function of your own reads them, or FSDP a copy"
_MOST_CAUSES = 8


def coverage(report: Report) -> Iterator[Line]:
    """Yield how many gradients are fine, after the ones that are not, by name, and where that is known why.

    Nothing where no row could have one.
    """
    yield from _coverage(report)
    causes = ((row.name, row.gradient.cause) for row in report.parameters if row.gradient)
    yield from notes("cause", ((name, _text(cause)) for name, cause in causes if cause), _MOST_CAUSES)


def _text(cause: Cause) -> str:
    return f"{cause.op} in {cause.module or 'the model itself'}: {cause.reason}"


def _coverage(report: Report) -> Iterator[Line]:
    names: dict[str, list[str]] = {}
    for row in report.parameters:
        if row.gradient:
            names.setdefault(in_a_word(row.gradient), []).append(row.name)
    if not names:
        return
    total = plural(sum(map(len, names.values())), "tensor")
    if set(names) == {"not-run"}:
        yield "gradient", _not_run(report)
    elif len(names) == 1:
        yield "gradient", f"{word(*names)} in {total}"
    else:
        fine = names.pop("ok", [])
        parts = [f"{word(status)}: {some_of([*map(code, names[status])])}" for status in by_severity(names)]
        yield "gradient", "; ".join([*parts, f"ok in {len(fine):,} of {total}"])


def _not_run(report: Report) -> str:
    forward = report.forward
    if forward is None:
        return "not run: no forward"
    if forward.error:
        return f"not run: the {word(forward.error.phase)} failed"
    return "None for every parameter: the forward ran, the backward has not"


def not_attributed(report: Report) -> Iterator[Line]:
    """Yield a line that names the gradients which the uses that were seen do not add up to."""
    found = [verdict for verdict in report.verdicts if verdict.about == "ledger"]
    names = [code(verdict.where or "") for verdict in found if verdict.verdict == "not attributed"]
    if names:
        fine = sum(verdict.verdict == "reconciles" for verdict in found)
        rest = f"; it is in {fine:,} of {plural(len(found), 'tensor')}" if fine else ""
        yield "ledger", f"the gradient is not the sum of the uses that were seen: {some_of(names)}{rest}"
    unseen = [code(verdict.where or "") for verdict in found if verdict.verdict == "unseen"]
    if unseen:
        yield "ledger", f"a gradient arrived, but no use was seen ({_OUT_OF_SIGHT}): {some_of(unseen)}"


def ledger(report: Report) -> Iterator[Line]:
    """Yield a line on whether every gradient is the sum of its uses, or which are not."""
    yield from not_attributed(report)
    found = [verdict for verdict in report.verdicts if verdict.about == "ledger"]
    if found and all(verdict.verdict == "reconciles" for verdict in found):
        yield "ledger", f"every gradient is the sum of its uses, in {plural(len(found), 'tensor')}"


# --- the uses ----------------------------------------------------------------------------------------------------


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

    def has_parameter(self, names: Iterable[str]) -> bool:
        """Tell whether one of the names is a parameter's, or is not among the rows."""
        return any(row is None or row.kind == "parameter" for row in map(self.row, names))

    def of(self, name: str) -> Sequence[Use]:
        """Return the uses of one parameter in order of execution."""
        return self._uses.get(name, ())

    def of_row(self, row: Parameter) -> Sequence[Use]:
        """Return the uses of a row, of a folded one each use of all its parameters as one; none of a module's."""
        if not isinstance(row, Several):
            return self.of(row.name)
        if row.tensors:
            return ()
        counts = [member.numel for member in row.members]
        alike = zip(*(self.of(member.name) for member in row.members), strict=True)
        return tuple(
            Use(row.name, place, uses[0].op, uses[0].index, _pooled(uses, counts))
            for place, uses in zip(row.places, alike, strict=True)
        )

    def places(self, row: Parameter) -> tuple[str, ...]:
        """Return the modules that use a row's tensor; none where the row is a module's."""
        return () if isinstance(row, Several) else tuple(use.module for use in self.of(row.name))

    def kinds(self, row: Parameter) -> Hashable:
        """Return what tells the uses of a row apart from those of another but the modules."""
        if isinstance(row, Several):
            return sum(len(self.of(member.name)) for member in row.members)
        return tuple((use.op, in_a_word(use.gradient), use.gradient.rms is None) for use in self.of(row.name))

    def summary(self, row: Parameter) -> str:
        """Return what uses a row: the one operation, and the module unless it is the owner; of several how many."""
        if isinstance(row, Several) and row.tensors:
            found: Sequence[Use] = [use for member in row.members for use in self.of(member.name)]
        else:
            found = self.of_row(row)
        seen = [use for use in found if use.op != NOT_ATTRIBUTED]
        if len(seen) != 1:
            return plural(len(seen), "use") if seen else ""
        owner = row.name.rpartition(".")[0]
        return word(seen[0].op) if seen[0].module == owner else called(seen[0])

    def line(self, name: str) -> str:
        """Return e.g. ``, used 2 times: gradient 3 + 3 = 6``; nothing when no use is known."""
        row, uses = self.row(name), self.of(name)
        if row is None or not uses:
            return ""
        seen = [use for use in uses if use.op != NOT_ATTRIBUTED]
        if not seen:
            return ", used out of sight"
        times = "once" if len(seen) == 1 else f"{len(seen):,} times"
        total = sum_of_uses(row, uses)
        return f", used {times}: gradient {total}" if total else f", used {times}"


def _pooled(uses: Sequence[Use], counts: Sequence[int | None]) -> Gradient:
    """Return the gradient that the same use of several parameters contributed to all of them."""
    return pool_gradients([use.gradient for use in uses], counts) or Gradient("unknown")


def called(use: Use) -> str:
    """Return what a person calls a use: ``linear in 0``."""
    if use.op == NOT_ATTRIBUTED:
        return NOT_ATTRIBUTED
    return f"{word(use.op)} in {code(use.module) or 'the model itself'}"


def sum_of_uses(row: Parameter, uses: Sequence[Use]) -> str:
    """Return ``3 + 3 = 6`` for one element, else the rms of every use and of the sum; nothing without a gradient."""
    gradient = row.gradient
    if gradient is None or gradient.rms is None:
        return ""
    if row.numel == 1:
        terms = [figure(use.gradient.mean) for use in uses]
        return f"{' + '.join(_few(terms))} = {figure(gradient.mean)}"
    terms = [figure(use.gradient.rms) for use in uses]
    together = f"; of their sum {figure(gradient.rms)}" if len(terms) > 1 else ""
    return f"rms {', '.join(_few(terms))}{together}"


def _few(terms: list[str]) -> list[str]:
    return terms if len(terms) <= 8 else [*terms[:4], "…", *terms[-2:]]
