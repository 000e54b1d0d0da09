"""`summary`: the tree of modules, one row each, with shapes, parameters and multiply-adds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from paraminspect.page.columns import percent_of
from paraminspect.page.heading import page_of
from paraminspect.page.layer_rows import PlacedRow, folded, narrow_guides, placed_rows, times_of
from paraminspect.page.memory_lines import fits_lines, memory_lines
from paraminspect.page.parts import BROKEN, QUIET, SHARED, SUSPICIOUS, Column, Entries, Line, Page, Paragraph, Table
from paraminspect.page.remarks import forgotten
from paraminspect.report import LayerTensor, Report, TreeLayer
from paraminspect.rules.gradient_rules import uncalled_modules
from paraminspect.text.braces import pattern
from paraminspect.text.escape import View, code, word
from paraminspect.text.numbers import UNKNOWN, plural, size, some_of, total, whole, with_prefix

CONVENTION = "MACs: multiply-adds of matrix products, convolutions and attention; what is elementwise counts none"
_RANKED = "each figure is that of the module itself, without the modules below it"
_LONGEST, _WIDE = 120, 60
_DOTS = re.compile(r"\.(?![^{]*\})")  # those of {0..5} are none between names


def summary(report: Report, view: View) -> Page:
    """Return the tree, then what there is to say of the whole; of a batch that was looked for, what it takes."""
    if report.fits is not None:
        return page_of(report, view, [Entries([*fits_lines(report.fits), *memory_lines(report.memory)])])
    rows = placed_rows(report, view)
    table = Table(
        _columns(report, rows, view),
        rows,
        folded(rows),
        legend=(*([_RANKED] if _is_ranked(report) else []), *([CONVENTION] if report.forward else [])),
        field=".layers",
        depth=None if not rows or rows[0].layer.depth else lambda row: row.layer.depth,
    )
    return page_of(report, view, [table if rows else Paragraph("no modules"), Entries(list(_lines(report)))])


# --- the columns -------------------------------------------------------------------------------------------------


def _is_ranked(report: Report) -> bool:
    """Tell whether the modules are in another order than that of the tree."""
    return any(one.index > next_one.index for one, next_one in pairwise(report.layers))


def _columns(report: Report, rows: Sequence[PlacedRow], view: View) -> list[Column[PlacedRow]]:
    """Return the columns; of modules that are in order of what each has itself, that and nothing below it."""
    totals = report.totals
    picked = totals.shown != totals.parameters
    partly = any(row.layer.trainable != row.layer.parameters for row in rows)
    own = "own_" if _is_ranked(report) else ""
    with_children = [] if own else [_count("with children", "parameters", 6, "parameters")]

    def share(row: PlacedRow) -> str:
        return percent_of(getattr(row.layer, f"{own}parameters") or None, totals.parameters)

    given = Column[PlacedRow]("input", lambda row: _shapes(row.layer.inputs, view), rank=9)
    is_wide = any(len(given.cell(row)) > _WIDE for row in rows)  # figures should not stand behind a line of tensors
    return [
        _name(report, view),
        *([] if is_wide else [given]),
        _output(report, view),
        _count("own", "own_parameters", 1, "parameters", foot=total([row.layer.own_parameters for row in rows])),
        *with_children,
        Column("%", share, "right", 7, "parameters"),
        Column("trainable", lambda row: _training(row.layer) if partly else "", rank=4),
        _count("bytes", f"{own}bytes", 10),
        _count("buffers", f"{own}buffers", 11),
        _work("forward", f"{own}macs", 2, None if picked else totals.macs),
        _work("backward", f"{own}flops_backward", 8, None if picked else totals.flops_backward),
        _saved(rows, f"{own}saved_bytes", None if picked else totals.saved_bytes),
        *([given] if is_wide else []),
        Column("arguments", lambda row: code(row.layer.extra_repr[:_LONGEST]), rank=12),
    ]


def _name(report: Report, view: View) -> Column[PlacedRow]:
    def cell(row: PlacedRow) -> str:
        return _called(row, row.layer.module)

    def short(row: PlacedRow) -> str:
        return _called(row, _DOTS.split(row.layer.module)[-1] if row.guide else row.layer.module)

    def others(row: PlacedRow) -> Sequence[str]:
        aliases = [f"= {code(alias)}" for alias in row.layer.aliases]
        shared = [f"{code(one.name.rpartition('.')[2])} = {code(one.owner)}" for one in row.layer.elsewhere]
        return [f"{row.below or '  '}{text}" for text in (*aliases, *shared)]

    whole = Column("layer", cell, foot="total", tone=_tone_of_name, below=others)
    narrow = replace(
        whole, cell=lambda row: short(narrow_guides(row, view)), below=lambda row: others(narrow_guides(row, view))
    )
    return replace(whole, short=replace(whole, cell=short, short=narrow))


def _tone_of_name(row: PlacedRow) -> str:
    if row.layer.failed:
        return BROKEN
    return SUSPICIOUS if row.layer.forgotten else SHARED if row.layer.aliases or row.layer.elsewhere else ""


def _called(row: PlacedRow, name: str) -> str:
    """Return ``├─ blocks.{0..11} Block ×12``: the guide lines, the name, the class, how many."""
    times = times_of(row.layer)
    forgotten = "(forgotten)" if row.layer.forgotten else ""
    texts = (code(name), word(row.layer.type), f"×{times:,}" if times > 1 else "", forgotten)
    return row.guide + " ".join(filter(None, texts))


def _count(head: str, field: str, rank: int, group: str = "", foot: str = "") -> Column[PlacedRow]:
    """Show a count of each module; nothing where there is nothing to count."""

    def cell(row: PlacedRow) -> str:
        value = getattr(row.layer, field)
        return UNKNOWN if value is None else f"{value:,}" if value else ""

    return Column(head, cell, "right", rank, group, foot)


def _work(head: str, field: str, rank: int, total: int | None) -> Column[PlacedRow]:
    """Show multiply-adds, those of the modules below included; half the flops."""

    def macs(value: int | None) -> int | None:
        return value if value is None or field.endswith("macs") else value // 2

    def cell(row: PlacedRow) -> str:
        value = macs(getattr(row.layer, field))
        if row.layer.uncounted and value is not None:
            return f"≥ {value:,}" if value else UNKNOWN
        return "" if not value else f"{value:,}"

    return Column(head, cell, "right", rank, "MACs", foot="" if total is None else whole(macs(total)))


def _saved(rows: Sequence[PlacedRow], field: str, total: int | None) -> Column[PlacedRow]:
    known = any(getattr(row.layer, field) is not None for row in rows)

    def cell(row: PlacedRow) -> str:
        value = getattr(row.layer, field)
        return whole(value) if known and value != 0 else ""

    return Column("saved bytes", cell, "right", 5, foot="" if total is None else whole(total))


def _output(report: Report, view: View) -> Column[PlacedRow]:
    """Show what a module returned, and how often if not once; in the place of that, why it returned nothing."""

    def cell(row: PlacedRow) -> str:
        layer = row.layer
        calls = f"{layer.calls:,} calls" if layer.calls and layer.calls > 1 else ""
        texts = (_shapes(layer.outputs, view), "…" if layer.varied else "", _what_happened(layer, report))
        return ", ".join(filter(None, (" ".join(filter(None, texts)), calls)))

    def tone(row: PlacedRow) -> str:
        return BROKEN if row.layer.failed else "" if row.layer.outputs else QUIET

    return Column("output", cell, rank=1, tone=tone)


def _shapes(found: Sequence[LayerTensor] | None, view: View) -> str:
    """Return the shapes, each tensor named where there are several; on a terminal the first, and how many more."""
    texts = [f"{code(one.name)} {one.shape}".lstrip() for one in found or ()]
    if view.width is None or len(texts) < 2:
        return ", ".join(texts)
    return f"{texts[0]} +{len(texts) - 1}"


def _training(layer: TreeLayer) -> str:
    if not layer.parameters or layer.trainable is None:
        return ""
    return "frozen" if not layer.trainable else "yes" if layer.trainable == layer.parameters else "part"


def _what_happened(layer: TreeLayer, report: Report) -> str:
    """Say that a module has no output for it failed or did not run; nothing of a container, which does not run."""
    if layer.failed:
        return "failed"
    if layer.calls != 0 or layer.called_below:
        return ""
    error = report.forward.error if report.forward else None
    return "not reached" if error and error.phase == "forward" else "not called"


# --- the lines below ---------------------------------------------------------------------------------------------


def _lines(report: Report) -> Iterator[Line]:
    totals = report.totals
    if totals.macs is not None:
        backward = f", backward {with_prefix(totals.flops_backward // 2)}" if totals.flops_backward is not None else ""
        least = "at least " if report.uncounted else ""
        yield "MACs", f"forward {least}{with_prefix(totals.macs)}{backward}; 1 MAC is 2 FLOPs"
    for one in report.uncounted:
        modules = _names(one.modules)
        yield "uncounted", f"{plural(one.calls, 'call')} of {code(one.op)} in {modules}: there is no formula for it"
    yield from memory_lines(report.memory)
    yield from _modules(report)
    if totals.buffers:
        yield "buffers", f"{plural(totals.buffers, 'element')}, {size(totals.buffer_bytes)}"
    yield from forgotten(report)


def _modules(report: Report) -> Iterator[Line]:
    """Yield the modules that were not called, apart from those whose parameters another module reads."""
    alone = [row.module for row in uncalled_modules(report)]
    if alone:
        yield "not called", _names(alone)
    used = [row.module for row in report.layers if isinstance(row, TreeLayer) and row.used_elsewhere]
    if used and not (report.forward and report.forward.error):
        yield "not called", f"{_names(used)}: another module reads the parameters"


def _names(names: Sequence[str]) -> str:
    """Return the names of modules, numbers that run on as ``{0..5}``."""
    found = pattern(names)
    return code(found) if found else some_of([code(name) or "the model itself" for name in names])
