"""What a function takes, and how to say so in a message."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from inspect import Parameter
from typing import Any

from paraminspect.frozen import dataclass

_SHOWN = 12
_LONGEST = 100
_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
_SHORT = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Signature:
    """The parameters of a function that has a readable signature."""

    parameters: tuple[Parameter, ...]

    @property
    def positional(self) -> tuple[str, ...]:
        """Return the names of what can be given by position."""
        return tuple(one.name for one in self.parameters if one.kind in _POSITIONAL)

    @property
    def named(self) -> tuple[str, ...]:
        """Return the names of what can be given by name."""
        return tuple(one.name for one in self.parameters if one.kind in _NAMED)

    @property
    def required(self) -> tuple[Parameter, ...]:
        """Return what has no default."""
        stars = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        return tuple(one for one in self.parameters if one.default is Parameter.empty and one.kind not in stars)

    @property
    def takes_any_position(self) -> bool:
        """Tell whether there is a ``*args``."""
        return any(one.kind is Parameter.VAR_POSITIONAL for one in self.parameters)

    @property
    def takes_any_name(self) -> bool:
        """Tell whether there is a ``**kwargs``."""
        return any(one.kind is Parameter.VAR_KEYWORD for one in self.parameters)

    def __str__(self) -> str:
        """Write it as ``(src, tgt, mask: Tensor = None)``, by parts that run no code of the user's.

        A long one is cut down to the names, and of what may be left out to the number.
        """
        text = f"({', '.join(map(_written, self.parameters))})"
        if len(text) <= _LONGEST:
            return text
        names = [one.name for one in self.required[:_SHOWN]]
        return f"({', '.join([*names, f'… {len(self.parameters) - len(names)} more'])})"


def signature_of(function: Callable[..., Any]) -> Signature | None:
    """Return the signature, None where Python cannot tell it (much of what is written in C)."""
    try:
        return Signature(tuple(inspect.signature(function).parameters.values()))
    except Exception:  # a signature may be a property of the user's
        return None


def enumeration(names: Iterable[str]) -> str:
    """Return ``a``, ``a and b`` or ``a, b and c``."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def annotation(parameter: Parameter) -> str:
    """Return the annotation as it was written, or as a class is called."""
    found = parameter.annotation
    if found is Parameter.empty:
        return ""
    if isinstance(found, type):
        return found.__name__
    return found if isinstance(found, str) else inspect.formatannotation(found)


def _written(parameter: Parameter) -> str:
    stars = (
        "**" if parameter.kind is Parameter.VAR_KEYWORD else "*" if parameter.kind is Parameter.VAR_POSITIONAL else ""
    )
    kind = annotation(parameter)
    text = f"{stars}{parameter.name}" + (f": {kind}" if kind else "")
    if parameter.default is Parameter.empty:
        return text
    default = repr(parameter.default) if type(parameter.default) in _SHORT else "…"
    return f"{text} = {default}" if kind else f"{text}={default}"
