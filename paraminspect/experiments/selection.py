"""Which rows are shown, and in which order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from paraminspect.report import Number, Parameter

SORTS: dict[str, Callable[[Parameter], Number | None]] = {
    "numel": lambda row: row.numel,
    "bytes": lambda row: row.bytes,
    "mean": lambda row: row.values.mean if row.values else None,
    "std": lambda row: row.values.std if row.values else None,
    "rms": lambda row: row.values.rms if row.values else None,
    "gradient": lambda row: row.gradient.rms if row.gradient else None,
}


def arranged(rows: Sequence[Parameter], sort: str | None, top: int | None) -> tuple[Parameter, ...]:
    """Return the rows sorted, the largest first (names from A to Z), and of these the first `top`.

    What has no figure comes last. `top` alone takes the rows with most elements. Equal rows keep their order.
    """
    key = sort or ("numel" if top is not None else None)
    found = list(rows)
    if key == "name":
        found.sort(key=lambda row: row.name)
    elif key is not None:
        figure = SORTS[key]
        found.sort(key=lambda row: _descending(figure(row)))
    return tuple(found[:top])


def _descending(figure: Number | None) -> Number:
    return math.inf if figure is None or math.isnan(figure) else -figure
