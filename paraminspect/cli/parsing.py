"""Typer's command and group, made quicker and plainer.

Everything here can go without loss of function: Typer then imports pydantic for every parameter, given or not
(a tenth of a second), writes ``<str>`` behind SOURCE, and offers to edit the user's shell profile.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from typer.core import TyperCommand, TyperGroup

_INSTALLERS = ("install_completion", "show_completion")


class Quick:
    """Coerce the values that need no pydantic: those not given, texts, and the members of an Enum."""

    def __init__(self, thorough: Callable[[], Any]) -> None:
        self.thorough = thorough

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return what Typer's own coercion returns; ask it for whatever is not plain."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        annotation = param.type_descriptor.annotation
        if isinstance(value, Enum) or (annotation is str and isinstance(value, str)):
            return value
        if annotation == list[str] and all(isinstance(item, str) for item in value):
            return list(value)
        if isinstance(annotation, type) and issubclass(annotation, Enum) and value in [*map(_value, annotation)]:
            return annotation(value)
        return self.thorough().coerce(value, param=param, ctx=ctx)


def _value(member: Enum) -> Any:
    return member.value


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
