"""The state of the optimizers of a training checkpoint as tables: a row a parameter, those alike folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from paraminspect.page.parts import SUSPICIOUS, Column, Table
from paraminspect.page.several import pool_values
from paraminspect.page.tensor_folding import fold_names
from paraminspect.report import OptimizerContents, Report, StateOfParameter, TensorHeader, TensorRows, Values
from paraminspect.text.escape import View, word
from paraminspect.text.numbers import figure, whole

_STEP = "step"
_FIGURES: Final = {"rms": 2, "mean": 4, "min": 6, "max": 5}
"""The figures of a tensor, and how soon their columns go: std is what rms and mean leave of it."""


class StateRow(NamedTuple):
    """Parameters of one shape of which an optimizer keeps tensors of the same names, after as many steps."""

    name: str
    members: tuple[StateOfParameter, ...]
    shape: str
    numel: int
    step: float | None
    bytes: int


def optimizer_tables(report: Report, rows: TensorRows, view: View) -> list[tuple[str, Table[Any]]]:
    """Return for each optimizer where its tensors stand, and a table of them; nothing where not all rows are wanted."""
    found = report.checkpoint
    is_part = report.totals.shown != report.totals.parameters
    if found is None or not found.optimizers or is_part or not view.fold or view.depth is not None:
        return []
    tensors = {tensor.name: tensor for tensor in rows.tensors}
    return [
        (f"{one.path}.state" if one.path else "state", _table(one, tensors, rows.values))
        for one in found.optimizers
        if len(one.parameters) > 1
    ]


def _table(
    optimizer: OptimizerContents, tensors: Mapping[str, TensorHeader], values: Mapping[str, Values | None]
) -> Table[StateRow]:
    states = optimizer.parameters
    most = max((one.step for one in states if one.step is not None), default=None)
    without = [StateOfParameter(name, name if name in tensors else None, None, 0, {}) for name in optimizer.without]
    rows = _rows([*states, *without], tensors)

    def tone(row: StateRow) -> str:
        is_behind = row.step is not None and most is not None and row.step < most
        return SUSPICIOUS if is_behind or not row.members[0].tensors else ""

    columns = [
        Column[StateRow](_head(optimizer), lambda row: row.name, foot="total", tone=tone),
        Column("shape", lambda row: row.shape, rank=8 if values else 2),
        Column("keeps", lambda row: word(", ".join(_kept(row.members[0]))) or "nothing", rank=9 if values else 3),
        Column("steps", lambda row: figure(row.step) if row.members[0].tensors else "", "right", 1, tone=tone),
        Column("bytes", lambda row: whole(row.bytes), "right", 7, foot=whole(sum(row.bytes for row in rows))),
    ]
    if values:
        words = list(dict.fromkeys(kind for one in states for kind in one.tensors if kind != _STEP))
        pooled = {("parameter", at): _pooled(row, None, values) for at, row in enumerate(rows)}
        pooled |= {(kind, at): _pooled(row, kind, values) for kind in words for at, row in enumerate(rows)}
        places = {row.name: at for at, row in enumerate(rows)}
        for kind in ("parameter", *words):
            columns += [_figure(kind, key, rank, pooled, places) for key, rank in _FIGURES.items()]
    folded = [len(row.members) for row in rows if len(row.members) > 1]
    note = f"{sum(folded):,} rows folded into {len(folded):,}" if folded else ""
    return Table(columns, rows, note, noun="parameter", field=".checkpoint.optimizers")


def _head(optimizer: OptimizerContents) -> str:
    return f"state of {optimizer.path or 'the optimizer'}" if optimizer.path.isprintable() else "state of the optimizer"


def _kept(state: StateOfParameter) -> list[str]:
    """Return the names of what an optimizer keeps beside the number of steps, which has a column of its own."""
    return [kind for kind in state.tensors if kind != _STEP or state.step is None]


def _pooled(row: StateRow, kind: str | None, values: Mapping[str, Values | None]) -> Values | None:
    """Return the figures of one kind of tensor of all parameters of a row, of these themselves where it is None."""
    names = [one.parameter if kind is None else one.tensors.get(kind) for one in row.members]
    return pool_values([values.get(name or "") for name in names], [row.numel] * len(names))


def _figure(
    kind: str, key: str, rank: int, pooled: Mapping[tuple[str, int], Values | None], places: Mapping[str, int]
) -> Column[StateRow]:
    """Return the column of one figure of the parameters, or of what is kept of them."""

    def cell(row: StateRow) -> str:
        found = pooled[kind, places[row.name]]
        value = getattr(found, key, None)
        return figure(value) if value is not None else ""

    return Column(key, cell, "decimal", rank, group=kind)


def _rows(states: Sequence[StateOfParameter], tensors: Mapping[str, TensorHeader]) -> list[StateRow]:
    def described(state: StateOfParameter) -> tuple[str, int]:
        header = tensors.get(state.parameter or "") or next(
            (tensors[name] for kind, name in state.tensors.items() if kind != _STEP and name in tensors), None
        )
        return (str(header.shape), header.numel) if header else ("", 0)

    alike = [(described(one), tuple(one.tensors), one.step, one.parameter is None) for one in states]

    rows: list[StateRow] = []
    for group in fold_names([one.parameter or one.key for one in states], alike.__getitem__):
        members = tuple(states[place] for place in group.places)
        first = members[0]
        name = group.name if first.parameter or not first.key.isdecimal() else f"parameter {group.name}"
        held = sum(one.bytes for one in members)
        rows.append(StateRow(name, members, *described(first), first.step, held))
    return rows
