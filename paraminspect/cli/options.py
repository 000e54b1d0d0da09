"""The options that commands share, declared once; a command takes a group of them as one frozen value."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, ClassVar, get_type_hints

import typer

from paraminspect.cli import completion
from paraminspect.errors import UserError
from paraminspect.frozen import dataclass

Source = Annotated[
    str | None,
    typer.Argument(
        metavar="SOURCE",
        help="A spec (.yaml, .json, - for stdin), a built-in name, or a model in Python: file.py:attr, pkg.mod:attr. "
        "Default: mlp.",
        autocompletion=completion.sources,
        rich_help_panel="Model",
    ),
]
SpecSource = Annotated[
    str | None,
    typer.Argument(
        metavar="SOURCE",
        help="A spec (.yaml, .json, - for stdin) or a built-in name. Default: mlp.",
        autocompletion=completion.sources,
        rich_help_panel="Model",
    ),
]
Values = Annotated[bool, typer.Option("--values", help="Print the numbers of small tensors.", rich_help_panel="Output")]
Gates = Annotated[
    bool,
    typer.Option("--gates", help="A line for each gate of a recurrent layer, each projection.", rich_help_panel="Rows"),
]
NoForward = Annotated[
    bool, typer.Option("--no-forward", help="Build and measure, run nothing.", rich_help_panel="Input")
]
Stats = Annotated[
    bool,
    typer.Option("--stats", help="Of a checkpoint: read every tensor and measure it.", rich_help_panel="Rows"),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel="Output")]
Plot = Annotated[
    str | None,
    typer.Option(
        "--plot", metavar="FILE", help="Draw the signal through depth: .png or .svg.", rich_help_panel="Output"
    ),
]
Theory = Annotated[
    bool,
    typer.Option(
        "--theory", help="Add what mean-field theory says: help signal explains it.", rich_help_panel="Output"
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="INPUT",
        help="[NAME=]SHAPE[:DTYPE][:SAMPLE], as 2,4 or 2,4:float64:normal or ids=2,8:int64:0..99. Repeatable. "
        "Or your own: file.py:func.",
        rich_help_panel="Input",
    ),
]


class Format(StrEnum):
    """The forms an answer can take."""

    table = "table"
    plain = "plain"
    json = "json"
    csv = "csv"
    markdown = "markdown"


class Key(StrEnum):
    """What rows can be sorted by."""

    name = "name"
    numel = "numel"
    bytes = "bytes"
    mean = "mean"
    std = "std"
    rms = "rms"
    gradient = "gradient"


# A group says in `panel` under which heading of the help its options stand, unless one names another itself.


@dataclass(frozen=True)
class Output:
    """How the answer is written."""

    panel: ClassVar[str] = "Output"
    format: Annotated[
        Format,
        typer.Option("--format", "-f", metavar="FORMAT", help="How to print it: table, plain, json, csv or markdown."),
    ] = Format.table
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour, as with NO_COLOR.")] = False


@dataclass(frozen=True)
class Notes:
    """What is said beside the answer."""

    panel: ClassVar[str] = "Output"
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No notes on stderr.")] = False
    debug: Debug = False


@dataclass(frozen=True)
class Rules:
    """Initialisation from the command line; it comes after the spec's own rules."""

    panel: ClassVar[str] = "Initialisation"
    scheme: Annotated[
        str | None,
        typer.Option(
            "--scheme",
            metavar="SCHEME",
            help="Initialise weights that mix inputs: normal, normal:std=0.01, file.py:func.",
            autocompletion=completion.schemes,
        ),
    ] = None
    bias: Annotated[
        str | None,
        typer.Option(
            "--bias",
            metavar="SCHEME",
            help="Initialise biases, those of norms left out: zeros, constant:val=1.",
            autocompletion=completion.schemes,
        ),
    ] = None
    rule: Annotated[
        list[str] | None,
        typer.Option("--rule", metavar="GLOB=SCHEME", help="Initialise what the glob matches. Repeatable."),
    ] = None
    seed_per_parameter: Annotated[
        bool,
        typer.Option(
            "--seed-per-parameter", help="Draw each parameter from the seed and its name alone, whatever else there is."
        ),
    ] = False
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Let the spec name Python functions.", rich_help_panel="Model")
    ] = False


@dataclass(frozen=True)
class Call:
    """What SOURCE is called with, where it is Python code."""

    panel: ClassVar[str] = "Model"
    arg: Annotated[
        list[str] | None,
        typer.Option("--arg", metavar="NAME=VALUE", help="Argument for SOURCE, in YAML: depth=2. Repeatable."),
    ] = None


