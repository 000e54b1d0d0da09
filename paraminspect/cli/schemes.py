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

    if name is None:
        cards = [text.card(scheme) for scheme in SCHEMES.values()]
        output.emit([text.as_json(cards)] if json else text.overview(cards, output.view()))
        return DONE
    card = text.card(SCHEMES[known_name(name, where="schemes")])
    output.emit([text.as_json([card])] if json else text.explanation(card, output.view()))
    return DONE
