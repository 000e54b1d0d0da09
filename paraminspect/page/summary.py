"""`summary`: the tree of modules, one row each, with shapes, parameters and multiply-adds."""

from __future__ import annotations

from collections.abc import Sequence

from paraminspect.page.heading import page_of
from paraminspect.page.parts import Column, Page, Part, Table
from paraminspect.report import LayerTensor, Report, TreeLayer
from paraminspect.text.escape import View, code, word
from paraminspect.text.numbers import whole

Row = TreeLayer


def summary(report: Report, view: View) -> Page:
    """Return the table of modules, then what there is to say of the whole."""
    rows = [layer for layer in report.layers if isinstance(layer, TreeLayer)]
    parts: list[Part] = [Table(_columns(report, rows), rows, noun="layer", field=".layers")]
    return page_of(report, view, parts)


def _columns(report: Report, rows: Sequence[Row]) -> list[Column[Row]]:
    totals = report.totals
    return [
        Column("layer", lambda row: "  " * row.depth + (code(row.module) or code(row.type)), foot="total"),
        Column("type", lambda row: word(row.type), rank=3),
        Column("output", lambda row: _shapes(row.outputs), rank=2),
        Column("parameters", lambda row: whole(row.own_parameters), "right", 1, foot=whole(totals.parameters)),
        Column("MACs", lambda row: whole(row.macs), "right", 1, foot=whole(totals.macs)),
    ]


def _shapes(found: Sequence[LayerTensor] | None) -> str:
    return ", ".join(f"{code(one.name)} {one.shape}".lstrip() for one in found or ())
