"""`paraminspect summary`."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Annotated, ClassVar

import typer

from paraminspect.cli import session
from paraminspect.cli.options import Call, NoForward, Notes, Output, Passes, Rows, Rules, Setting, Source
from paraminspect.errors import UserError
from paraminspect.frozen import dataclass
from paraminspect.text.numbers import parse_bytes

NONE_FITS = 1


class Order(StrEnum):
    """What modules are ordered by."""

    parameters = "parameters"
    macs = "macs"
    saved = "saved"
    bytes = "bytes"
    name = "name"


@dataclass(frozen=True)
class Modules:
    """Which modules are shown."""

    panel: ClassVar[str] = "Rows"
    modules: Annotated[
        list[str] | None,
        typer.Option(
            "--modules",
            "--params",
            metavar="GLOB",
            help="Only modules whose name, or that of a parameter they hold, matches. Repeatable.",
        ),
    ] = None
    layer: Annotated[
        str | None, typer.Option("--layer", metavar="NAME", help="One module alone, names relative to it.")
    ] = None
    sort: Annotated[
        Order | None,
        typer.Option(
            "--sort",
            metavar="KEY",
            help="By what each has itself, largest first: parameters, macs, saved, bytes; or name.",
        ),
    ] = None
    top: Annotated[
        int | None,
        typer.Option("--top", metavar="N", help="Only the first N; without --sort those of most parameters."),
    ] = None
    depth: Annotated[
        int | None, typer.Option("--depth", metavar="N", help="Sum up what lies more than N modules deep.")
    ] = None
    no_fold: Annotated[bool, typer.Option("--no-fold", help="Print every one of the blocks that are alike.")] = False
    plot: Annotated[
        str | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            help="Draw where parameters, MACs and saved bytes are: .png or .svg.",
            rich_help_panel="Output",
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.depth is not None and self.depth < 0:
            hint = "for example: --depth 3"
            raise UserError(f"at least 0 is needed, got {self.depth}", where="--depth", hint=hint, code="bad-option")
        if self.top is not None and self.top < 1:
            hint = "for example: --top 10"
            raise UserError(f"at least 1 is needed, got {self.top}", where="--top", hint=hint, code="bad-option")


class Optimizer(StrEnum):
    """The optimizers whose memory is known."""

    sgd = "sgd"
    momentum = "momentum"
    adam = "adam"
    adamw = "adamw"
    adafactor = "adafactor"
    muon = "muon"


@dataclass(frozen=True)
class Step:
    """What a training step is made with, and what it has to fit into."""

    panel: ClassVar[str] = "Memory"
    optimizer: Annotated[
        Optimizer,
        typer.Option("--optimizer", metavar="NAME", help="sgd, momentum, adam, adamw, adafactor or muon."),
    ] = Optimizer.adamw
    master_weights: Annotated[
        bool, typer.Option("--master-weights", help="It works on float32 copies of weights of less precision.")
    ] = False
    fits: Annotated[
        str | None,
        typer.Option("--fits", metavar="SIZE", help="The largest batch whose step fits: 80GiB, 24GB, 16e9."),
    ] = None

    @property
    def limit(self) -> int | None:
        """Return the bytes that a step has to fit into. Raises UserError for what is no size."""
        if self.fits is None:
            return None
        found = parse_bytes(self.fits)
        if found is None:
            hint = "for example: --fits 80GiB, --fits 24GB or --fits 16e9"
            raise UserError(f"{self.fits!r} is no size in bytes", where="--fits", hint=hint, code="bad-option")
        return found


def summary(
    source: Source,
    call: Call,
    shown: Modules,
    setting: Setting,
    passes: Passes,
    step: Step,
    printing: Output,
    notes: Notes,
    no_forward: NoForward = False,
    no_backward: Annotated[
        bool, typer.Option("--no-backward", help="Stop after the forward.", rich_help_panel="Input")
    ] = False,
) -> int:
    """Show the tree of layers: shapes, parameters, multiply-adds, and what one forward and backward take."""
    backward, limit = not (no_forward or no_backward), step.limit
    file = session.picture_file(shown.plot)
    if limit is not None:
        setting = _on_meta(setting, no_forward)
    setup = session.prepare(source, call, Rules(), setting, notes, passes, backward)
    subject = setup.subject()
    from paraminspect.experiments.memory_of_step import Training
    from paraminspect.experiments.selection import Ranking
    from paraminspect.experiments.summary import summary as experiment

    rows = Rows(layer=shown.layer, depth=shown.depth or None, no_fold=shown.no_fold)
    asked = {"forward": not no_forward, "backward": not no_backward, "statistics": False, "sharing": False}
    ranking = None
    if shown.sort or shown.top:
        ranking = Ranking(shown.sort.value if shown.sort else None, shown.top, shown.depth or None)
    request = session.request("summary", rows, ranking=ranking, modules=tuple(shown.modules or ()), **asked)
    training = Training(step.optimizer.value, step.master_weights)
    if limit is None:
        report = session.with_picture(experiment(subject, request, setup.rules, training), file, depth=shown.depth)
        return session.finish(report, rows, printing, notes)
    from paraminspect.experiments.fits import summary_that_fits

    report = summary_that_fits(subject, request, setup.rules, training, limit)
    report = session.with_picture(report, file, depth=shown.depth)
    code = session.finish(report, rows, printing, notes)
    return code if report.fits is None or report.fits.batch else NONE_FITS


def _on_meta(setting: Setting, no_forward: bool) -> Setting:
    """Have the model built on the meta device, where any batch has room. Raises UserError for what goes not with it."""
    if no_forward:
        raise UserError("needs a forward", where="--fits", hint="leave --no-forward out", code="bad-option")
    if setting.device not in (None, "meta"):
        hint = "leave --device out: sizes are the same everywhere, and take no memory there"
        raise UserError("is looked for on the meta device", where="--fits", hint=hint, code="bad-option")
    return replace(setting, device="meta")
