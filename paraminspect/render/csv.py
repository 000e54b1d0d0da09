"""CSV: one row a tensor, one of its parts, a module or a trial, on one line, exact numbers, a header always."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from functools import lru_cache
from operator import attrgetter

from paraminspect.page.part_lines import with_parts
from paraminspect.page.verdicts import judgement
from paraminspect.report import (
    Comparison,
    Difference,
    Gradient,
    LayerTensor,
    Parameter,
    Report,
    Slope,
    TensorChange,
    TreeLayer,
    Trial,
    Values,
)
from paraminspect.text.escape import clean

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
    "fan_in",
    "fan_out",
    "expected_low",
    "expected_high",
    "verdict",
    "init_notes",
    "digest",
    "init_distribution",
    "init_confidence",
    "init_p_value",
)
_COURSE = ("verdict", "law", "factor", "expected", "low", "high", "exponent", "first", "last", "leaves")
_TRIAL = ("q_last", "gradient_ratio", "dead", "expected_dead", "saturated", "loss", "expected_loss", "unsteadiness")
_SLOPE = ("slope", "slope_tolerance", "slope_expected")
TRIALS = (
    *("row", "scheme", "width", "depth", "seeds"),
    *(f"forward_{name}" for name in _COURSE),
    *(f"backward_{name}" for name in _COURSE),
    *_TRIAL,
    *("error", "steadiest", "layer", "figure"),
    *_SLOPE,
)
"""The columns of `compare`: a row is a ``trial``, or below them the ``slope`` of a layer's figure across widths."""
_COUNTS = (
    *("calls", "own_parameters", "parameters", "own_trainable", "trainable", "own_bytes", "bytes"),
    *("own_buffers", "buffers", "own_buffer_bytes", "buffer_bytes", "own_macs", "macs", "own_flops", "flops"),
    *("own_flops_backward", "flops_backward", "uncounted", "own_saved_bytes", "saved_bytes", "unregistered"),
)
LAYERS = (
    *("index", "module", "type", "parent", "depth", "aliases", "extra_repr", "inputs", "outputs", "varied"),
    *_COUNTS,
    *("elsewhere", "forgotten", "failed"),
)
"""The columns of `summary`, a row a module; several tensors or names in a cell have a semicolon between them."""
_MOVED = ("numel", "different", "beyond", "nonfinite", "max_abs", "l2", "relative", "cosine", "rank", "full_rank")
CHANGES = (
    *("name", "renamed", "status", "changes", "shape", "other_shape", "dtype", "other_dtype", "bytes", "other_bytes"),
    *_MOVED,
    "note",
)
"""The columns of `diff`: a row is a tensor, or below them a name, a tie, an entry of the metadata, an adapter."""
FINDINGS = ("source", "rule", "severity", "where", "names", "message", "hint", "code")
"""The columns of `check`: a row is a finding, or has a `code` where a source could not be checked."""
_BATCH = 500
_NOTHING = (None,) * len(_FIGURES)
_Cell = str | float | None
_figures_of = attrgetter(*_FIGURES)


def render(report: Report) -> Iterator[str]:
    """Yield the header and the rows, lines ended by ``\\n``; control characters in a name are escaped."""
    if report.comparison is not None:
        yield _compared(report.comparison)
        return
    if report.difference is not None:
        yield from _changes(report.difference)
        return
    if report.command == "summary":
        yield from _modules(report)
        return
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEADER)
    judged = judgement(report)
    for start in range(0, len(report.parameters), _BATCH):
        writer.writerows(
            [*_cells(row), *_initialised(row, judged(row))]
            for row in with_parts(report.parameters[start : start + _BATCH])
        )
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def render_findings(reports: Sequence[Report]) -> Iterator[str]:
    """Yield a row for each finding, and for each source that could not be checked."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(FINDINGS)
    for report in reports:
        source = report.source.label
        for one in report.findings:
            texts = (source, one.rule, one.severity, one.where, ";".join(one.names), one.message, one.hint, "")
            writer.writerow(map(_text, texts))
        for error in report.errors:
            writer.writerow(map(_text, (source, "", "error", error.where, "", error.message, "", error.code)))
    yield buffer.getvalue()


def _modules(report: Report) -> Iterator[str]:
    layers = [layer for layer in report.layers if isinstance(layer, TreeLayer)]
    for start in range(0, max(len(layers), 1), _BATCH):
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerows([LAYERS] if start == 0 else [])
        writer.writerows(_layer(layer) for layer in layers[start : start + _BATCH])
        yield buffer.getvalue()


def _layer(layer: TreeLayer) -> list[_Cell]:
    place: list[_Cell] = [layer.index, _text(layer.module), _text(layer.type), _text(layer.parent or ""), layer.depth]
    said = [";".join(layer.aliases), layer.extra_repr, _shapes(layer.inputs), _shapes(layer.outputs)]
    counts = [getattr(layer, name) for name in _COUNTS]
    elsewhere = ";".join(f"{one.name}={one.owner}" for one in layer.elsewhere)
    ends = [_text(elsewhere), _text(layer.forgotten or ""), str(layer.failed).lower()]
    return [*place, *map(_text, said), str(layer.varied).lower(), *counts, *ends]


def _shapes(found: Sequence[LayerTensor] | None) -> str:
    """Return the tensors as ``logits 2x16x100;loss``, the shape of a scalar is empty."""
    return ";".join(f"{one.name} {'x'.join(map(str, one.shape))}".strip() for one in found or ())


def _changes(found: Difference) -> Iterator[str]:
    """Yield a row for every tensor that is not the same, then for names, ties and metadata that differ."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CHANGES)
    writer.writerows(map(_change, found.tensors))
    changed = {one.name for one in found.tensors}
    rest = [(name, "renamed", other) for one in found.renamings for name, other in one.names if name not in changed]
    rest += [(";".join(tie.names), "tie", f"only in {tie.only}; elsewhere {tie.elsewhere}") for tie in found.ties]
    rest += [(one.key, "metadata", f"{one.a} -> {one.b}") for one in found.metadata]
    rest += [(one.target, "adapter", f"rank {one.rank} of {one.base or 'no known weight'}") for one in found.adapters]
    empty = [None] * (len(CHANGES) - 4)
    for name, status, text in rest:
        renamed, note = (text, None) if status == "renamed" else (None, text)
        writer.writerow([_text(name), renamed and _text(renamed), status, *empty, note and _text(note)])
    yield buffer.getvalue()


