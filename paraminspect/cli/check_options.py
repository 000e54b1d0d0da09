"""The options that `check` alone has: which rules are asked, what makes the exit code 1, in which form it is said."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from paraminspect.cli.options import Output
from paraminspect.errors import UserError
from paraminspect.frozen import dataclass

if TYPE_CHECKING:
    from paraminspect.rules.baseline import Known
    from paraminspect.rules.expectation_rules import Expectations
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
class RuleChoice:
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
class Requirements:
    """What the model has to be, beside what the rules ask of every one."""

    panel: ClassVar[str] = "Expectations"
    expect_total: Annotated[
        str | None, typer.Option("--expect-total", metavar="N", help="There are exactly N parameters.")
    ] = None
    max_parameters: Annotated[
        str | None, typer.Option("--max-parameters", metavar="N", help="At most N parameters: 25_000_000, 25M, 7e9.")
    ] = None
    max_bytes: Annotated[
        str | None,
        typer.Option("--max-bytes", metavar="SIZE", help="Parameters and buffers take at most this: 500MB, 2GiB."),
    ] = None
    expect_shared: Annotated[
        list[str] | None,
        typer.Option("--expect-shared", metavar="A=B", help="Two names are one tensor. Repeatable."),
    ] = None
    expect_digest: Annotated[
        str | None,
        typer.Option("--expect-digest", metavar="FILE", help="Every tensor is, bit for bit, what this file says."),
    ] = None
    write_digest: Annotated[
        str | None, typer.Option("--write-digest", metavar="FILE", help="Write such a file: .txt or .sha256.")
    ] = None
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="FILE", help="Leave out the findings that this file has: new ones count."),
    ] = None
    write_baseline: Annotated[
        str | None,
        typer.Option(
            "--write-baseline", metavar="FILE", help="Write the findings there are now to such a file: .json."
        ),
    ] = None

    def __post_init__(self) -> None:
        pairs = [("--baseline", self.baseline, "--write-baseline", self.write_baseline)]
        pairs.append(("--expect-digest", self.expect_digest, "--write-digest", self.write_digest))
        for one, given, other, also in pairs:
            if given is not None and also is not None:
                raise UserError(f"not together with {other}", where=one, hint="keep one of them", code="bad-option")


def expectations_typed(expected: Requirements) -> Expectations:
    """Return what is expected. Raises UserError for what is no number, no size, no pair of names, no such file."""
    from paraminspect.rules.digest_list import digests_in
    from paraminspect.rules.expectation_rules import Expectations
    from paraminspect.text.numbers import parse_bytes

    size = None if expected.max_bytes is None else parse_bytes(expected.max_bytes)
    if expected.max_bytes is not None and size is None:
        hint = "for example: --max-bytes 500MB, or 2GiB"
        raise UserError(f"{expected.max_bytes!r} is no size", where="--max-bytes", hint=hint, code="bad-option")
    file = expected.expect_digest
    return Expectations(
        total=_count(expected.expect_total, "--expect-total", exact=True),
        max_parameters=_count(expected.max_parameters, "--max-parameters"),
        max_bytes=size,
        shared=tuple(map(_pair, expected.expect_shared or ())),
        digests=None if file is None else digests_in(_text(file, "--expect-digest"), file),
        digest_file=file or "",
    )


def _count(text: str | None, option: str, exact: bool = False) -> int | None:
    if text is None:
        return None
    plain = text.replace("_", "").replace(",", "")
    if plain.isascii() and plain.isdigit() and len(plain) < 20:
        return int(plain)
    found = None if exact else re.fullmatch(r"(\d+(?:\.\d+)?)(?:([kKMBGT])|[eE]\+?(\d{1,2}))", plain)
    if found is None:
        hint = f"for example: {option} {'11_689_512' if exact else '25M'}"
        raise UserError(f"{text!r} is no number of parameters", where=option, hint=hint, code="bad-option")
    power = int(found[3]) if found[3] else _POWERS[found[2].upper()]
    return int(Fraction(found[1]) * 10**power)


_POWERS = {"K": 3, "M": 6, "B": 9, "G": 9, "T": 12}


def _pair(text: str) -> tuple[str, str]:
    one, _, other = (part.strip() for part in text.partition("="))
    if not (one and other) or one == other:
        hint = "for example: --expect-shared wte.weight=lm_head.weight"
        raise UserError(f"{text!r} is no pair of names", where="--expect-shared", hint=hint, code="bad-option")
    return one, other


def baseline_typed(expected: Requirements, settings: Settings) -> dict[str, Known]:
    """Return what the baseline has by sources, none without one or where it is to be written anew. Raises UserError."""
    from paraminspect.rules.baseline import baseline_in

    file = expected.baseline or (None if expected.write_baseline else settings.baseline)
    if file is None:
        return {}
    return baseline_in(_text(file, "--baseline" if expected.baseline else f"{settings.where}: baseline"), file)


def _text(file: str, where: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"is no text in UTF-8: byte {error.start}", where=file, code="unreadable-file") from None
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise UserError(f"cannot read {file!r}: {reason}", where=where, code="unreadable-file") from error


def file_to_write(
    path: str | None, option: str, suffixes: tuple[str, ...], own: Callable[[str, str], object]
) -> Path | None:
    """Return a file that can be written: a new one, or one of the same sort, as `own` reads it. Raises UserError."""
    from paraminspect.files import checked

    if path is None:
        return None
    found = checked(path, suffixes, option)
    if found.exists():
        try:
            own(_text(path, option), path)
        except UserError as error:
            message = f"{path!r} is there already, and {error.message}"
            raise UserError(message, where=option, hint="name another file", code="file-exists") from error
    return found


@dataclass(frozen=True)
class CheckOutput(Output):
    """How the findings are written, and how many sources are checked at a time."""

    format: Annotated[
        CheckFormat,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="How to print it: table, plain, json, jsonl, csv, markdown, sarif, github or junit.",
        ),
    ] = CheckFormat.table  # type: ignore[assignment]  # it has more forms
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


def settings_of(chosen: RuleChoice) -> Settings:
    """Return the settings of the project, or of the file that is named. Raises UserError for what is wrong in it."""
    from paraminspect.sources.settings_file import Settings, find_settings, read_settings

    if chosen.isolated:
        return Settings()
    return find_settings(Path.cwd()) if chosen.config is None else read_settings(chosen.config)


def selection_typed(chosen: RuleChoice, settings: Settings) -> Selection:
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
    thresholds |= thresholds_of(chosen.threshold or ())
    where = "--select" if chosen.select or chosen.ignore else f"{place}: select"
    return selection_of(select or ids_of(settings.select, f"{place}: select"), ignore, thresholds, where)
