"""A checkpoint as a table of its tensors, repeated blocks folded, with what the files say of themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from paraminspect.analysis.statistics.merge import merge_figures
from paraminspect.page.braces import braces
from paraminspect.page.columns import percent_of
from paraminspect.page.parts import BROKEN, Column, Entries, Line, Page, Paragraph, Part, Table
from paraminspect.page.pictures import sparkline
from paraminspect.report import CheckpointFiles, Portion, Report, TensorHeader, TensorRows, Values
from paraminspect.text.escape import View, code, word
from paraminspect.text.numbers import UNKNOWN, figure, plural, size, whole

_FEWEST_ROWS = 10
_HOLE = "\0"
_NUMBER = re.compile(r"(?<![0-9])(?:0|[1-9][0-9]{0,14})(?![0-9])")
_PLAIN = re.compile(r"[\w.-]+")


class TensorRow(NamedTuple):
    """Tensors that agree in shape and dtype under names that a pattern in bash's braces expands to."""

    name: str
    times: int
    tensor: TensorHeader
    bytes: int | None
    values: Values | None

    @property
    def numel(self) -> int:
        """Return the number of elements of all of them."""
        return self.tensor.numel * self.times


def checkpoint_page(report: Report, view: View) -> Page:
    """Return the page of a checkpoint."""
    found = report.checkpoint
    rows = report.parameters
    if found is None or not isinstance(rows, TensorRows):
        raise TypeError("the report is not of a checkpoint")
    parts: list[Part] = []
    if rows:
        shown = _rows(rows, view)
        folded = [row.times for row in shown if row.times > 1]
        note = f"{sum(folded):,} rows folded into {len(folded):,}" if folded else ""
        parts.append(Table(_columns(report, shown, view), shown, note, noun="tensor"))
    else:
        parts.append(Paragraph("no tensors"))
    parts.append(Entries(list(_lines(report, found))))
    return Page(code(report.source.name), _title(report, found), _setting(found), parts)


def _title(report: Report, found: CheckpointFiles) -> str:
    totals = report.totals
    least = "at least " if totals.unknown else ""
    tensors = sum(one.tensors for one in found.dtypes)
    shown = [word(found.format), f"{totals.parameters:,} elements in {plural(tensors, 'tensor')}"]
    if totals.shown != totals.parameters:
        shown = [word(found.format), f"{totals.shown:,} of {totals.parameters:,} elements shown"]
    return ", ".join([*shown, f"{least}{size(totals.bytes)}"])


def _setting(found: CheckpointFiles) -> list[str]:
    held = sum(part.bytes or 0 for part in found.files)
    parts = [f"{plural(len(found.files), 'file')}, {size(held)}"]
    if found.bytes_read is not None:
        parts.append(f"{size(found.bytes_read)} read")
    return parts


# --- the rows --------------------------------------------------------------------------------------------------


def _rows(rows: TensorRows, view: View) -> list[TensorRow]:
    tensors = rows.tensors
    if not view.fold or len(tensors) < _FEWEST_ROWS:
        return [_row([tensor], code(tensor.name), rows.values) for tensor in tensors]
    return fold_names(tensors, rows.values)


def _row(members: Sequence[TensorHeader], name: str, values: Any) -> TensorRow:
    sizes = [member.bytes for member in members]
    known = [(found, member.numel) for member in members if values and (found := values.get(member.name)) is not None]
    merged = None
    if known and len(known) == len(members):
        merged = known[0][0] if len(known) == 1 else merge_figures(known)
    return TensorRow(name, len(members), members[0], None if None in sizes else sum(one or 0 for one in sizes), merged)


def fold_names(tensors: Sequence[TensorHeader], values: Any = None) -> list[TensorRow]:
    """Return the rows, each where its first tensor stands: those alike but for the numbers in their names are one.

    Linear in the number of tensors, whatever their names: numbers that do not make up every combination are split by
    the first of them, and those that are left stay alone.
    """
    alike: dict[Any, list[tuple[tuple[str, ...], int]]] = {}
    for place, tensor in enumerate(tensors):
        numbers = _NUMBER.findall(tensor.name) if _PLAIN.fullmatch(tensor.name) else []
        key: Any = place
        if numbers:
            key = (_NUMBER.sub(_HOLE, tensor.name), tensor.shape, tensor.dtype, bool(tensor.why))
        alike.setdefault(key, []).append((tuple(numbers), place))
    found: list[tuple[int, TensorRow]] = []
    for key, members in alike.items():
        for group in _groups(members) if isinstance(key, tuple) else [members]:
            places = [place for _, place in group]
            name = code(tensors[places[0]].name) if len(group) == 1 else _pattern(key[0], [one for one, _ in group])
            found.append((min(places), _row([tensors[place] for place in places], name, values)))
    return [row for _, row in sorted(found, key=lambda one: one[0])]


Members = list[tuple[tuple[str, ...], int]]


