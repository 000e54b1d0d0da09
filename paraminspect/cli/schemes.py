"""`paraminspect schemes`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from paraminspect import output
from paraminspect.cli import completion
from paraminspect.cli.options import Debug
from paraminspect.cli.session import DONE
from paraminspect.errors import UserError

if TYPE_CHECKING:
    from paraminspect.init.schemes.bound_scheme import BoundScheme
    from paraminspect.init.schemes.scheme import Shape

_EXAMPLE = "write its sizes with commas between them, e.g. --shape 256,784"


def schemes(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Explain one scheme, as normal or kaiming_normal:nonlinearity=relu.",
            autocompletion=completion.schemes,
        ),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            "--shape", metavar="SHAPE", help="What it gives such a tensor, as 256,784: fans, std, bounds. Repeatable."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.", rich_help_panel="Output")] = False,
    debug: Debug = False,
) -> int:
    """List the initialisation schemes, or explain one: formula, arguments, where it comes from."""
    from paraminspect.init.schemes.registry import SCHEMES, bind, known_name
    from paraminspect.init.schemes.scheme import parse_scheme
    from paraminspect.init.schemes.scheme_slips import explained
    from paraminspect.page.schemes import Expected, explanation, overview, scheme_object, schemes_object
    from paraminspect.render.json import dumps
    from paraminspect.render.table import draw

    view = output.view()
    if name is None:
        if shape:
            hint = "name one: paraminspect schemes kaiming_normal --shape 256,784"
            raise UserError("it is for one scheme", where="--shape", hint=hint, code="bad-option")
        every = list(SCHEMES.values())
        output.emit([dumps(schemes_object(every))] if json else draw(overview(every, view), view))
        return DONE
    try:
        wanted, args = parse_scheme(name, "schemes")
        chosen = SCHEMES[known_name(wanted, where="schemes")]
        bound = bind(wanted, args, where="schemes") if shape or args else None
    except UserError as error:
        raise explained(error, name) from error
    expected = Expected(bound, _shapes(bound, shape)) if bound and shape else None
    found = [dumps(scheme_object(chosen, expected))] if json else draw(explanation(chosen, view, expected), view)
    output.emit(found)
    return DONE


def _shapes(scheme: BoundScheme, texts: Iterable[str]) -> tuple[Shape, ...]:
    """Return the shapes; raises UserError for a text that is none, and for a shape that the scheme cannot fill."""
    found = []
    for text in texts:
        where, sizes = f"--shape {text}", [size.strip() for size in text.split(",")]
        if not all(size.isascii() and size.isdigit() and len(size) < 16 for size in sizes):
            raise UserError(f"{text!r} is not a shape", where=where, hint=_EXAMPLE, code="bad-option")
        shape = tuple(map(int, sizes))
        lack = scheme.lack(shape)
        if lack:
            raise UserError(f"{scheme.name} {lack}; got {shape}", where=where, hint=_EXAMPLE, code="wrong-shape")
        found.append(shape)
    return tuple(found)
