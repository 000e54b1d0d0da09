"""CSV: one row a parameter, exact numbers, a header always."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

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
)
_BATCH = 500


def render(report: Report, view: View) -> Iterator[str]:
    """Yield the header and the rows, lines ended by ``\\n``."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEADER)
    for index, row in enumerate(report.parameters, 1):
        writer.writerow(_cells(row))
        if index % _BATCH == 0:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _cells(row: Parameter) -> list[Any]:
    aliases = " ".join(row.aliases)
    shape = "" if row.numel is None else "x".join(map(str, row.shape))
    own = [_text(row.name), _text(aliases), _text(row.module), _text(row.module_type), row.kind, shape, row.dtype]
    flags = [row.numel, row.bytes, row.device, str(row.requires_grad).lower(), row.identity, row.storage]
    status = row.gradient.status if row.gradient else None
    init = [_text(row.init.scheme), row.init.expected_mean, row.init.expected_std] if row.init else [None] * 3
    return [*own, *flags, *_figures(row.values), status, *_figures(row.gradient), *init, *_figures(row.before)]


def _figures(values: Values | Gradient | None) -> list[float | None]:
    return [getattr(values, name) for name in _FIGURES] if values is not None else [None] * len(_FIGURES)


def _text(text: str) -> str:
    """Keep a spreadsheet from reading a name as a formula."""
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
