"""`paraminspect rules`."""

from __future__ import annotations

from typing import Annotated

import typer

from paraminspect import output
from paraminspect.cli.options import Debug
from paraminspect.cli.session import DONE
from paraminspect.errors import UserError


def _ids(incomplete: str) -> list[str]:
    from paraminspect.rules.catalogue import RULES

    return [one for one in RULES if one.startswith(incomplete)]


def rules(
    rule: Annotated[
        str | None,
        typer.Argument(
            metavar="ID", help="A rule by ID or name, to explain it; or a family, as PI3.", autocompletion=_ids
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.", rich_help_panel="Output")] = False,
    debug: Debug = False,
) -> int:
    """List the rules of check, or explain one: what it finds, why it matters, an example, what to do."""
    from paraminspect.page.rules import explanation, overview, rules_object
    from paraminspect.render.json import dumps
    from paraminspect.render.table import draw
    from paraminspect.rules.catalogue import RULES

    view = output.view()
    found = [one for one in RULES.values() if rule is None or one.id.startswith(rule.upper()) or one.name == rule]
    if not found or rule == "":
        from paraminspect.rules.typed_selection import meant_rule

        hint = meant_rule(str(rule))
        raise UserError(f"there is no rule {rule!r}", where="rules", hint=hint, code="unknown-rule")
    if json:
        output.emit([dumps(rules_object(found))])
    else:
        output.emit(draw(explanation(found[0], view) if len(found) == 1 else overview(found, view), view))
    return DONE
