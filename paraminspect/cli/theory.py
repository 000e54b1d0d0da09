"""`paraminspect theory`."""

from __future__ import annotations

from typing import Annotated

import typer

from paraminspect import output
from paraminspect.cli import completion
from paraminspect.cli.options import Debug
from paraminspect.cli.session import DONE
from paraminspect.errors import UserError

_MOST_LAYERS = 10_000
_FORM = "write NAME or NAME:parameter=value, e.g. tanh or leaky_relu:negative_slope=0.1"


def theory(
    activation: Annotated[
        str,
        typer.Argument(
            metavar="ACTIVATION",
            help="As torch calls it, with its parameters: tanh, leaky_relu:negative_slope=0.1.",
            autocompletion=completion.activations,
        ),
    ],
    sigma_w2: Annotated[
        float | None, typer.Option("--sigma-w2", metavar="X", help="Variance of the weights, times fan_in.")
    ] = None,
    sigma_b2: Annotated[
        float | None, typer.Option("--sigma-b2", metavar="X", help="Variance of the biases. Default: 0.")
    ] = None,
    depth: Annotated[int | None, typer.Option("--depth", metavar="N", help="Follow the signal for N layers.")] = None,
    q0: Annotated[
        float | None,
        typer.Option("--q0", metavar="X", help="Second moment of the input. Default: 1; torch.rand: 1/3."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.", rich_help_panel="Output")] = False,
    debug: Debug = False,
) -> int:
    """Say what theory expects of an activation: gains, the critical point, and with --sigma-w2 what depth does."""
    _check(sigma_w2, depth, q0)
    name, params = _parse(activation)
    from paraminspect.page.theory import theory as page_of, theory_object
    from paraminspect.render.json import pieces
    from paraminspect.render.table import draw
    from paraminspect.theory.checks import TheoryError
    from paraminspect.theory.summary import summarise

    start = 1.0 if q0 is None else q0
    try:
        found = summarise(name, sigma_w2=sigma_w2, sigma_b2=sigma_b2, depth=depth, q0=start, **params)
    except TheoryError as error:
        raise _placed(error) from error
    view = output.view()
    output.emit(pieces(theory_object(found)) if json else draw(page_of(found, view), view))
    return DONE


def _parse(text: str) -> tuple[str, dict[str, float | str]]:
    from paraminspect.init.schemes.scheme import parse_scheme

    if not text.partition(":")[0].strip():
        raise UserError("no activation is named", where="theory", hint=_FORM, code="bad-activation")
    try:
        return parse_scheme(text, "theory")
    except UserError as error:
        raise UserError(error.message, where=error.where, hint=_FORM, code="bad-activation") from error


def _check(sigma_w2: float | None, depth: int | None, q0: float | None) -> None:
    for option, given in (("--depth", depth), ("--q0", q0)):
        if given is not None and sigma_w2 is None:
            message, hint = "needs the variance of the weights", f"for example: --sigma-w2 2 {option} {given}"
            raise UserError(message, where=option, hint=hint, code="bad-option")
    if depth is not None and not 1 <= depth <= _MOST_LAYERS:
        message = f"from 1 to {_MOST_LAYERS:,} layers, got {depth:,}"
        raise UserError(message, where="--depth", hint="for example: --depth 20", code="bad-option")


def _placed(error: UserError) -> UserError:
    """Name the option that was typed in the place of the argument it became."""
    options = {"sigma_w2": "--sigma-w2", "sigma_b2": "--sigma-b2", "q0": "--q0"}
    where = options.get(error.where, "theory")
    message = error.message.removeprefix(f"{error.where} ") if where != "theory" else error.message
    return UserError(message, where=where, hint=error.hint, code=error.code)
