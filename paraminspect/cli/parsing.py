"""Typer's command and group, made quicker and plainer.

Everything here can go without loss of function: Typer then imports pydantic for every parameter, given or not
(a tenth of a second), writes ``<str>`` behind SOURCE, and offers to edit the user's shell profile.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from paraminspect.errors import did_you_mean

_INSTALLERS = ("install_completion", "show_completion")


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
    return f"{value!r} is not one of {', '.join(known)}. {did_you_mean(value, known).capitalize()}".strip()


def _fit(parameter: Any) -> Any:
    if not isinstance(getattr(parameter, "quick", None), Quick):
        parameter.quick = Quick(parameter.get_runtime_param)
        parameter.get_runtime_param = lambda: parameter.quick
        if parameter.param_type_name == "argument":
            parameter.display_type_rich = lambda ctx: ""
    return parameter


class Command(TyperCommand):
    """A command whose options cost nothing unless they are given."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, fitted with the quick coercion."""
        return [_fit(parameter) for parameter in super().get_params(ctx)]


class Group(TyperGroup):
    """The root: as a command, and without Typer's own completion options, which go by the shell they run under."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, fitted with the quick coercion."""
        return [_fit(parameter) for parameter in super().get_params(ctx) if parameter.name not in _INSTALLERS]
