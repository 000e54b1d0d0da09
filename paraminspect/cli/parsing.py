"""Typer's command and group, made quicker and plainer, with a help in groups.

Everything here can go without loss of function: Typer then imports pydantic for every parameter, given or not
(a tenth of a second), writes ``<str>`` behind SOURCE, lists fifteen options in one row, and offers to edit the user's
shell profile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

from paraminspect.errors import did_you_mean

PANELS = (
    "Arguments",
    "Model",
    "Options",
    "Change",
    "Trials",
    "Input",
    "Memory",
    "Rows",
    "Initialisation",
    "Rules",
    "Expectations",
    "Signal",
    "Output",
)
"""The groups of options, in the order of the help; each option says where it is declared to which it belongs."""

_INSTALLERS = ("install_completion", "show_completion")
_WIDEST = 30


class Quick:
    """Coerce what needs no pydantic: texts, numbers and the members of an Enum; ask Typer for anything else."""

    def __init__(self, thorough: Callable[[], Any]) -> None:
        self.thorough = thorough

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value of one parameter; raises typer.BadParameter when it is not of its type."""
        annotation = param.type_descriptor.annotation
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        if annotation == list[str] and all(isinstance(item, str) for item in value):
            return list(value)
        if not isinstance(annotation, type) or not issubclass(annotation, (str, int, float, Enum)):
            return self.thorough().coerce(value, param=param, ctx=ctx)
        if isinstance(value, annotation):
            return value
        try:
            return annotation(value)
        except ValueError:
            raise typer.BadParameter(_wrong(value, annotation), ctx=ctx, param=param) from None


def _wrong(value: Any, wanted: type) -> str:
    if not issubclass(wanted, Enum):
        return f"{value!r} is not a {'whole ' if wanted is int else ''}number"
    known = [str(member.value) for member in wanted]
    close = "Did you mean 'markdown'?" if value == "md" else did_you_mean(value, known).capitalize()
    return f"{value!r} is not one of {', '.join(known)}. {close}".strip()


def _fit(parameter: Any) -> Any:
    if not isinstance(getattr(parameter, "quick", None), Quick):
        parameter.quick = Quick(parameter.get_runtime_param)
        parameter.get_runtime_param = lambda: parameter.quick
        if parameter.param_type_name == "argument":
            parameter.display_type_rich = lambda ctx: ""
    return parameter


def _write_panels(parameters: list[Any], ctx: Any, formatter: Any) -> None:
    """Write the options group by group, their texts in one column over all the groups."""
    panels: dict[str, list[tuple[str, str]]] = {panel: [] for panel in PANELS}
    for parameter in parameters:
        record = parameter.get_help_record(ctx)
        if record is not None:
            panels[_panel(parameter)].append(record)
    width = min(max(len(name) for rows in panels.values() for name, _ in rows), _WIDEST)
    for panel, rows in panels.items():
        if rows:
            (name, text), *others = rows
            with formatter.section(panel):
                formatter.write_dl([(name.ljust(width), text), *others])


def _panel(parameter: Any) -> str:
    if parameter.name == "help":
        return "Output"
    return parameter.rich_help_panel or ("Arguments" if parameter.param_type_name == "argument" else "Options")


class Command(TyperCommand):
    """A command whose options cost nothing unless they are given, and whose help has examples and groups."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, fitted with the quick coercion."""
        return [_fit(parameter) for parameter in super().get_params(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the examples, which the epilog holds a line each, then the options."""
        if self.epilog:
            with formatter.section("Examples"):
                for example in self.epilog.split("\n"):
                    formatter.write(f"  {example}\n")
        _write_panels(self.get_params(ctx), ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write nothing more: the examples stand above the options."""


class Group(TyperGroup):
    """The root: as a command, and without Typer's own completion options, which go by the shell they run under.

    `beginnings` are the headings and lines, each a command line and what it is for, with which its help begins.
    """

    beginnings: ClassVar[Mapping[str, Sequence[tuple[str, str]]]] = {}

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, fitted with the quick coercion."""
        return [_fit(parameter) for parameter in super().get_params(ctx) if parameter.name not in _INSTALLERS]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write what this is, what to type first, the commands, the options."""
        self.format_first_screen(ctx, formatter)
        self.format_commands(ctx, formatter)
        records = [parameter.get_help_record(ctx) for parameter in self.get_params(ctx)]
        with formatter.section("Options"):
            formatter.write_dl([record for record in records if record])
        self.format_epilog(ctx, formatter)

    def format_first_screen(self, ctx: Any, formatter: Any) -> None:
        """Write what this is, and what to type first."""
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        width = max(len(line) for lines in self.beginnings.values() for line, _ in lines)
        for heading, lines in self.beginnings.items():
            with formatter.section(heading):
                for line, purpose in lines:
                    formatter.write(f"  {line.ljust(width)}  {purpose}\n")

    def first_screen(self, ctx: Any) -> str:
        """Return what is shown to a person who typed nothing: it fits on a screen of 24 lines."""
        formatter = ctx.make_formatter()
        self.format_first_screen(ctx, formatter)
        formatter.write_paragraph()
        formatter.write_text(f"Commands: {', '.join(self.list_commands(ctx))}. Each has a --help with examples.")
        return str(formatter.getvalue()).rstrip("\n")
