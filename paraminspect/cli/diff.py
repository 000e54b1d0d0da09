"""`paraminspect diff`."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from paraminspect import output
from paraminspect.cli import completion, session
from paraminspect.cli.options import Call, Format, Notes, Output, Rows
from paraminspect.errors import UserError
from paraminspect.frozen import dataclass

if TYPE_CHECKING:
    from paraminspect.analysis.statistics.value_change import Tolerance
    from paraminspect.sources.diff_sides import Side

DIFFERENT = 1
_MIB = 2**20
_HELP = "A checkpoint (file, folder, URL), a model in Python, a spec."


@dataclass(frozen=True)
class DiffOptions:
    """What of two sources is compared, and what counts as the same."""

    panel: ClassVar[str] = "Rows"
    tolerance: Annotated[
        str | None,
        typer.Option(
            "--tolerance",
            metavar="T",
            help="Values may be this far apart: 1e-6, or rtol=1e-3, or atol=1e-8,rtol=1e-5. Default: equal bytes.",
        ),
    ] = None
    rank: Annotated[
        bool, typer.Option("--rank", help="Add the numerical rank of each change of a matrix: takes an SVD each.")
    ] = False
    params: Annotated[
        list[str] | None, typer.Option("--params", metavar="GLOB", help="Only tensors whose name matches. Repeatable.")
    ] = None
    no_fold: Annotated[bool, typer.Option("--no-fold", help="Print every one of the blocks that are alike.")] = False
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="N", help="The models are built from this seed.", rich_help_panel="Model"),
    ] = None


def diff(
    a: Annotated[
        str,
        typer.Argument(metavar="A", help=_HELP, autocompletion=completion.sources, rich_help_panel="Model"),
    ],
    b: Annotated[
        str,
        typer.Argument(
            metavar="B", help="Likewise: what became of A.", autocompletion=completion.sources, rich_help_panel="Model"
        ),
    ],
    call: Call,
    compared: DiffOptions,
    printing: Output,
    notes: Notes,
) -> int:
    """Compare two sources: names, shapes, types, values, ties. Exit code 0: the same; 1: they differ.

    Given a model and a file it says first whether load_state_dict(strict=True) would take it.
    """
    tolerance = _tolerance(compared.tolerance)
    if "-" == a == b:
        raise UserError("standard input can be read once", where="-", hint="name one of them", code="bad-option")
    from paraminspect.isolation.process import collector_at_rest
    from paraminspect.sources.checkpoint_name import is_checkpoint

    files = [is_checkpoint(one) for one in (a, b)]
    if all(files) and (call.arg or compared.seed is not None):
        option = "--arg" if call.arg else "--seed"
        raise UserError("both sides are files, which take none", where=option, hint="leave it out", code="bad-option")
    with ExitStack() as stack, collector_at_rest():
        one, other = (_side(source, call, compared, stack) for source in (a, b))
        report = _compared(one, other, compared, tolerance, session.shows_progress(printing, notes))
        found = report.difference
        assert found is not None
        silent = notes.quiet and found.same and not (printing.json or printing.format is Format.json)
        code = session.DONE if silent else session.finish(report, Rows(no_fold=compared.no_fold), printing, notes)
    return code or (session.DONE if found.same else DIFFERENT)


def _side(source: str, call: Call, compared: DiffOptions, stack: ExitStack) -> Side:
    """Open a file, or build a model; a spec takes no arguments, so those are for the other side."""
    from paraminspect.sources.checkpoint_name import is_checkpoint

    if is_checkpoint(source):
        from paraminspect.sources.checkpoint.listing import list_checkpoint
        from paraminspect.sources.diff_sides import side_of_checkpoint

        return side_of_checkpoint(list_checkpoint(source), stack, source)
    from paraminspect.isolation.importing import is_reference
    from paraminspect.sources.setup import prepare

    arguments = call.arg if is_reference(source) else None
    subject = prepare(source, arg=arguments, seed=compared.seed, backward=False).subject()
    from paraminspect.sources.diff_sides import side_of_module
    from paraminspect.sources.load_weights import state_dict_of

    return side_of_module(subject, state_dict_of(subject))


def _compared(one: Side, other: Side, compared: DiffOptions, tolerance: Tolerance, shows: bool) -> Any:
    from paraminspect.experiments.diff import DiffRequest, diff as experiment

    request = DiffRequest(tolerance, tuple(compared.params or ()), compared.rank, compared.seed)
    total = max(math.ceil(min(side.about.bytes or 0 for side in (one, other)) / _MIB), 1)
    with output.progress(total, "MiB", wanted=shows) as step:
        done, steps = 0, 0

        def advance(count: int) -> None:
            nonlocal done, steps
            done += count
            while steps < min(done // _MIB, total):
                steps += 1
                step()

        return experiment(one, other, request, advance, lambda: _fit(one, other))


def _fit(one: Side, other: Side) -> Any:
    """Ask a model whether it takes the file on the other side."""
    for model, file in ((one, other), (other, one)):
        if model.subject is not None and file.checkpoint is not None:
            from paraminspect.sources.state_dict_fit import fit_of

            return fit_of(model.subject, file.checkpoint)
    return None


def _tolerance(text: str | None) -> Tolerance:
    """Read ``1e-6``, which is absolute, ``rtol=1e-3`` or ``atol=1e-8,rtol=1e-5``, as torch.allclose has them."""
    from paraminspect.analysis.statistics.value_change import Tolerance

    if text is None:
        return Tolerance()
    found: dict[str, float] = {}
    for part in text.split(","):
        key, sign, number = part.rpartition("=")
        key = key.strip() if sign else "atol"
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if key not in ("atol", "rtol") or key in found or not (0 <= value < math.inf):
            message = f"{text!r} is no tolerance: a number of at least 0, alone or after atol= or rtol="
            hint = "for example: --tolerance 1e-6, --tolerance rtol=1e-3, --tolerance atol=1e-8,rtol=1e-5"
            raise UserError(message, where="--tolerance", hint=hint, code="bad-option")
        found[key] = value
    return Tolerance(**found, given=True)
