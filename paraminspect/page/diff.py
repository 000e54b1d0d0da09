"""`diff`: whether two sources are the same, then what moved the most, then names, ties and metadata."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from paraminspect.page.fit_lines import fit_headline, fit_lines
from paraminspect.page.parts import BROKEN, QUIET, SUSPICIOUS, Column, Entries, Line, Page, Paragraph, Part, Table
from paraminspect.page.repeated_blocks import FEWEST_ROWS
from paraminspect.page.tensor_folding import fold_names
from paraminspect.report import (
    AdapterTarget,
    Difference,
    Headline,
    Renaming,
    Report,
    SideOfDiff,
    TensorChange,
    TieChange,
    ValueChange,
)
from paraminspect.text.escape import View, code, word
from paraminspect.text.numbers import UNKNOWN, figure, percent, plural, size, some_of

_MOST = 12
_DIGITS = 3
_ELSEWHERE = {
    "equal": "tensors of their own, with equal bytes",
    "different": "tensors of their own, with other values",
    "left out": "only one of the names",
}


class ChangeRow(NamedTuple):
    """Tensors that changed alike, under a name or a pattern of names, and where their names stand."""

    name: str
    members: Sequence[TensorChange]

    @property
    def first(self) -> TensorChange:
        """Return one of them, which stands for all in shape, type and the kind of change."""
        return self.members[0]

    @property
    def values(self) -> list[ValueChange]:
        """Return how far the values of each moved."""
        return [one.values for one in self.members if one.values is not None]


def diff(report: Report, view: View) -> Page:
    """Return the page of a comparison."""
    found = report.difference
    if found is None:
        raise TypeError("the report is of no comparison")
    parts: list[Part] = [*([fit_headline(found.fit)] if found.fit else ()), summary(found)]
    rows = change_rows(found.tensors, view)
    if rows:
        folded = [len(row.members) for row in rows if len(row.members) > 1]
        note = f"{sum(folded):,} rows folded into {len(folded):,}" if folded else ""
        legend = _legend(found)
        parts.append(Table(_columns(rows), rows, note, legend, noun="tensor", field=".difference.tensors"))
    if found.adapters:
        parts.append(_adapters(found.adapters, view))
    lines = list(_lines(found))
    parts += [Entries(lines)] if lines else []
    if view.on_paper and report.errors:
        parts.append(Entries([("error", ": ".join(map(code, (one.where, one.message)))) for one in report.errors]))
    return Page(
        code(found.a.name), f"compared with {code(found.b.name)}", [_side("A", found.a), _side("B", found.b)], parts
    )


def _side(letter: str, side: SideOfDiff) -> str:
    taken = "" if side.bytes is None else f", {size(side.bytes)}"
    return f"{letter}: {word(side.format)}, {plural(side.tensors, 'tensor')}{taken}"


# --- the first line ------------------------------------------------------------------------------------------------


def summary(found: Difference) -> Headline | Paragraph:
    """Say in one line whether the sources are the same, and if not in what they differ."""
    left = f"; {plural(found.ignored, 'tensor')} left out" if found.ignored else ""
    if found.same:
        within = f", {found.within:,} of them within the tolerance" if found.within else ""
        return Headline("fine", "identical", f"the same: {plural(found.compared, 'tensor')}{within}{left}")
    return Paragraph(f"they differ: {'; '.join(_counts(found))}{left}", SUSPICIOUS)


def _counts(found: Difference) -> Iterator[str]:
    counts = found.counts
    broken = [value.became_nonfinite for value in _values(found) if value.became_nonfinite]
    if broken:
        yield f"{plural(sum(broken), 'value')} became NaN or Inf, in {plural(len(broken), 'tensor')}"
    yield from _moved(found)
    for what, text in (("shape", "of another shape"), ("dtype", "of another dtype"), ("unread", "not comparable")):
        if counts[what]:
            yield f"{counts[what]:,} {text}"
    bits = sum("bits" in one.changes and "within" not in one.changes for one in found.tensors)
    if bits:
        yield f"{bits:,} with equal values in other bits"
    for status in ("removed", "added"):
        number = sum(one.status == status for one in found.tensors)
        if number:
            yield f"{number:,} {status}"
    if found.renamings:
        yield f"{sum(len(one.names) for one in found.renamings):,} renamed"
    if found.adapters:
        yield f"{plural(len(found.adapters), 'LoRA target')}"
    if found.ties:
        yield plural(len(found.ties), "tie")
    if found.metadata:
        yield f"{len(found.metadata):,} of the metadata"
    if found.identical:
        yield f"{found.identical:,} identical"


def _moved(found: Difference) -> Iterator[str]:
    """Say how many tensors moved and how far, those of the model and those of the optimizer apart."""
    moved = [one for one in found.tensors if "values" in one.changes and "within" not in one.changes]
    kept = found.optimizer
    of = " of the model" if kept else ""
    own = [one for one in moved if one.in_optimizer is None]
    if own:
        but = "but integers" if len({one.is_count for one in own}) > 1 else "of them"
        tensors = plural(found.compared - (kept.compared if kept else 0), "tensor")
        yield f"{len(own):,} of {tensors}{of} moved{_together(found.relative, but)}"
    if kept and kept.moved:
        but = "but steps" if len({one.is_count for one in moved if one.in_optimizer is not None}) > 1 else "of them"
        tensors = plural(kept.compared, "tensor")
        yield f"{kept.moved:,} of {tensors} of the optimizer moved{_together(kept.relative, but)}"


def _together(relative: float | None, but: str) -> str:
    return "" if relative is None else f" (‖Δ‖/‖A‖ {figure(relative)} over all {but})"


# --- the rows ------------------------------------------------------------------------------------------------------


def change_rows(tensors: Sequence[TensorChange], view: View) -> list[ChangeRow]:
    """Return the rows: of tensors alike but for the numbers in their names one, where the largest of them stands."""
    if not view.fold or len(tensors) < FEWEST_ROWS:
        return [ChangeRow(code(one.in_optimizer or one.name), [one]) for one in tensors]

    def alike(place: int) -> tuple[object, ...]:
        one = tensors[place]
        return (one.status, one.changes, one.shape, one.other_shape, one.dtype, one.other_dtype, one.note)

    return [
        ChangeRow(row.name, [tensors[place] for place in row.places])
        for row in fold_names([one.in_optimizer or one.name for one in tensors], alike)
    ]


def _columns(rows: Sequence[ChangeRow]) -> list[Column[ChangeRow]]:
    ranks = [value.rank for row in rows for value in row.values]
    columns = [
        Column[ChangeRow]("tensor", lambda row: row.name, tone=_tone),
        Column("change", _what, tone=_tone),
        Column("shape", _shape, rank=0 if any("shape" in row.first.changes for row in rows) else 3),
        Column("dtype", _dtype, rank=0 if any("dtype" in row.first.changes for row in rows) else 4),
    ]
    if any(row.values for row in rows):
        columns += _figures()
    if any(rank is not None for rank in ranks):
        columns.append(Column("rank", _rank, "right", 1))
    return columns


def _figures() -> list[Column[ChangeRow]]:
    return [
        Column("changed", _share, "right", 1),
        Column("max |Δ|", lambda row: _range(row, "max_abs"), "decimal", 2),
        Column("‖Δ‖/‖A‖", lambda row: _range(row, "relative"), "decimal"),
        Column("cosine", lambda row: _range(row, "cosine"), "decimal", 5),
    ]


def _tone(row: ChangeRow) -> str:
    one = row.first
    if "within" in one.changes:
        return QUIET
    broken = "shape" in one.changes or any(value.nonfinite for value in row.values)
    return BROKEN if broken else SUSPICIOUS if one.status != "changed" or "unread" in one.changes else ""


def _what(row: ChangeRow) -> str:
    one = row.first
    kinds = ["within tolerance"] if "within" in one.changes else list(one.changes)
    words = kinds if one.status == "changed" else [one.status]
    became = sum(value.became_nonfinite for value in row.values)
    others = sum(value.nonfinite for value in row.values) - became
    words += [f"{became:,} became NaN or Inf"] if became else []
    words += [f"{others:,} {'was' if others == 1 else 'were'} NaN or Inf"] if others else []
    return ", ".join(words)


def _shape(row: ChangeRow) -> str:
    one, other = row.first.shape, row.first.other_shape
    known = [str(shape) for shape in dict.fromkeys((one, other)) if shape is not None]
    return " → ".join(known)


def _dtype(row: ChangeRow) -> str:
    one, other = row.first.dtype or "", row.first.other_dtype or ""
    return word(one or other) if not one or not other or one == other else f"{word(one)} → {word(other)}"


def _share(row: ChangeRow) -> str:
    numel = sum(value.numel for value in row.values)
    return percent(sum(value.different for value in row.values) / numel) if numel else ""


def _range(row: ChangeRow, key: str) -> str:
    """Return a figure, of several tensors the smallest and the largest."""
    found = [getattr(value, key) for value in row.values]
    known = [value for value in found if value is not None]
    if not found:
        return ""
    if not known:
        return UNKNOWN
    return _between(known)


def _between(known: Sequence[float]) -> str:
    """Return a figure, or the smallest and the largest of several with a digit less."""
    low, high = min(known), max(known)
    if figure(low) == figure(high):
        return figure(low)
    texts = dict.fromkeys(figure(one, _DIGITS) for one in (low, high))
    return "..".join(texts)


def _rank(row: ChangeRow) -> str:
    found = [value for value in row.values if value.rank is not None]
    if not found:
        return ""
    ranks, full = sorted({value.rank or 0 for value in found}), max(value.full_rank or 0 for value in found)
    spelled = f"{ranks[0]:,}" if len(ranks) == 1 else f"{ranks[0]:,}..{ranks[-1]:,}"
    return f"{spelled} of {full:,}"


def _values(found: Difference) -> list[ValueChange]:
    return [one.values for one in found.tensors if one.values is not None]


def _legend(found: Difference) -> Sequence[str]:
    values = _values(found)
    legend = ["Δ = B - A; changed: elements of another value"] if values else []
    if any(value.nonfinite for value in values):
        legend.append("max |Δ|, ‖Δ‖/‖A‖, cosine: of what is finite on both sides")
    if any(value.rank is not None for value in values):
        legend.append("rank: singular values of Δ above what rounding to the dtype makes of one")
    return legend


# --- adapters ------------------------------------------------------------------------------------------------------


_TargetRow = tuple[str, list[AdapterTarget]]


def _adapters(targets: Sequence[AdapterTarget], view: View) -> Table[_TargetRow]:
    names = [one.target for one in targets]

    def alike(place: int) -> tuple[object, ...]:
        one = targets[place]
        return one.rank, one.shape, one.dtype, one.base is None, one.fits

    if view.fold and len(targets) >= FEWEST_ROWS:
        rows = [(row.name, [targets[place] for place in row.places]) for row in fold_names(names, alike)]
    else:
        rows = [(code(one.target), [one]) for one in targets]

    def between(row: _TargetRow, key: str) -> str:
        known = [value for one in row[1] if (value := getattr(one, key)) is not None]
        return _between(known) if known else ""

    def base(row: _TargetRow) -> str:
        return "" if row[1][0].base is None else "fits" if row[1][0].fits else "another shape"

    return Table(
        [
            Column[_TargetRow](
                "LoRA target", lambda row: row[0], tone=lambda row: "" if row[1][0].base else SUSPICIOUS
            ),
            Column("in", lambda row: row[1][0].side.upper(), rank=6),
            Column("rank", lambda row: f"{row[1][0].rank:,}", "right"),
            Column("shape", lambda row: str(row[1][0].shape), rank=3),
            Column("dtype", lambda row: word(row[1][0].dtype), rank=4),
            Column("weight", base, rank=2, tone=lambda row: BROKEN if row[1][0].fits is False else ""),
            Column("alpha/rank", lambda row: between(row, "scale"), "decimal", 3),
            Column("‖BA‖", lambda row: between(row, "l2"), "decimal", 5),
            Column("‖BA‖/‖W‖", lambda row: between(row, "relative"), "decimal", 1),
        ],
        rows,
        noun="target",
        field=".difference.adapters",
    )


# --- the lines below -----------------------------------------------------------------------------------------------


def _lines(found: Difference) -> Iterator[Line]:
    if found.fit is not None:
        yield from fit_lines(found.fit)
    if found.beside:
        yield "beside", f"{some_of([code(name) for name in found.beside], _MOST)}: of the training, not compared"
    for renaming in found.renamings[:_MOST]:
        yield "renamed", _renaming(renaming)
    if found.renamings[_MOST:]:
        yield "renamed", f"and {len(found.renamings) - _MOST:,} more"
    filled = {name for name, _ in found.fit.ties} if found.fit else set()
    ties = [tie for tie in found.ties if tie.elsewhere != "left out" or not filled & set(tie.names)]
    for tie in ties[:_MOST]:
        yield "tie", _tie(tie)
    if ties[_MOST:]:
        yield "tie", f"and {len(ties) - _MOST:,} more"
    for entry in found.metadata[:_MOST]:
        sides = ("nothing" if text is None else code(text) or "an empty text" for text in (entry.a, entry.b))
        yield "metadata", f"{code(entry.key)}: {' → '.join(sides)}"
    if found.metadata[_MOST:]:
        yield "metadata", f"and {len(found.metadata) - _MOST:,} more"
    lost = [one for one in found.adapters if one.base is None]
    if lost and len(lost) < len(found.adapters):
        yield "adapter", f"the other side has no weight for {some_of([code(one.target) for one in lost])}"
    notes: dict[str, list[str]] = {}
    for one in found.tensors:
        if one.note:
            notes.setdefault(one.note, []).append(code(one.name))
    yield from (("not read", f"{some_of(names)}: {code(note)}") for note, names in [*notes.items()][:_MOST])
    if len(notes) > _MOST:
        yield "not read", f"and {len(notes) - _MOST:,} more"


def _renaming(one: Renaming) -> str:
    names = plural(len(one.names), "name")
    if one.reason == "bytes":
        return f"{code(one.in_a)} is {code(one.in_b)} in B: the only ones of equal bytes"
    if not one.in_b:
        return f"A has {code(_dotted(one.in_a))} in {names} that B has without it"
    if not one.in_a:
        return f"B has {code(_dotted(one.in_b))} in {names} that A has without it"
    return f"{code(one.in_a)} in {names} of A is {code(one.in_b)} in B"


def _dotted(parts: str) -> str:
    return f"{parts.replace(' … ', '. … .')}."


def _tie(tie: TieChange) -> str:
    other = "B" if tie.only == "a" else "A"
    names = _joined(map(code, tie.names[:_MOST]))
    return f"{names} are one tensor in {tie.only.upper()}; {other} has {_ELSEWHERE[tie.elsewhere]}"


def _joined(names: Iterable[str]) -> str:
    return " = ".join(names)
