"""`paraminspect check`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from paraminspect import output
from paraminspect.cli import completion, session
from paraminspect.cli.options import Call, NoForward, Notes, Output, Passes, Rows, Rules, Setting
from paraminspect.frozen import dataclass

if TYPE_CHECKING:
    from paraminspect.rules.rule_selection import Selection

FOUND = 1


class Severity(StrEnum):
    """How bad a finding must be to make the exit code 1."""

    error = "error"
    warning = "warning"
    note = "note"


@dataclass(frozen=True)
class Chosen:
    """Which rules are asked, and which findings make the exit code 1."""

    panel: ClassVar[str] = "Rules"
    select: Annotated[
        list[str] | None,
        typer.Option("--select", metavar="IDS", help="Only these rules: IDs or prefixes, as PI3,PI401. Repeatable."),
    ] = None
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="IDS", help="Not these; PI201:head.* leaves out some names. Repeatable."),
    ] = None
    fail_on: Annotated[
        Severity, typer.Option("--fail-on", metavar="SEVERITY", help="Exit 1 from error, warning or note on.")
    ] = Severity.warning
    exit_zero: Annotated[bool, typer.Option("--exit-zero", help="Exit 0 also where something is found.")] = False


def check(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE...",
            help="Models in Python, specs, checkpoints: one or several. Default: mlp.",
            autocompletion=completion.sources,
            rich_help_panel="Model",
        ),
    ] = None,
    *,
    call: Call,
    setting: Setting,
    passes: Passes,
    rules: Rules,
    chosen: Chosen,
    printing: Output,
    notes: Notes,
    no_forward: NoForward = False,
) -> int:
    """Look for what is wrong. Exit code 0: nothing was found; 1: something was; 2: it could not be looked for."""
    from paraminspect.sources.locate import DEFAULT

    if not sources and not notes.quiet:
        output.note(f"no SOURCE given: using the built-in spec {DEFAULT!r}")
    from paraminspect.experiments.check import CheckRequest, check_or_failure, worst

    request = CheckRequest(
        selection=_selection(chosen),
        forward=not no_forward,
        options={**vars(call), **vars(rules), **vars(setting), **vars(passes)},
    )
    reports = [check_or_failure(source, request) for source in sources or [DEFAULT]]
    code = max(session.finish(report, Rows(), printing, notes) for report in reports)
    return code or _found(worst(reports), chosen)


def _selection(chosen: Chosen) -> Selection:
    from paraminspect.rules.rule_selection import Selection

    return Selection(_ids(chosen.select), _ids(chosen.ignore))


def _ids(texts: list[str] | None) -> tuple[str, ...]:
    return tuple(one.strip() for text in texts or () for one in text.split(",") if one.strip())


def _found(severities: set[str], chosen: Chosen) -> int:
    from paraminspect.rules.rule import SEVERITIES

    failing = SEVERITIES[: SEVERITIES.index(chosen.fail_on.value) + 1]
    return FOUND if severities.intersection(failing) and not chosen.exit_zero else session.DONE
