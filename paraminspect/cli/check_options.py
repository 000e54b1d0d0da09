"""The options that `check` alone has: which rules are asked, what makes the exit code 1, in which form it is said."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from paraminspect.errors import UserError
from paraminspect.frozen import dataclass

if TYPE_CHECKING:
    from paraminspect.rules.rule_selection import Selection
    from paraminspect.sources.settings_file import Settings

AUTO = "auto"


class Severity(StrEnum):
    """How bad a finding must be to make the exit code 1."""

    error = "error"
    warning = "warning"
    note = "note"


class CheckFormat(StrEnum):
    """The forms in which findings can be printed."""

    table = "table"
    plain = "plain"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"
    markdown = "markdown"
    sarif = "sarif"
    github = "github"
    junit = "junit"


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
    threshold: Annotated[
        list[str] | None,
        typer.Option("--threshold", metavar="ID=NUMBER", help="Another limit for a rule, as PI503=0.99. Repeatable."),
    ] = None
    fail_on: Annotated[
        Severity | None,
        typer.Option("--fail-on", metavar="SEVERITY", help="Exit 1 from error, warning or note on. Default: warning."),
    ] = None
    exit_zero: Annotated[bool, typer.Option("--exit-zero", help="Exit 0 also where something is found.")] = False

    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Settings from this file. Default: the nearest paraminspect.toml, or pyproject.toml with "
            "[tool.paraminspect].",
        ),
    ] = None
    isolated: Annotated[bool, typer.Option("--isolated", help="Read no file of settings.")] = False

    def __post_init__(self) -> None:
        if self.isolated and self.config is not None:
            raise UserError(
                "not together with --isolated", where="--config", hint="keep one of them", code="bad-option"
            )
        if self.exit_zero and self.fail_on is not None:
            raise UserError(
                "not together with --exit-zero", where="--fail-on", hint="keep one of them", code="bad-option"
            )


@dataclass(frozen=True)
class Written:
    """How the findings are written."""

    panel: ClassVar[str] = "Output"
    format: Annotated[
        CheckFormat,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="How to print it: table, plain, json, jsonl, csv, markdown, sarif, github or junit.",
        ),
    ] = CheckFormat.table
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour, as with NO_COLOR.")] = False
    jobs: Annotated[
        str,
        typer.Option(
            "--jobs", "-j", metavar="N", help="Check N sources at a time, as many as there are cores with auto."
        ),
    ] = "1"

    @property
    def form(self) -> str:
        """Return the name of the format."""
        return "json" if self.json else self.format.value

    def count_of_jobs(self) -> int:
        """Return how many sources are checked at a time. Raises UserError for what is no number."""
        from paraminspect.experiments.check_jobs import cores

        if self.jobs in (AUTO, "0"):
            return cores()
        if not (self.jobs.isascii() and self.jobs.isdigit() and len(self.jobs) < 5):
            hint = "for example: --jobs 4, or --jobs auto for as many as there are cores"
            raise UserError(f"{self.jobs!r} is no number of jobs", where="--jobs", hint=hint, code="bad-option")
        return int(self.jobs)


def settings_of(chosen: Chosen) -> Settings:
    """Return the settings of the project, or of the file that is named. Raises UserError for what is wrong in it."""
    from paraminspect.sources.settings_file import Settings, find_settings, read_settings

    if chosen.isolated:
        return Settings()
    return find_settings(Path.cwd()) if chosen.config is None else read_settings(chosen.config)


def selection_typed(chosen: Chosen, settings: Settings) -> Selection:
    """Return which rules are asked. The command line wins: what it selects is asked whatever the settings ignore.

    What it ignores comes beside what they ignore; names that they ignore stay ignored. Raises UserError for rules that
    there are not, and where none is left.
    """
    from paraminspect.rules.typed_selection import check_threshold, ids_of, selection_of, thresholds_of

    place = settings.where
    select = ids_of(chosen.select or (), "--select")
    ignore = [*ids_of(chosen.ignore or (), "--ignore")]
    for glob, rules in settings.per_name_ignores.items():
        ignore += [f"{rule}:{glob}" for rule in ids_of(rules, f"{place}: per-name-ignores")]
    named = ids_of(settings.ignore, f"{place}: ignore")
    ignore += [one for one in named if not select or ":" in one]
    thresholds = {}
    for rule, value in settings.thresholds.items():
        (known,) = ids_of([rule], f"{place}: thresholds")
        check_threshold(known, value, f"{place}: thresholds")
        thresholds[known] = float(value)
    thresholds |= thresholds_of(chosen.threshold or (), "--threshold")
    where = "--select" if chosen.select or chosen.ignore else f"{place}: select"
    return selection_of(select or ids_of(settings.select, f"{place}: select"), ignore, thresholds, where)