@dataclass(frozen=True)
class Setting:
    """Where the network is built, and from which seed."""

    panel: ClassVar[str] = "Model"
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="N", help="For torch.manual_seed. Default: the spec's, or 0."),
    ] = None
    device: Annotated[
        str | None,
        typer.Option(
            "--device", metavar="DEVICE", help="cpu, cuda, mps, xpu or meta.", autocompletion=completion.devices
        ),
    ] = None
    weights: Annotated[
        str | None,
        typer.Option("--weights", metavar="FILE", help="Load a state_dict into it first: .safetensors, .pt, .ckpt."),
    ] = None
    eval_mode: Annotated[bool, typer.Option("--eval", help="Run in eval mode. Default: in the mode it is in.")] = False
    train_mode: Annotated[bool, typer.Option("--train", help="Run in train mode.")] = False
    strip_prefix: Annotated[
        str,
        typer.Option(
            "--strip-prefix",
            metavar="PREFIX",
            help="Leave this out of names, as model. Default: auto, what wrappers add; none keeps it.",
        ),
    ] = "auto"

    def __post_init__(self) -> None:
        if self.eval_mode and self.train_mode:
            raise UserError("not together with --eval", where="--train", hint="keep one of them", code="bad-option")


@dataclass(frozen=True)
class Passes:
    """What the forward is run on, and what the backward starts from."""

    panel: ClassVar[str] = "Input"
    input: Inputs = None
    loss: Annotated[
        str | None,
        typer.Option(
            "--loss",
            metavar="NAME",
            help="sum, mean, mse, cross_entropy or random. Or your own: file.py:func.",
            autocompletion=completion.losses,
        ),
    ] = None


@dataclass(frozen=True)
class PartOfModel:
    """Which part of a model is looked at."""

    panel: ClassVar[str] = "Rows"
    params: Annotated[
        list[str] | None,
        typer.Option(
            "--params",
            metavar="GLOB",
            help="Only rows whose name matches. Repeatable.",
            autocompletion=completion.parameters,
        ),
    ] = None
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer",
            metavar="NAME",
            help="One module alone, names relative to it; all of the model runs.",
            autocompletion=completion.layers,
        ),
    ] = None


@dataclass(frozen=True)
class Rows(PartOfModel):
    """Which rows are shown."""

    sort: Annotated[
        Key | None,
        typer.Option("--sort", metavar="KEY", help="Largest first: numel, bytes, mean, std, rms, gradient; or name."),
    ] = None
    top: Annotated[
        int | None, typer.Option("--top", metavar="N", help="Only the first N; without --sort the largest N.")
    ] = None
    depth: Annotated[
        int | None, typer.Option("--depth", metavar="N", help="Sum up what lies more than N modules deep.")
    ] = None
    no_fold: Annotated[bool, typer.Option("--no-fold", help="Print every one of the blocks that are alike.")] = False

    def __post_init__(self) -> None:
        for option, number in (("--top", self.top), ("--depth", self.depth)):
            if number is not None and number < 1:
                hint = f"for example: {option} 3"
                raise UserError(f"at least 1 is needed, got {number}", where=option, hint=hint, code="bad-option")


_MOST_SEEDS = 1_000_000


def check_seeds(seeds: int) -> None:
    """Raise UserError for a number of seeds that makes no sense, or would take for ever."""
    if not 1 <= seeds <= _MOST_SEEDS:
        message = f"at least 1 is needed, got {seeds}" if seeds < 1 else f"at most {_MOST_SEEDS:,}, got {seeds:,}"
        raise UserError(message, where="--seeds", hint="for example: --seeds 5", code="bad-option")


Command = Callable[..., int]


def spread(command: Command) -> Command:
    """Let Typer see every field of the option groups that `command` takes, and hand it the groups filled in.

    The command's own parameters come first.
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    given = inspect.signature(command).parameters.values()
    own = [_keyword(p.name, hints[p.name], p.default) for p in given if p.name not in groups]
    shared = [_keyword(*field) for group in groups.values() for field in _fields(group)]
    parameters = own + shared

    @functools.wraps(command)
    def wrapper(**values: Any) -> int:
        filled = {name: _take(group, values) for name, group in groups.items()}
        return command(**values, **filled)

    wrapper.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]  # functions carry it
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": int}
    return wrapper


def _keyword(name: str, hint: Any, default: Any) -> inspect.Parameter:
    default = None if hint in (Source, SpecSource) else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _fields(group: Any) -> list[tuple[str, Any, Any]]:
    hints = get_type_hints(group, include_extras=True)
    return [(field.name, _in_panel(hints[field.name], group), field.default) for field in dataclasses.fields(group)]


def _in_panel(hint: Any, group: Any) -> Any:
    """Give an option the panel of its group, unless it has one of its own."""
    option = copy.copy(hint.__metadata__[0])
    option.rich_help_panel = option.rich_help_panel or group.panel
    return Annotated[hint.__origin__, option]


def _take(group: Any, values: dict[str, Any]) -> Any:
    """Fill a group from `values` and take what it took out of them."""
    return group(**{f.name: values.pop(f.name) for f in dataclasses.fields(group)})
