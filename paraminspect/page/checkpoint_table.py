"""A checkpoint as a table of its tensors, repeated blocks folded, with what the files say of themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from paraminspect.page.contents_table import contents_table
from paraminspect.page.optimizer_table import optimizer_tables
from paraminspect.page.parts import BROKEN, SHARED, Column, Entries, Line, Page, Paragraph, Part, Table
from paraminspect.page.pictures import sparkline
from paraminspect.page.stored_sharing import sharing_parts
from paraminspect.page.tensor_folding import TensorRow, folding_note, tensor_rows
from paraminspect.report import CheckpointFiles, Portion, Report, TensorRows
from paraminspect.rules.file_headline import headline_of_files, place_and_message
from paraminspect.text.escape import View, code, word
from paraminspect.text.numbers import UNKNOWN, figure, plural, size, some_of, whole

_MOST: Final = 12
"""How many findings, values, shards a terminal gets a line each for; the data formats have all."""


def checkpoint_page(report: Report, view: View) -> Page:
    """Return the page of a checkpoint."""
    found = report.checkpoint
    rows = report.parameters
    if found is None or not isinstance(rows, TensorRows):
        raise TypeError("the report is not of a checkpoint")
    parts: list[Part] = [headline_of_files(report)]
    if report.command == "share":
        parts += sharing_parts(report, view)
        parts.append(Entries(list(_findings(report, _MOST))))
        return page_of_files(report, found, rows, parts)
    if found.parts:
        parts.append(contents_table(found, view))
    if rows:
        tables = optimizer_tables(report, rows, view)
        shown = tensor_rows(rows, view, [path for path, _ in tables])
        parts.append(Table(_columns(report, shown, view), shown, folding_note(shown), noun="tensor"))
        parts += [table for _, table in tables]
    else:
        parts.append(Paragraph("no tensors"))
    parts.append(Entries(list(_lines(report, found, view))))
    return page_of_files(report, found, rows, parts)


def page_of_files(report: Report, found: CheckpointFiles, rows: TensorRows, parts: list[Part]) -> Page:
    """Return a page that begins with what the files are: their format, how many elements and bytes they hold."""
    return Page(code(report.source.name), _title(report, found, rows), _setting(found, rows), parts)


def _title(report: Report, found: CheckpointFiles, rows: TensorRows) -> str:
    totals = report.totals
    least = "at least " if totals.unknown else ""
    tensors = sum(one.tensors for one in found.dtypes)
    of = f"{tensors:,} of " if found.unread else ""
    count = f"{totals.parameters:,} elements in {of}{plural(tensors + len(found.unread), 'tensor')}"
    if len(rows) < tensors:
        count = (
            f"{totals.shown:,} of {totals.parameters:,} elements shown, in {len(rows):,} of {plural(tensors, 'tensor')}"
        )
    shown = [word(found.format), count, f"{least}{size(totals.bytes)}"]
    if totals.as_named != totals.parameters:
        shown.append(f"{totals.as_named:,} elements counting every name")
    return ", ".join(shown)


def _setting(found: CheckpointFiles, rows: TensorRows) -> list[str]:
    held = sum(part.bytes or 0 for part in found.files)
    missing = sum(part.bytes is None for part in found.files)
    parts = [f"{plural(len(found.files), 'file')}{f', {missing:,} missing' if missing else ''}, {size(held)}"]
    if found.bytes_read is not None:
        parts.append(f"{size(found.bytes_read)} read{' for the headers' if rows.values else ''}")
    return parts


# --- the columns -----------------------------------------------------------------------------------------------


def _columns(report: Report, rows: Sequence[TensorRow], view: View) -> list[Column[TensorRow]]:
    files = report.checkpoint.files if report.checkpoint else ()
    sizes = [row.bytes for row in rows]
    total = UNKNOWN if None in sizes else whole(sum(one or 0 for one in sizes))
    columns = [
        Column[TensorRow](
            "tensor",
            lambda row: row.name,
            foot="total",
            tone=lambda row: BROKEN if row.why else SHARED if row.aliases else "",
            below=lambda row: [f"  = {alias}" for alias in row.aliases],
        ),
        Column("shape", lambda row: row.shape, rank=2),
        Column("count", lambda row: whole(row.numel), "right", 1, foot=whole(sum(row.numel for row in rows))),
        Column("%", lambda row: _percent(row.numel, report.totals.parameters), "right", 6),
        Column("dtype", lambda row: word(row.dtype), rank=3),
        Column("bytes", lambda row: whole(row.bytes), "right", 4, foot=total),
    ]
    if any(row.values for row in rows):
        columns += _figures(view)
    if len(files) > 1:
        columns.append(Column("file", lambda row: _file(row, files), rank=7))
    columns.append(Column("not readable", lambda row: code(row.why), rank=5, tone=lambda _: BROKEN))
    return columns


def _percent(part: int, whole_count: int) -> str:
    share = 100 * part / whole_count if whole_count else 0.0
    return "<0.1" if 0 < share < 0.05 else f"{share:.1f}"


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
    return code(files[row.file].name) if row.file is not None and row.file < len(files) else ""


# --- the lines below -------------------------------------------------------------------------------------------


def _lines(report: Report, found: CheckpointFiles, view: View) -> Iterator[Line]:
    most = _MOST if view.width is not None else None
    for text in _first([_saved_whole(*one) for one in found.modules.items()], most, "in --json"):
        yield "module", text
    if len(found.dtypes) > 1:
        yield "dtypes", "; ".join(f"{word(one.name)} {_amount(one)}" for one in found.dtypes)
    if not found.parts and len(found.subtrees) > 1 and any(one.tensors > 1 for one in found.subtrees):
        largest = sorted(found.subtrees, key=lambda one: -one.bytes)
        yield "subtrees", "; ".join(_first([f"{code(one.name)} {_amount(one)}" for one in largest], most, ""))
    for text in _first(
        [f"{code(key)}: {code(value)}" for key, value in sorted(found.metadata.items())], most, "in --json"
    ):
        yield "metadata", text
    said = {one.name for one in found.parts if one.text is not None or one.holds == "random state"}
    if other := {key: value for key, value in found.other.items() if key.partition(".")[0] not in said}:
        yield "beside", "; ".join(_beside(other, most))
    if found.beside:
        files = [f"{code(part.name)} {size(part.bytes or 0)}" for part in found.beside]
        yield "files", f"{'; '.join(_first(files, most, 'in --json'))}: of the training, not listed; name one as SOURCE"
    for text in _first([f"{code(name)} = {code(kept)}" for name, kept in found.ties.items()], most, "in --json"):
        yield "tie", f"{text}: written once, as save_model does"
    yield from _findings(report, most)
    lost: dict[str, list[str]] = {}
    for name, why in found.unread.items():
        lost.setdefault(why, []).append(code(name))
    for text in _first([f"{some_of(names)}: {code(why)}" for why, names in lost.items()], most, "in --json"):
        yield "not read", text
    if isinstance(report.parameters, TensorRows) and report.parameters and not report.parameters.values:
        yield "values", "not read: --stats reads them"


def _findings(report: Report, most: int | None) -> Iterator[Line]:
    """Yield a line for each finding, those of one rule under each other and not more than so many of it."""
    rules: dict[tuple[str, str], list[str]] = {}
    for one in report.findings:
        rules.setdefault((one.severity, one.rule), []).append(place_and_message(one, report))
    for (severity, rule), texts in rules.items():
        for text in _first(texts, most and 3, "in --json"):
            yield severity, f"{word(rule)} {text}"


def _saved_whole(path: str, name: str) -> str:
    where = f"{code(path)}: " if path else ""
    return f"{where}{code(name)}, an nn.Module saved whole; tensors are named as in its state_dict"


def _beside(other: Mapping[str, str], most: int | None) -> Iterable[str]:
    """Return the values beside the tensors, those at the top first: epoch comes before a hyper-parameter."""
    ranked = sorted(other.items(), key=lambda one: one[0].count("."))
    return _first([f"{code(key)} = {code(value)}" for key, value in ranked], most, "in --json")


def _amount(portion: Portion) -> str:
    return f"{plural(portion.tensors, 'tensor')}, {size(portion.bytes)}"


def _first(texts: Sequence[str], most: int | None, where: str) -> list[str]:
    """Return the first texts, and at the end how many more there are, and where."""
    if most is None or len(texts) <= most:
        return list(texts)
    return [*texts[: most - 1], f"and {len(texts) - most + 1:,} more{f' {where}' if where else ''}"]
