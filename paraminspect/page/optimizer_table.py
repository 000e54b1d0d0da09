"""The state of the optimizers of a training checkpoint as tables: a row a parameter, those alike folded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from paraminspect.page.parts import SUSPICIOUS, Column, Table
from paraminspect.page.tensor_folding import fold_names
from paraminspect.report import OptimizerContents, Report, StateOfParameter, TensorHeader, TensorRows, Values
from paraminspect.text.escape import View, word
from paraminspect.text.numbers import figure, whole

_STEP = "step"


class StateRow(NamedTuple):
    """Parameters of one shape of which an optimizer keeps tensors of the same names, after as many steps."""

    name: str
    members: tuple[StateOfParameter, ...]
    shape: str
    step: float | None
    bytes: int


def optimizer_tables(report: Report, rows: TensorRows, view: View) -> list[tuple[str, Table[Any]]]:
    """Return for each optimizer where its tensors stand, and a table of them; nothing where not all rows are wanted."""
    found = report.checkpoint
    if (
        found is None
        or not found.optimizers
        or not view.fold
        or view.depth is not None
        or report.totals.shown != report.totals.parameters
    ):
        return []
    tensors = {tensor.name: tensor for tensor in rows.tensors}
    return [
        (f"{one.path}.state" if one.path else "state", _table(one, tensors, rows.values, view))
        for one in found.optimizers
        if len(one.parameters) > 1
    ]


def _table(
    optimizer: OptimizerContents, tensors: Mapping[str, TensorHeader], values: Mapping[str, Values | None], view: View
) -> Table[StateRow]:
    states = optimizer.parameters
    most = max((one.step for one in states if one.step is not None), default=None)
    rows = _rows(states, tensors)
    words = list(dict.fromkeys(kind for one in states for kind in one.tensors))
    columns = [
        Column[StateRow](
            _head(optimizer),
            lambda row: row.name,
            foot="total",
            tone=lambda row: SUSPICIOUS if _behind(row, most) else "",
        ),
        Column("shape", lambda row: row.shape, rank=2),
        Column("keeps", lambda row: word(", ".join(_kept(row.members[0]))), rank=3),
        Column(
            "steps", lambda row: figure(row.step), "right", 1, tone=lambda row: SUSPICIOUS if _behind(row, most) else ""
        ),
        Column("bytes", lambda row: whole(row.bytes), "right", 2, foot=whole(sum(row.bytes for row in rows))),
    ]
    if values:
        columns.append(_rms("parameter", lambda one: one.parameter, values))
        columns += [_rms(kind, _named(kind), values) for kind in words if kind != _STEP]
    folded = [len(row.members) for row in rows if len(row.members) > 1]
    note = f"{sum(folded):,} rows folded into {len(folded):,}" if folded else ""
    return Table(columns, rows, note, noun="parameter", field=".checkpoint.optimizers")


def _head(optimizer: OptimizerContents) -> str:
    return f"state of {optimizer.path or 'the optimizer'}" if optimizer.path.isprintable() else "state of the optimizer"


def _behind(row: StateRow, most: float | None) -> bool:
    return row.step is not None and most is not None and row.step < most


def _kept(state: StateOfParameter) -> list[str]:
    """Return the names of what an optimizer keeps beside the number of steps, which has a column of its own."""
    return [kind for kind in state.tensors if kind != _STEP or state.step is None]


def _named(kind: str) -> Callable[[StateOfParameter], str | None]:
    return lambda state: state.tensors.get(kind)


def _rms(
    head: str, name_of: Callable[[StateOfParameter], str | None], values: Mapping[str, Values | None]
) -> Column[StateRow]:
    """Return the column of the rms of one tensor a parameter."""

    def cell(row: StateRow) -> str:
        found = [values.get(name_of(one) or "") for one in row.members]
        squares = [(one.rms or 0.0) ** 2 for one in found if one is not None and one.rms is not None]
        return figure((sum(squares) / len(squares)) ** 0.5) if len(squares) == len(found) else ""

    return Column(head, cell, "decimal", 4, group="rms", title=f"rms of {head}")


def _rows(states: Sequence[StateOfParameter], tensors: Mapping[str, TensorHeader]) -> list[StateRow]:
    def shape(state: StateOfParameter) -> str:
        header = tensors.get(state.parameter or "") or next(
            (tensors[name] for kind, name in state.tensors.items() if kind != _STEP and name in tensors), None
        )
        return str(header.shape) if header else ""

    alike = [(shape(one), tuple(one.tensors), one.step, one.parameter is None) for one in states]

    rows: list[StateRow] = []
    for group in fold_names([one.parameter or one.key for one in states], alike.__getitem__):
        members = tuple(states[place] for place in group.places)
        first = members[0]
        name = group.name if first.parameter or not first.key.isdecimal() else f"parameter {group.name}"
        rows.append(StateRow(name, members, shape(first), first.step, sum(one.bytes for one in members)))
    return rows