def _groups(members: Members, at: int = 0) -> Iterator[Members]:
    """Yield groups whose numbers are every combination of some sets."""
    if len(members) < 2:
        yield members
        return
    columns = list(zip(*(numbers for numbers, _ in members), strict=True))
    combinations = 1
    for column in columns:
        combinations *= len(set(column))
    if combinations == len(members) == len({numbers for numbers, _ in members}):
        yield members
        return
    if at >= len(columns):
        yield from ([member] for member in members)
        return
    parts: dict[str, Members] = {}
    for member in members:
        parts.setdefault(member[0][at], []).append(member)
    for part in _merged(parts, at):
        yield from _groups(part, at + 1)


def _merged(parts: dict[str, Members], at: int) -> Iterator[Members]:
    """Put those together whose other numbers are the same."""
    same: dict[Any, Members] = {}
    for members in parts.values():
        others = frozenset(numbers[:at] + numbers[at + 1 :] for numbers, _ in members)
        same.setdefault(others, []).extend(members)
    yield from same.values()


def _pattern(name: str, numbers: Sequence[tuple[str, ...]]) -> str:
    patterns = iter([braces(sorted({int(number) for number in column})) for column in zip(*numbers, strict=True)])
    spelled = "".join(next(patterns) if part == _HOLE else part for part in re.split(f"({_HOLE})", name))
    return f"{code(spelled)} ×{len(numbers):,}"


# --- the columns -----------------------------------------------------------------------------------------------


def _columns(report: Report, rows: Sequence[TensorRow], view: View) -> list[Column[TensorRow]]:
    files = report.checkpoint.files if report.checkpoint else ()
    numel = sum(row.numel for row in rows)
    sizes = [row.bytes for row in rows]
    total = UNKNOWN if None in sizes else f"{sum(one or 0 for one in sizes):,}"
    columns = [
        Column[TensorRow](
            "tensor", lambda row: row.name, foot="total", tone=lambda row: BROKEN if row.tensor.why else ""
        ),
        Column("shape", lambda row: str(row.tensor.shape), rank=2),
        Column("count", lambda row: whole(row.numel), "right", 1, foot=whole(numel)),
        Column("%", lambda row: percent_of(row.numel, report.totals.parameters), "right", 6),
        Column("dtype", lambda row: word(row.tensor.dtype), rank=3),
        Column("bytes", lambda row: whole(row.bytes), "right", 4, foot=total),
    ]
    if any(row.values for row in rows):
        columns += _figures(view)
    if len(files) > 1:
        columns.append(Column("file", lambda row: _file(row, files), rank=7))
    return columns


def _figures(view: View) -> list[Column[TensorRow]]:
    def column(key: str, rank: int) -> Column[TensorRow]:
        return Column(key, lambda row: figure(getattr(row.values, key, None)), "decimal", rank)

    def count(key: str, head: str, tone: str) -> Column[TensorRow]:
        def cell(row: TensorRow) -> str:
            found = getattr(row.values, key, 0)
            return whole(found) if found else ""

        return Column(head, cell, "right", 2, tone=lambda row: tone if cell(row) else "")

    return [
        column("mean", 4),
        column("std", 3),
        column("min", 6),
        Column("histogram", lambda row: sparkline(row.values.histogram, view) if row.values else "", rank=5),
        column("max", 6),
        count("zeros", "zeros", ""),
        count("nan", "NaN", BROKEN),
        count("inf", "Inf", BROKEN),
    ]


def _file(row: TensorRow, files: Sequence[Any]) -> str:
    at = row.tensor.file
    return code(files[at].name) if row.times == 1 and at is not None and at < len(files) else ""


# --- the lines below -------------------------------------------------------------------------------------------


def _lines(report: Report, found: CheckpointFiles) -> Iterator[Line]:
    if len(found.dtypes) > 1:
        yield "dtypes", "; ".join(f"{word(one.name)} {_amount(one)}" for one in found.dtypes)
    if 1 < len(found.subtrees) <= 12 and any(one.tensors > 1 for one in found.subtrees):
        yield "subtrees", "; ".join(f"{code(one.name)} {_amount(one)}" for one in found.subtrees)
    for key, text in found.metadata.items():
        yield "metadata", f"{code(key)}: {code(text)}"
    if found.other:
        yield (
            "beside",
            "; ".join(f"{code(key)} = {code(text)}" for key, text in _first(found.other.items(), 8))
            + (f" and {len(found.other) - 8:,} more" if len(found.other) > 8 else ""),
        )
    for name, kept in found.ties.items():
        yield "tie", f"{code(name)} = {code(kept)}: written once, as save_model does"
    for one in report.findings:
        yield one.severity, f"{one.rule} {code(one.where)}: {code(one.message)}"
    if isinstance(report.parameters, TensorRows) and report.parameters and not report.parameters.values:
        yield "values", "not read: --stats reads them"


def _amount(portion: Portion) -> str:
    return f"{plural(portion.tensors, 'tensor')}, {size(portion.bytes)}"


def _first(items: Iterable[Any], most: int) -> list[Any]:
    return [item for _, item in zip(range(most), items, strict=False)]
