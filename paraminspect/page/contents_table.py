"""What a training checkpoint is made of, as a table: a row for weights, optimizer, scheduler, random state, epoch."""

from __future__ import annotations

from typing import Final

from paraminspect.page.parts import Column, Table
from paraminspect.report import CheckpointFiles, TrainingPart
from paraminspect.text.escape import View, code
from paraminspect.text.numbers import whole

_MOST: Final = 20


def contents_table(found: CheckpointFiles, view: View) -> Table[TrainingPart]:
    """Return the table of the parts, those of tensors first and the largest of them on top."""
    rows = sorted(found.parts, key=lambda one: (-one.bytes, -one.value_bytes))
    note = ""
    if view.width is not None and len(rows) > _MOST:
        note = f"{len(rows) - _MOST:,} more in --json"
        rows = rows[:_MOST]
    columns = [
        Column[TrainingPart]("part", lambda row: code(row.name), foot="total"),
        Column("holds", lambda row: row.holds if row.text is None else f"= {code(row.text)}", rank=1),
        Column("tensors", lambda row: whole(row.tensors) if row.tensors else "", "right", 2),
        Column(
            "bytes",
            lambda row: whole(row.bytes) if row.tensors else "",
            "right",
            1,
            foot=whole(sum(one.bytes for one in found.parts)),
        ),
        Column("values", lambda row: whole(row.values) if row.values else "", "right", 3),
        Column("their bytes", lambda row: whole(row.value_bytes) if row.values else "", "right", 4),
    ]
    legend = []
    if any(one.values for one in found.parts):
        legend = ["values: what is no tensor; their bytes: about what they take in the file"]
    return Table(columns, rows, note, legend, noun="part", field=".checkpoint.parts")