def _change(one: TensorChange) -> list[_Cell]:
    shapes = [None if shape is None else "x".join(map(str, shape)) for shape in (one.shape, one.other_shape)]
    dtypes = [None if dtype is None else _text(dtype) for dtype in (one.dtype, one.other_dtype)]
    figures = [None if one.values is None else getattr(one.values, name) for name in _MOVED]
    own = [_text(one.name), one.renamed and _text(one.renamed), one.status, ";".join(one.changes)]
    return [*own, *shapes, *dtypes, one.bytes, one.other_bytes, *figures, one.note and _text(one.note)]


def _compared(found: Comparison) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(TRIALS)
    writer.writerows(_trial(trial, found) for trial in found.trials)
    writer.writerows(_slope(slope) for slope in found.slopes)
    return buffer.getvalue()


def _trial(trial: Trial, found: Comparison) -> list[_Cell]:
    own: list[_Cell] = ["trial", _text(trial.scheme), trial.width, trial.depth, found.seeds]
    courses = (trial.signal.forward, trial.signal.backward) if trial.signal else (None, None)
    followed = [None if course is None else getattr(course, name) for course in courses for name in _COURSE]
    figures = [getattr(trial, name) for name in (*_TRIAL, "error")]
    texts = (_text(cell) if isinstance(cell, str) else cell for cell in (*followed, *figures))
    return [*own, *texts, str(trial.scheme == found.steadiest).lower(), *[None] * (2 + len(_SLOPE))]


def _slope(slope: Slope) -> list[_Cell]:
    before = [None] * (TRIALS.index("layer") - 2)
    figures = [slope.slope, slope.tolerance, slope.expected]
    return ["slope", _text(slope.scheme), *before, _text(slope.layer), _text(slope.figure), *figures]


def _cells(row: Parameter) -> list[_Cell]:
    shape = "" if row.numel is None else "x".join(map(str, row.shape))
    aliases = _text(";".join(row.aliases)) if row.aliases else ""
    status = _word(row.gradient.status) if row.gradient else None
    init = [_word(row.init.scheme), row.init.expected_mean, row.init.expected_std] if row.init else [None] * 3
    return [
        _text(row.name),
        aliases,
        _text(row.module),
        _word(row.module_type),
        _word(row.kind),
        shape,
        _word(row.dtype),
        row.numel,
        row.bytes,
        _word(row.device),
        "true" if row.requires_grad else "false",
        row.identity,
        row.storage,
        *_figures(row.values),
        status,
        *_figures(row.gradient),
        *init,
        *_figures(row.before),
        None if row.note is None else _text(row.note),
        None if row.persistent is None else str(row.persistent).lower(),
    ]


def _initialised(row: Parameter, verdict: str) -> list[_Cell]:
    init = row.init
    digest = _text(row.digest) if row.digest else None
    if init is None:
        return [None, None, None, None, _word(verdict) or None, None, digest, None, None, None]
    figures = [init.fan_in, init.fan_out, init.expected_low, init.expected_high]
    notes = _word("; ".join(init.notes)) if init.notes else None
    distribution = _word(init.distribution) if init.distribution else None
    return [*figures, _word(verdict) or None, notes, digest, distribution, init.confidence, init.p_value]


def _figures(values: Values | Gradient | None) -> Sequence[_Cell]:
    figures: tuple[_Cell, ...] = _NOTHING if values is None else _figures_of(values)
    return figures


def _text(text: str) -> str:
    """Keep a text on its line, and a spreadsheet from reading it as a formula."""
    return "'" + clean(text, limit=None) if text.startswith(("=", "+", "-", "@", "\t", "\r")) else clean(text, None)


_word = lru_cache(1000)(_text)  # for what many rows have in common
