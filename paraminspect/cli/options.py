"""The options that commands share, declared once; a command takes a group of them as one frozen value."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, get_type_hints

import typer

Source = Annotated[
    str | None,
    typer.Argument(metavar="SOURCE", help="A spec (.yaml, .json, - for stdin) or a built-in name. Default: mlp."),
]


class Format(str, Enum):
    """The forms an answer can take."""

    table = "table"
    plain = "plain"
    json = "json"
    csv = "csv"
    markdown = "markdown"


@dataclass(frozen=True)
class Output:
    """How the answer is written."""

    format: Annotated[Format, typer.Option("--format", "-f", help="How to print the answer.")] = Format.table
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No notes on stderr.")] = False
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour, as with NO_COLOR.")] = False
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False


@dataclass(frozen=True)
class Rules:
    """Initialisation from the command line; it comes after the spec's own rules."""

    scheme: Annotated[
        str | None,
        typer.Option("--scheme", metavar="SCHEME", help="Initialise weights: normal, normal:std=0.01, file.py:func."),
    ] = None
    bias: Annotated[str | None, typer.Option("--bias", metavar="SCHEME", help="Initialise biases: constant:val=0.")] = (
        None
    )
    rule: Annotated[
        list[str] | None,
        typer.Option("--rule", metavar="GLOB=SCHEME", help="Initialise what the glob matches. Repeatable."),
    ] = None
    allow_code: Annotated[bool, typer.Option("--allow-code", help="Let the spec name Python functions.")] = False


@dataclass(frozen=True)
class Experiment:
    """What is run, and on what."""

    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            metavar="N",
            min=0,
            max=2**64 - 1,
            show_default=False,
            help="torch.manual_seed. Default: the spec's, or 0.",
        ),
    ] = None
    input: Annotated[
        list[str] | None,
        typer.Option(
            "--input", metavar="SHAPE[:DTYPE][:SAMPLE]", help="The input: 2,4 or 2,4:float32:normal or 2,8:int64:0..99."
        ),
    ] = None
    loss: Annotated[str | None, typer.Option("--loss", metavar="NAME", help="sum, mean, mse or cross_entropy.")] = None
    device: Annotated[str | None, typer.Option("--device", metavar="DEVICE", help="cpu, cuda, mps or meta.")] = None


@dataclass(frozen=True)
class Rows:
    """Which rows are shown, and how much of them."""

    params: Annotated[
        list[str] | None, typer.Option("--params", metavar="GLOB", help="Only rows whose name matches. Repeatable.")
    ] = None
    layer: Annotated[
        str | None, typer.Option("--layer", metavar="NAME", help="One module alone, names relative to it.")
    ] = None
    values: Annotated[bool, typer.Option("--values", help="Print the numbers of small tensors.")] = False


Command = Callable[..., int]


def spread(command: Command) -> Command:
    """Let Typer see every field of the option groups that `command` takes, and hand it the groups filled in."""
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name in groups:
            parameters += _fields(groups[parameter.name])
        else:
            default = None if hints[parameter.name] == Source else parameter.default
            keyword = inspect.Parameter.KEYWORD_ONLY
            parameters.append(
                inspect.Parameter(parameter.name, keyword, default=default, annotation=hints[parameter.name])
            )

    @functools.wraps(command)
    def wrapper(**given: Any) -> int:
        filled = {name: _take(group, given) for name, group in groups.items()}
        return command(**given, **filled)

    wrapper.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]  # functions carry it
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": int}
    return wrapper


def _fields(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name])
        for f in dataclasses.fields(group)
    ]


def _take(group: Any, given: dict[str, Any]) -> Any:
    return group(**{f.name: given.pop(f.name) for f in dataclasses.fields(group)})
