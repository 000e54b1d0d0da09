"""What is in a checkpoint: the rows of its tensors, how they divide, what is unsound. Nothing here imports torch."""

from __future__ import annotations

import math
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from paraminspect import __version__
from paraminspect.errors import UserError, did_you_mean
from paraminspect.report import (
    Checkpoint,
    CheckpointFiles,
    Environment,
    Failure,
    Finding,
    Portion,
    Report,
    Sharing,
    Source,
    TensorHeader,
    TensorRows,
    Totals,
    Values,
)
from paraminspect.rules.file_headline import with_headline
from paraminspect.rules.file_rules import NOT_FINITE_ID, findings_of
from paraminspect.rules.rule_selection import EVERYTHING, Selection
from paraminspect.sources.checkpoint.optimizer_state import optimizers_of
from paraminspect.sources.checkpoint.training_parts import training_parts
from paraminspect.text.escape import some_names
from paraminspect.text.numbers import and_more


def report_of_checkpoint(
    checkpoint: Checkpoint,
    command: str,
    params: Sequence[str] = (),
    values: Mapping[str, Values | None] | None = None,
    sort: str | None = None,
    top: int | None = None,
    sharing: tuple[Sharing, ...] = (),
    selection: Selection = EVERYTHING,
) -> Report:
    """Return the Report of a checkpoint: all its tensors, or those whose names match one of the globs `params`.

    Elements that have several names are one row, and count once. What is unsound is in `findings`, as far as
    `selection` has it; for every command but `check`, whose exit code tells, what makes the files useless is an error
    too. Raises UserError for globs that match nothing.
    """
    rows = _in_order(_rows(selected(checkpoint.tensors, params), values or {}), sort, top)
    every = rows if len(rows) == len(checkpoint.tensors) else _rows(checkpoint.tensors, {})
    known = [tensor.bytes for tensor in every.tensors if tensor.bytes is not None]
    dtypes, subtrees = _portions(every.tensors)
    numel = sum(portion.numel for portion in dtypes)
    names = {place: len(others) for place, others in every.aliases.items()}
    optimizers = optimizers_of(checkpoint)
    findings = findings_of(checkpoint, optimizers, values, selection)
    report = Report(
        command=command,
        source=Source("checkpoint", _name(checkpoint.path), checkpoint.path),
        environment=Environment(__version__, None, platform.python_version(), "file", _dtype(dtypes), None),
        parameters=rows,
        totals=Totals(
            parameters=numel,
            as_named=numel + sum(count * every.tensors[place].numel for place, count in names.items()),
            bytes=sum(known),
            unknown=len(every.tensors) - len(known),
            shown=numel if rows is every else sum(tensor.numel for tensor in rows.tensors),
        ),
        sharing=sharing,
        findings=findings,
        errors=() if command == "check" else tuple(_failure(findings)),
        checkpoint=replace(
            _files(checkpoint, dtypes, subtrees), optimizers=optimizers, parts=training_parts(checkpoint, optimizers)
        ),
    )
    return with_headline(report)


def selected(tensors: Sequence[TensorHeader], params: Sequence[str]) -> Sequence[TensorHeader]:
    """Return the tensors whose names match one of the globs, all without one. Raises UserError where none does."""
    if not params:
        return tensors
    found = [tensor for tensor in tensors if any(fnmatchcase(tensor.name, glob) for glob in params)]
    if not found:
        names = [tensor.name for tensor in tensors]
        hint = did_you_mean(params[0], names) or f"tensors: {some_names(names)}"
        wanted = " or ".join(map(repr, params))
        raise UserError(f"{wanted} matches no tensor", where="--params", hint=hint, code="glob-matches-nothing")
    return found


# --- the rows --------------------------------------------------------------------------------------------------


def _rows(tensors: Sequence[TensorHeader], values: Mapping[str, Values | None]) -> TensorRows:
    """Return a row for each tensor; names of the very same elements, as a tie has them, are aliases of the first."""
    storages = Counter([tensor.storage for tensor in tensors])
    if all(count == 1 for storage, count in storages.items() if storage is not None):
        return TensorRows(tensors, values)
    rows: list[TensorHeader] = []
    first: dict[object, int] = {}
    others: dict[int, list[str]] = {}
    for tensor in tensors:
        if tensor.storage is not None and storages[tensor.storage] > 1 and tensor.start is not None and tensor.numel:
            view = (tensor.storage, tensor.start, tensor.shape, tensor.stride, tensor.dtype)
            place = first.setdefault(view, len(rows))
            if place < len(rows):
                others.setdefault(place, []).append(tensor.name)
                continue
        rows.append(tensor)
    return TensorRows(rows, values, {place: tuple(names) for place, names in others.items()})


