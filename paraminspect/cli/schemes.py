"""`paraminspect schemes`."""

from __future__ import annotations

from typing import Annotated

import typer

from paraminspect import output
from paraminspect.cli.options import Debug
from paraminspect.cli.session import DONE


def schemes(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Explain one scheme.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    debug: Debug = False,
) -> int:
    """List the initialisation schemes, or explain one: formula, arguments, where it comes from."""
    from paraminspect.init.registry import SCHEMES, known_name
    from paraminspect.render import schemes as text

    chosen = list(SCHEMES.values()) if name is None else [SCHEMES[known_name(name, where="schemes")]]
    if json:
        output.emit([text.as_json(chosen)])
    elif name is None:
        output.emit(text.overview(chosen, output.view()))
    else:
        output.emit(text.explanation(chosen[0], output.view()))
    return DONE
