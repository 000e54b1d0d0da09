"""`paraminspect summary`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from paraminspect.cli import session
from paraminspect.cli.options import Call, NoForward, Notes, Output, Passes, Rows, Rules, Setting, Source
from paraminspect.errors import UserError


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
    depth: Annotated[
        int | None, typer.Option("--depth", metavar="N", help="Sum up what lies more than N modules deep.")
    ] = None
    no_fold: Annotated[bool, typer.Option("--no-fold", help="Print every one of the blocks that are alike.")] = False

    def __post_init__(self) -> None:
        if self.depth is not None and self.depth < 0:
            hint = "for example: --depth 3"
            raise UserError(f"at least 0 is needed, got {self.depth}", where="--depth", hint=hint, code="bad-option")


def summary(
    source: Source,
    call: Call,
    shown: Modules,
    setting: Setting,
    passes: Passes,
    printing: Output,
    notes: Notes,
    no_forward: NoForward = False,
    no_backward: Annotated[
        bool, typer.Option("--no-backward", help="Stop after the forward.", rich_help_panel="Input")
    ] = False,
) -> int:
    """Show the tree of layers: shapes, parameters, multiply-adds, and what one forward and backward take."""
    backward = not (no_forward or no_backward)
    setup = session.prepare(source, call, Rules(), setting, notes, passes, backward)
    subject = setup.subject()
    from paraminspect.experiments.summary import summary as experiment

    rows = Rows(layer=shown.layer, depth=shown.depth or None, no_fold=shown.no_fold)
    asked = {"forward": not no_forward, "backward": not no_backward, "statistics": False, "sharing": False}
    request = session.request("summary", rows, modules=tuple(shown.modules or ()), **asked)
    return session.finish(experiment(subject, request, setup.rules), rows, printing, notes)
