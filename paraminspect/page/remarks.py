"""What names and figures do not say: which buffers state_dict leaves out, what was forgotten, where NaN was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from paraminspect.init.rules import left_in_words
from paraminspect.page.parts import Line
from paraminspect.report import Gradient, Parameter, Report, Values
from paraminspect.rules.value_rules import of_no_weights
from paraminspect.text.escape import code
from paraminspect.text.numbers import and_more, figure, plural, size, some_of

_MOST_NOTES = 8
_MOST_ANSWERS = 6
_MOST_ROWS = 20
_FOR = {"weight": "weights that mix inputs", "bias": "biases of other layers"}


def remarks(report: Report) -> Iterator[Line]:
    """Yield what there is to say on stored tensors, buffers and forgotten tensors."""
    buffers = _of_kind(report, "buffer")
    yield from _notes("stored", _of_kind(report, "parameter"))
    if buffers:
        passing = [code(row.name) for row in buffers if row.persistent is False]
        left_out = f"; not in state_dict: {some_of(passing)}" if passing else ""
        yield "buffers", _amount(buffers) + left_out
    yield from _notes("stored", [row for row in buffers if not row.requires_grad])
    lost = _of_kind(report, "unregistered")
    if lost:
        yield "forgotten", f"{_amount(lost)}, registered by no module"
    yield from _notes("forgotten", [*(row for row in buffers if row.requires_grad), *lost])


def constants(report: Report) -> str:
    """Return one line for all plain attributes that need no gradient; nothing where there are none."""
    rows = _of_kind(report, "constant")
    names = some_of([code(row.name) for row in rows])
    return f"constants, plain tensors that need no gradient: {_amount(rows)}: {names}" if rows else ""


def padding_rows_kept(report: Report) -> Iterator[Line]:
    """Yield the padding rows that are not zero, up to a limit: as they are they stay, and may be meant."""
    found = [one for one in report.verdicts if one.about == "padding" and one.where]
    for one in found[:_MOST_NOTES]:
        name, _, row = (one.where or "").rpartition("[")
        kept = "and stays so: a lookup gives it no gradient"
        rule = code(f"--rule '{name}[padding]=zeros'")
        yield "padding", f"{code(name)}: row {row[:-1]} is not zero (rms {figure(one.measured)}), {kept}; {rule}"
    if len(found) > _MOST_NOTES:
        yield "padding", and_more(len(found) - _MOST_NOTES, "embedding")


def unknown_gradients(report: Report) -> Iterator[Line]:
    """Yield why gradients are unknown, where that is for what holds the parameters."""
    rows = [row for row in report.parameters if row.gradient and row.gradient.status == "unknown"]
    yield from _notes("stored", rows)


def left_alone(report: Report) -> Iterator[Line]:
    """Yield what ``--scheme`` and ``--bias`` left alone though it is called weight or bias, and what reaches it."""
    for one in report.initialisation.rules if report.initialisation else ():
        if one.norms or one.others:
            kind = "bias" if one.where == "--bias" else "weight"
            left = left_in_words(kind, [code(name) for name in one.norms], [code(name) for name in one.others])
            first = code(f"--rule '{[*one.norms, *one.others][0]}=SCHEME'")
            yield "left", f"{left}, as built: {code(one.where)} is for {_FOR[kind]}; {first} reaches one"


def forgotten(report: Report) -> Iterator[Line]:
    """Yield how much no module registers, for a command that has no rows for it; nothing where there is none."""
    rows = _of_kind(report, "unregistered")
    if rows:
        yield "forgotten", f"{_amount(rows)}, registered by no module: {some_of([code(row.name) for row in rows])}"


def recognised(report: Report) -> Iterator[Line]:
    """Yield what the values tell of how the parameters were initialised, and why not where they do not."""
    inits = [(row.name, row.init) for row in _of_kind(report, "parameter") if row.init]
    told = [(name, init) for name, init in inits if init.recognised is not None]
    answers = Counter(init.distribution or "" for _, init in told if init.recognised)
    if told:
        whose = "its" if 1 in (answers.total(), len(told)) else "their"
        known = f"{answers.total():,} of {plural(len(told), 'tensor')} recognised by {whose} values"
        most = [f"{times:,} {code(words)}" for words, times in answers.most_common(_MOST_ANSWERS)]
        more = and_more(len(answers) - _MOST_ANSWERS)
        yield "init", ": ".join(filter(None, (known, "; ".join(filter(None, (*most, more))))))
    left = ((name, f"unrecognised: {init.notes[0]}") for name, init in told if not init.recognised and init.notes)
    yield from notes("init", left, _MOST_NOTES)


def _of_kind(report: Report, kind: str) -> list[Parameter]:
    return [row for row in report.parameters if row.kind == kind]


def _notes(term: str, rows: Sequence[Parameter]) -> Iterator[Line]:
    return notes(term, ((row.name, row.note) for row in rows if row.note), _MOST_NOTES)


def notes(term: str, found: Iterable[tuple[str, str]], most: int | None) -> Iterator[Line]:
    """Yield every note once, after the names it is about, given as pairs of both; at most so many."""
    names: dict[str, list[str]] = {}
    for name, note in found:
        names.setdefault(note, []).append(code(name))
    for note in list(names)[:most]:
        yield term, f"{some_of(names[note], 4)}: {code(note)}"
    left = 0 if most is None else sum(map(len, list(names.values())[most:]))
    if left:
        yield term, and_more(left)


def _amount(rows: Sequence[Parameter]) -> str:
    """Return how many elements in how many tensors and bytes, at least those that are known."""
    known = [(row.numel, row.bytes or 0) for row in rows if row.numel is not None]
    tensors = plural(len(rows), "tensor")
    if not known:
        return f"{tensors} of unknown size"
    least = "at least " if len(known) < len(rows) else ""
    elements, taken = map(sum, zip(*known, strict=True))
    return f"{least}{plural(elements, 'element')} in {tensors}, {least}{size(taken)}"


def nonfinite_values(rows: Iterable[Parameter]) -> Iterator[Line]:
    """Yield a line for every tensor with NaN or infinities, up to a limit: its other figures leave them out."""
    return _nonfinite("values", [(row.name, row.values) for row in rows if row.values])


def uninitialised(report: Report) -> Iterator[Line]:
    """Yield the parameters whose largest magnitude no weights have: memory as it was, as after ``to_empty``."""
    found = [f"{code(name)} ({figure(largest)})" for name, largest in of_no_weights(report)]
    if found:
        yield "values", f"of a size that no weights have, as in memory that nothing initialised: {some_of(found)}"


def nonfinite_gradients(rows: Iterable[Parameter]) -> Iterator[Line]:
    """Yield a line for every gradient with NaN or infinities, up to a limit."""
    return _nonfinite("nonfinite", [(row.name, row.gradient) for row in rows if row.gradient])


def _nonfinite(term: str, measured: Sequence[tuple[str, Values | Gradient]]) -> Iterator[Line]:
    found = [(name, part) for name, part in measured if part.nan or part.inf]
    for name, part in found[:_MOST_ROWS]:
        counts = ((part.nan, "NaN"), (part.inf, "infinite"))
        counted = " and ".join(f"{count:,} {what}" for count, what in counts if count)
        yield term, f"{code(name)}: {counted}, left out of the figures"
    if len(found) > _MOST_ROWS:
        yield term, and_more(len(found) - _MOST_ROWS, "tensor")
