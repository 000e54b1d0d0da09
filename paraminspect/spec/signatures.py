"""The closed table of layers that a spec can name, their signatures, and the words for types in these taken apart."""

from __future__ import annotations

import ast
import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from paraminspect.spec.layer_table import TABLE

LAYERS: Final[Mapping[str, str]] = TABLE
"""Class name to signature. All are classes of torch.nn, but for PlainBiasLinear, a demonstration of ours."""


class _Missing(enum.Enum):
    MISSING = "no default"


MISSING: Final = _Missing.MISSING


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of a class: `type` is in the words of the table, without ``None``, which `optional` stands for."""

    name: str
    type: str
    optional: bool
    default: Any
    keyword_only: bool


Signature: TypeAlias = tuple[Param, ...]


@cache
def signature(name: str) -> Signature:
    """Return the parameters of a class of the table, in order. Raises KeyError for any other name."""
    function = ast.parse(f"def f({LAYERS[name]}): ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    arguments = function.args
    required = [None] * (len(arguments.args) - len(arguments.defaults))
    positional = zip(arguments.args, [*required, *arguments.defaults], strict=True)
    named = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return (
        *(_param(argument, default, False) for argument, default in positional),
        *(_param(argument, default, True) for argument, default in named),
    )


def _param(argument: ast.arg, default: ast.expr | None, keyword_only: bool) -> Param:
    assert argument.annotation is not None
    words = ast.unparse(argument.annotation).split(" | ")
    value = MISSING if default is None else ast.literal_eval(default)
    kind = " | ".join(word for word in words if word != "None")
    return Param(argument.arg, kind, "None" in words, value, keyword_only)


def resolve(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return every argument of a call by name, with its default where it was not given; without one it is left out."""
    parameters = signature(name)
    defaults = {p.name: p.default for p in parameters if p.default is not MISSING}
    return defaults | dict(zip((p.name for p in parameters), args, strict=False)) | dict(kwargs)


# --- the words for types (see layer_table.py) ------------------------------------------------------------


ELEMENT: Final[Mapping[str, str]] = MappingProxyType(
    {"sizes": "size", "optional_sizes": "size", "counts": "count", "ints": "int", "floats": "float"}
)
"""The words for one thing or a list of them, and the word for the one thing."""


def choices(word: str) -> list[str]:
    """Return the texts that ``Literal['a', 'b']`` allows; none for any other word."""
    return ast.literal_eval(word.removeprefix("Literal")) if word.startswith("Literal") else []


def base_and_length(word: str) -> tuple[str, int | None]:
    """Split ``sizes[2]`` into the word and the length; a word without one has None."""
    found = re.fullmatch(r"(\w+)\[(\d+)\]", word)
    return (found[1], int(found[2])) if found else (word, None)
