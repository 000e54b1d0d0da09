"""What a command does with a checkpoint as SOURCE: its tensors are listed, measured if that is asked for, never run."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from paraminspect import output
from paraminspect.cli import session
from paraminspect.cli.options import Notes, Output, PartOfModel, Rows
from paraminspect.errors import UserError

if TYPE_CHECKING:
    from paraminspect.experiments.checkpoint_values import MeasuredValues
    from paraminspect.report import Checkpoint, Failure


def is_checkpoint(source: str | None) -> TypeGuard[str]:
    """Tell whether SOURCE names a checkpoint."""
    if source is None:
        return False
    from paraminspect.sources.checkpoint_name import is_checkpoint as is_one

    return is_one(source)


def show_checkpoint(source: str, unused: Iterable[Any], rows: Rows, printing: Output, notes: Notes, stats: bool) -> int:
    """List a checkpoint; with `stats` read all its tensors. The options in `unused` are for models alone."""
    refuse_for_checkpoints(rows, unused)
    from paraminspect.experiments.checkpoint_report import report_of_checkpoint
    from paraminspect.isolation.process import collector_at_rest
    from paraminspect.sources.checkpoint.listing import list_checkpoint

    params = rows.params or ()
    sort = None if rows.sort is None else rows.sort.value
    with collector_at_rest():
        checkpoint = list_checkpoint(source)
        values = None
        failures: tuple[Failure, ...] = ()
        if stats:
            measured = _measured(checkpoint, params, session.shows_progress(printing, notes))
            values, failures = measured.values, measured.failures
            checkpoint = dataclasses.replace(checkpoint, faults=(*checkpoint.faults, *measured.faults))
        report = report_of_checkpoint(checkpoint, "show", params, values, sort, rows.top)
        report = dataclasses.replace(report, errors=(*report.errors, *failures))
        return session.finish(report, rows, printing, notes)


def share_checkpoint(source: str, unused: Iterable[Any], rows: Rows, printing: Output, notes: Notes) -> int:
    """Say which tensors of a checkpoint share bytes, or hold the same. The options in `unused` are for models alone."""
    refuse_for_checkpoints(rows, unused)
    from paraminspect.experiments.checkpoint_report import report_of_checkpoint
    from paraminspect.experiments.checkpoint_sharing import sharing_of
    from paraminspect.sources.checkpoint.listing import list_checkpoint

    checkpoint = list_checkpoint(source)
    total = sum(tensor.bytes or 0 for tensor in checkpoint.tensors)
    with output.throughput(total, session.shows_progress(printing, notes)) as advance:
        sharing = sharing_of(checkpoint, advance)
    report = report_of_checkpoint(checkpoint, "share", rows.params or (), sharing=sharing)
    return session.finish(report, rows, printing, notes)


def _measured(checkpoint: Checkpoint, params: Sequence[str], wanted: bool) -> MeasuredValues:
    """Read the tensors that are selected; on a terminal say how fast."""
    from paraminspect.experiments.checkpoint_values import bytes_to_read, measure_checkpoint

    with output.throughput(bytes_to_read(checkpoint, params), wanted) as advance:
        return measure_checkpoint(checkpoint, params, advance)


def refuse_for_checkpoints(part: PartOfModel, groups: Iterable[Any]) -> None:
    """Raise UserError for an option that needs a network."""
    if part.layer is not None:
        message = "a checkpoint holds tensors by name, and no layers"
        hint = f"choose by name: --params {shlex.quote(f'{part.layer}.*')}"
        raise UserError(message, where="--layer", hint=hint, code="bad-option")
    for group in groups:
        for field in dataclasses.fields(group):
            if getattr(group, field.name) != field.default:
                option = f"--{field.name.replace('_', '-')}"
                message = "a checkpoint holds tensors, and no network that could be built or run"
                hint = f"leave {option} out, or name the model: SOURCE.py:NAME --weights FILE"
                raise UserError(message, where=option, hint=hint, code="bad-option")
