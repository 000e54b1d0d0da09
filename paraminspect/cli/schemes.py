"""`paraminspect schemes`."""

from __future__ import annotations

from typing import Annotated

import typer

from paraminspect import output
from paraminspect.cli.session import DONE
from paraminspect.errors import UserError, did_you_mean
from paraminspect.init.registry import SCHEMES, canonical_name
from paraminspect.render import schemes as text


def schemes(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Explain one scheme.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> int:
    """List the initialisation schemes, or explain one: formula, arguments, where it comes from."""
    if name is None:
        cards = [text.card(scheme) for scheme in SCHEMES.values()]
        output.emit([text.as_json(cards)] if json else text.overview(cards))
        return DONE
    known = canonical_name(name)
    if known is None:
        hint = did_you_mean(name, SCHEMES) or f"known: {', '.join(SCHEMES)}"
        raise UserError(f"unknown scheme {name!r}", where="schemes", hint=hint, code="unknown-scheme")
    card = text.card(SCHEMES[known])
    output.emit([text.as_json([card])] if json else text.explanation(card))
    return DONE
