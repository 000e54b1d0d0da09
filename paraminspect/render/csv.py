"""CSV: one row a tensor on one line, exact numbers, a header always."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from operator import attrgetter

from paraminspect.render.escape import clean
from paraminspect.render.view import View
from paraminspect.report import Gradient, Parameter, Report, Values

_OWN = ("name", "aliases", "module", "module_type", "kind", "shape", "dtype", "numel", "bytes", "device")
_FLAGS = ("requires_grad", "identity", "storage")
_FIGURES = ("mean", "std", "rms", "min", "max", "l2", "zeros", "nan", "inf")
_INIT = ("init_scheme", "expected_mean", "expected_std")
HEADER = (
    *_OWN,
    *_FLAGS,
    *_FIGURES,
    "gradient_status",
    *(f"gradient_{name}" for name in _FIGURES),
    *_INIT,
    *(f"before_{name}" for name in _FIGURES),
    "note",
    "persistent",
)
_BATCH = 500
_NOTHING = (None,) * len(_FIGURES)
_Cell = str | float | None
_figures_of = attrgetter(*_FIGURES)


def render(report: Report, view: View) -> Iterator[str]:
    """Yield the header and the rows, lines ended by ``\\n``; control characters in a name are escaped."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEADER)
    for start in range(0, len(report.parameters), _BATCH):
        writer.writerows(map(_cells, report.parameters[start : start + _BATCH]))
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _cells(row: Parameter) -> list[_Cell]:
    shape = "" if row.numel is None else "x".join(map(str, row.shape))
    own = [*map(_text, (row.name, ";".join(row.aliases), row.module, row.module_type, row.kind)), shape]
    sizes = [_text(row.dtype), row.numel, row.bytes, _text(row.device)]
    flags = [str(row.requires_grad).lower(), row.identity, row.storage]
    status = _text(row.gradient.status) if row.gradient else None
    init = [_text(row.init.scheme), row.init.expected_mean, row.init.expected_std] if row.init else [None] * 3
    return [
        *own,
        *sizes,
        *flags,
        *_figures(row.values),
        status,
        *_figures(row.gradient),
        *init,
        *_figures(row.before),
        None if row.note is None else _text(row.note),
        None if row.persistent is None else str(row.persistent).lower(),
    ]


def _figures(values: Values | Gradient | None) -> Sequence[_Cell]:
    figures: tuple[_Cell, ...] = _NOTHING if values is None else _figures_of(values)
    return figures


def _text(text: str) -> str:
    """Keep a text on its line, and a spreadsheet from reading it as a formula."""
    return "'" + clean(text, limit=None) if text.startswith(("=", "+", "-", "@", "\t", "\r")) else clean(text, None)
