"""`paraminspect schema`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from paraminspect import output
from paraminspect.cli.options import Debug
from paraminspect.cli.session import DONE


class Which(StrEnum):
    """The contracts that have a JSON Schema."""

    spec = "spec"
    report = "report"
    reports = "reports"
    finding = "finding"
    baseline = "baseline"
    rules = "rules"
    schemes = "schemes"
    theory = "theory"


def schema(
    which: Annotated[
        Which,
        typer.Argument(
            metavar="NAME",
            help="spec, report; reports (check of several), finding (a line of check -f jsonl), baseline; rules, "
            "schemes, theory.",
        ),
    ],
    debug: Debug = False,
) -> int:
    """Print the JSON Schema of a spec (for an editor), of the JSON report or of other JSON (for a script)."""
    from paraminspect.render.json import dumps

    output.emit([dumps(schema_of(which.value))])
    return DONE


def schema_of(name: str) -> dict[str, Any]:
    """Return the JSON Schema of a name."""
    if name == "spec":
        from paraminspect.init.schemes.registry import SCHEMES
        from paraminspect.spec.spec_schema import spec_schema

        arguments = {name: tuple(argument.name for argument in scheme.arguments) for name, scheme in SCHEMES.items()}
        return spec_schema(arguments)
    if name in ("report", "reports"):
        from paraminspect.report.report_schema import report_schema, reports_schema

        return report_schema() if name == "report" else reports_schema()
    from paraminspect.page.object_schemas import OBJECT_SCHEMAS

    return OBJECT_SCHEMAS[name]
