"""`paraminspect compare`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

import typer

from paraminspect import output
from paraminspect.cli import session
from paraminspect.cli.options import (
    Call,
    Notes,
    Output,
    Passes,
    Plot,
    Rows,
    Rules,
    Setting,
    Source,
    Theory,
    check_seeds,
)
from paraminspect.errors import UserError
from paraminspect.frozen import dataclass

_DIGITS = 18


def _schemes(incomplete: str) -> list[str]:
    from paraminspect.experiments.contenders import AS_BUILT
    from paraminspect.init.schemes.registry import SCHEMES

    return [name for name in (AS_BUILT, *SCHEMES) if name.startswith(incomplete)]


@dataclass(frozen=True)
class Schemes(Rules):
    """The schemes to compare; the other rules go with all of them alike."""

    scheme: Annotated[
        list[str] | None,
        typer.Option(
            "--scheme",
            metavar="SCHEME",
            help="Compare this one for the weights; default: as built. Repeatable. Without: the usual ones.",
            autocompletion=_schemes,
        ),
    ] = None  # type: ignore[assignment]  # here it is repeatable


@dataclass(frozen=True)
class Trials:
    """How often, and at which sizes, each scheme is tried, and where it is drawn."""

    panel: ClassVar[str] = "Trials"

    seeds: Annotated[int, typer.Option("--seeds", metavar="K", help="Try each from K seeds on end.")] = 5
    width: Annotated[
        str | None,
        typer.Option(
            "--width", metavar="N,N", help="At these hidden widths, with the slopes across them: 64,256,1024."
        ),
    ] = None
    depth: Annotated[
        str | None,
        typer.Option("--depth", metavar="N,N", help="At these depths: hidden layers of an MLP, times of a Repeat."),
    ] = None
    plot: Plot = None

    def __post_init__(self) -> None:
        check_seeds(self.seeds)
        if self.width is not None and self.depth is not None:
            hint = "what one of them does is seen while the other stays: leave one out"
            raise UserError("not together with --width", where="--depth", hint=hint, code="bad-option")


def compare(
    source: Source,
    schemes: Schemes,
    trials: Trials,
    passes: Passes,
    setting: Setting,
    call: Call,
    printing: Output,
    notes: Notes,
    theory: Theory = False,
) -> int:
    """Set initialisation schemes side by side on one model and input: which of them keeps the signal steady?"""
    from paraminspect.experiments.contenders import contenders_of, scheme_rules, sizes_of

    tried = scheme_rules(schemes.scheme)
    widths, depths = _numbers("--width", trials.width), _numbers("--depth", trials.depth)
    file = session.picture_file(trials.plot)
    setup = session.prepare(source, call, replace(schemes, scheme=None), setting, notes, passes)
    contenders = contenders_of(setup, tried, usual=schemes.scheme is None, bias=schemes.bias is not None)
    sizes = sizes_of(setup, widths, depths)
    from paraminspect.experiments.compare import compare as experiment

    runs = len(contenders) * len(sizes) * trials.seeds
    with output.progress(runs, "runs", wanted=session.shows_progress(printing, notes)) as advance:
        report = experiment(contenders, sizes, trials.seeds, advance)
    return session.finish(session.with_picture(report, file), Rows(), printing, notes, theory=theory)


def _numbers(option: str, text: str | None) -> tuple[int, ...]:
    """Read ``64,256,1024``: whole numbers of at least 1, each once, in the order given."""
    words = [] if text is None else [word.strip() for word in text.split(",")]
    found = tuple(int(word) for word in words if word.isascii() and word.isdigit() and len(word) <= _DIGITS)
    if len(found) < len(words) or not all(found) or len(set(found)) < len(found):
        message = f"{text!r} is not one or more different whole numbers of at least 1, with commas between them"
        hint = f"for example: {option} {'5,10,20' if option == '--depth' else '64,256,1024'}"
        raise UserError(message, where=option, hint=hint, code="bad-option")
    return found
