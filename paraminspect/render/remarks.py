"""What names do not say: which buffers state_dict leaves out, what was forgotten, what a stored tensor is for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from paraminspect.report import Parameter, Report
from paraminspect.text.numbers import plural, size, some_of

_MOST = 8


def remarks(report: Report, shown: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Yield a head and a text each for stored tensors, buffers and forgotten tensors; `shown` escapes names."""
    buffers = _of_kind(report, "buffer")
    yield from _notes("stored", _of_kind(report, "parameter"), shown)
    if buffers:
        passing = [shown(row.name) for row in buffers if row.persistent is False]
        left_out = f"; not in state_dict: {some_of(passing)}" if passing else ""
        yield "buffers", _amount(buffers) + left_out
    yield from _notes("stored", buffers, shown)
    lost = _of_kind(report, "unregistered")
    if lost:
        yield "forgotten", f"{_amount(lost)}, registered by no module"
    yield from _notes("forgotten", lost, shown)


def forgotten(report: Report, shown: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Yield how much no module registers, for a command that has no rows for it; nothing where there is none."""
    rows = _of_kind(report, "unregistered")
    if rows:
        yield "forgotten", f"{_amount(rows)}, registered by no module: {some_of([shown(row.name) for row in rows])}"


def _of_kind(report: Report, kind: str) -> list[Parameter]:
    return [row for row in report.parameters if row.kind == kind]


def _notes(head: str, rows: Sequence[Parameter], shown: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Yield every note once, after the names it is about."""
    names: dict[str, list[str]] = {}
    for row in rows:
        if row.note:
            names.setdefault(row.note, []).append(shown(row.name))
    for note in list(names)[:_MOST]:
        yield head, f"{some_of(names[note], 4)}: {shown(note)}"
    left = sum(map(len, list(names.values())[_MOST:]))
    if left:
        yield head, f"and {left:,} more"


def _amount(rows: Sequence[Parameter]) -> str:
    """Return how many elements in how many tensors and bytes, at least those that are known."""
    known = [(row.numel, row.bytes or 0) for row in rows if row.numel is not None]
    tensors = plural(len(rows), "tensor")
    if not known:
        return f"{tensors} of unknown size"
    least = "at least " if len(known) < len(rows) else ""
    elements, taken = map(sum, zip(*known, strict=True))
    return f"{least}{plural(elements, 'element')} in {tensors}, {least}{size(taken)}"
