"""What is in a checkpoint: the rows of its tensors, how they divide, what is unsound. Nothing here imports torch."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from paraminspect import __version__
from paraminspect.errors import UserError, did_you_mean
from paraminspect.report import (
    Checkpoint,
    CheckpointFiles,
    Environment,
    Portion,
    Report,
    Source,
    TensorHeader,
    TensorRows,
    Totals,
    Values,
)
from paraminspect.rules.file_rules import findings_of
from paraminspect.text.escape import some_names


def report_of_checkpoint(
    checkpoint: Checkpoint,
    command: str,
    params: Sequence[str] = (),
    values: Mapping[str, Values | None] | None = None,
) -> Report:
    """Return the Report of a checkpoint: all its tensors, or those whose names match one of the globs `params`.

    Raises UserError for globs that match nothing.
    """
    tensors = selected(checkpoint.tensors, params)
    known = [tensor.bytes for tensor in checkpoint.tensors if tensor.bytes is not None]
    numel = sum(tensor.numel for tensor in checkpoint.tensors)
    return Report(
        command=command,
        source=Source("checkpoint", _name(checkpoint.path), checkpoint.path),
        environment=Environment(__version__, None, platform.python_version(), "file", _dtype(checkpoint), None),
        parameters=TensorRows(tensors, values or {}),
        totals=Totals(
            parameters=numel,
            as_named=numel,
            bytes=sum(known),
            unknown=len(checkpoint.tensors) - len(known),
            shown=sum(tensor.numel for tensor in tensors),
        ),
        findings=findings_of(checkpoint),
        checkpoint=_files(checkpoint),
    )


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


def _files(checkpoint: Checkpoint) -> CheckpointFiles:
    held = {tensor.storage: tensor.held for tensor in checkpoint.tensors if tensor.storage is not None}
    sizes = list(held.values())
    return CheckpointFiles(
        format=checkpoint.format,
        files=checkpoint.parts,
        dtypes=_portions(checkpoint.tensors, lambda tensor: tensor.dtype),
        subtrees=_portions(checkpoint.tensors, lambda tensor: tensor.name.partition(".")[0]),
        held_bytes=None if None in sizes else sum(size or 0 for size in sizes),
        metadata=dict(checkpoint.metadata),
        other=dict(checkpoint.other),
        ties=dict(checkpoint.ties),
        bytes_read=checkpoint.bytes_read,
    )


def _portions(tensors: Iterable[TensorHeader], key: Callable[[TensorHeader], str]) -> tuple[Portion, ...]:
    """Divide tensors by a word of theirs, in the order in which the words come first."""
    found: dict[str, list[int]] = {}
    for tensor in tensors:
        portion = found.setdefault(key(tensor), [0, 0, 0])
        portion[0] += 1
        portion[1] += tensor.numel
        portion[2] += tensor.bytes or 0
    return tuple(Portion(name, *counts) for name, counts in found.items())


def _dtype(checkpoint: Checkpoint) -> str:
    names = {tensor.dtype for tensor in checkpoint.tensors}
    return names.pop() if len(names) == 1 else "mixed" if names else ""


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2] or path
