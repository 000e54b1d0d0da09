"""`paraminspect schema`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from paraminspect import output
from paraminspect.cli.options import Debug
from paraminspect.cli.session import DONE


class Which(StrEnum):
    """The contracts that have a JSON Schema."""

    spec = "spec"
    report = "report"


def schema(
    which: Annotated[Which, typer.Argument(metavar="spec|report", help="Which contract.")],
    debug: Debug = False,
) -> int:
    """Print the JSON Schema of a spec (for an editor's completion) or of the JSON report (for a script)."""
    from paraminspect.render.json import dumps

    if which is Which.spec:
        from paraminspect.init.schemes.registry import SCHEMES
        from paraminspect.spec.spec_schema import spec_schema

        arguments = {name: tuple(argument.name for argument in scheme.arguments) for name, scheme in SCHEMES.items()}
        output.emit([dumps(spec_schema(arguments))])
    else:
        from paraminspect.report.report_schema import report_schema

        output.emit([dumps(report_schema())])
    return DONE