_FIGURES: Mapping[str, Callable[[TensorHeader, Values | None], float | None]] = {
    "numel": lambda tensor, _: tensor.numel,
    "bytes": lambda tensor, _: tensor.bytes,
    "mean": lambda _, values: values.mean if values else None,
    "std": lambda _, values: values.std if values else None,
    "rms": lambda _, values: values.rms if values else None,
}


def _in_order(rows: TensorRows, sort: str | None, top: int | None) -> TensorRows:
    """Return the rows sorted, the largest first (names from A to Z), and of these the first `top`."""
    key = sort or ("numel" if top is not None else None)
    if key is None:
        return rows
    if key in ("gradient", "mean", "std", "rms") and (key == "gradient" or not rows.values):
        message = "a checkpoint holds no gradients" if key == "gradient" else "values are not read without --stats"
        hint = f"sort by bytes, numel or name{', or add --stats' if key != 'gradient' else ''}"
        raise UserError(message, where=f"--sort {key}", hint=hint, code="bad-option")
    places = list(range(len(rows)))
    if key == "name":
        places.sort(key=lambda place: rows.tensors[place].name)
    else:
        figure = _FIGURES[key]
        places.sort(
            key=lambda place: _descending(figure(rows.tensors[place], rows.values.get(rows.tensors[place].name)))
        )
    places = places[:top]
    aliases = {number: rows.aliases[place] for number, place in enumerate(places) if place in rows.aliases}
    return TensorRows([rows.tensors[place] for place in places], rows.values, aliases)


def _descending(figure: float | None) -> float:
    return math.inf if figure is None or math.isnan(figure) else -figure


# --- the whole -------------------------------------------------------------------------------------------------


def _failure(findings: Sequence[Finding]) -> Iterator[Failure]:
    """Yield one failure where the files are not sound: what could be listed is printed, and the exit code is 2."""
    errors = [one for one in findings if one.severity == "error" and one.rule != NOT_FINITE_ID]
    if errors:
        more = f" ({and_more(len(errors) - 1)})" if len(errors) > 1 else ""
        yield Failure("unsound-checkpoint", f"{errors[0].message}{more}", errors[0].where)


def _files(checkpoint: Checkpoint, dtypes: tuple[Portion, ...], subtrees: tuple[Portion, ...]) -> CheckpointFiles:
    held = {tensor.storage: tensor.held for tensor in checkpoint.tensors if tensor.storage is not None}
    sizes = list(held.values())
    return CheckpointFiles(
        format=checkpoint.format,
        files=checkpoint.parts,
        dtypes=dtypes,
        subtrees=subtrees,
        held_bytes=None if None in sizes else sum(size or 0 for size in sizes),
        metadata=dict(checkpoint.metadata),
        other=dict(checkpoint.other),
        ties=dict(checkpoint.ties),
        bytes_read=checkpoint.bytes_read,
        beside=checkpoint.beside,
        unread=dict(checkpoint.unread),
        modules=dict(checkpoint.modules),
    )


def _portions(tensors: Iterable[TensorHeader]) -> tuple[tuple[Portion, ...], tuple[Portion, ...]]:
    """Divide tensors by dtype and by the first component of their names, in the order in which these come first."""
    alike = Counter([(one.dtype, one.name.partition(".")[0], one.shape, one.bytes) for one in tensors])
    both = [
        ((dtype, first), (count, count * math.prod(shape), count * (held or 0)))
        for (dtype, first, shape, held), count in alike.items()
    ]
    dtypes, subtrees = ([(key[at], portion) for key, portion in both] for at in (0, 1))
    return _added(dtypes), _added(subtrees)


def _added(portions: Iterable[tuple[str, Sequence[int]]]) -> tuple[Portion, ...]:
    found: dict[str, list[int]] = {}
    for name, counts in portions:
        found[name] = [one + more for one, more in zip(found.get(name, (0, 0, 0)), counts, strict=True)]
    return tuple(Portion(name, *counts) for name, counts in found.items())


def _dtype(dtypes: Sequence[Portion]) -> str:
    return dtypes[0].name if len(dtypes) == 1 else "mixed" if dtypes else ""


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2] or path
