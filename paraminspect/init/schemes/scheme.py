"""What a scheme is: its arguments, what it should give a tensor, and its text on the command line, without torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from paraminspect.errors import UserError
from paraminspect.frozen import dataclass
from paraminspect.init.schemes.expected_moments import ExpectedMoments

Shape = tuple[int, ...]
Args = Mapping[str, Any]


class _Required:
    """The type of `REQUIRED`, so that it prints as a word in help and in failures."""

    def __repr__(self) -> str:
        return "REQUIRED"


AUTO: Final = "auto"
"""The activation that follows the layer, for `BoundScheme.for_parameter` to find."""

REQUIRED: Final = _Required()
"""The default of an argument that has none."""


@dataclass(frozen=True)
class Argument:
    """Describe one argument of a scheme, by torch.nn.init's own name.

    `type` is ``float``, ``int`` or ``str``; `default` is `REQUIRED` where there is none, and None where leaving the
    argument out has a meaning of its own. The value must be one of `choices` if any are listed, not less than
    `at_least`, greater than `above` and less than `below`; `check` raises UserError for what else it must not be.
    """

    name: str
    type: str
    default: Any
    doc: str
    choices: tuple[str, ...] = ()
    at_least: float | None = None
    above: float | None = None
    below: float | None = None
    check: Callable[[Any], None] | None = None


def _accept(*_: Any) -> str:
    """Return an empty text, for a scheme that takes any valid arguments and any shape."""
    return ""


@dataclass(frozen=True)
class Gain:
    """Hold the gains of one activation: those that keep a moment exactly, and torch's, None where it has none."""

    nonlinearity: str
    second_moment: float
    gradient: float
    torch: float | None


@dataclass(frozen=True)
class Scheme:
    """Describe a named initialiser.

    It runs torch.nn.init's function of that name (with the trailing underscore), or of the name `function`, unless
    `recipe` names one in `paraminspect.init.schemes.recipes`. The function takes the scheme's arguments, or what
    `solve` makes of them. `fallback` names the recipe for what torch's function cannot fill: low precision and memory
    that is not contiguous. `conflict` says what is wrong with arguments that are each valid alone;
    `misfit` says what a shape lacks, as words after the scheme's name; both return "" when nothing is wrong.
    `remark` says what valid arguments come to and do not look like. `shape_hint` is what to try when the shape does
    not fit. `example` are arguments worth showing, as they stand on the command line after the colon; `notes` are
    paragraphs for the scheme's page, `gains` a table for it.

    `activation` names the argument that may be ``auto``, the activation that follows the layer; where none follows,
    the arguments in `unless_linear` are left out. `biases` says that what has one dimension is filled as a bias.
    `needs_batch` says that filling is the first of two steps, the second being `paraminspect.init.calibration`.
    """

    name: str
    family: str
    summary: str
    formula: str
    source: str
    arguments: tuple[Argument, ...]
    moments: Callable[[Shape, Args], ExpectedMoments]
    min_ndim: int = 0
    max_ndim: int | None = None
    uses_fans: bool = False
    random: bool = True
    function: str = ""
    recipe: str = ""
    fallback: str = ""
    solve: Callable[[Args], dict[str, Any]] | None = None
    conflict: Callable[[Args], str] = _accept
    misfit: Callable[[Shape, Args], str] = _accept
    remark: Callable[[Args], str] = _accept
    example: str = ""
    notes: tuple[str, ...] = ()
    gains: Callable[[], tuple[Gain, ...]] | None = None
    activation: str = ""
    unless_linear: tuple[str, ...] = ()
    biases: bool = False
    needs_batch: bool = False
    shape_hint: str = "restrict the rule to weights"


# --- the text on the command line: ``name`` or ``name:arg=value,arg=value`` --------------------------------------

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
DECIMAL: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
_NOT_FINITE: Final = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_EXAMPLE: Final = "write name or name:argument=value,argument=value, e.g. normal:std=0.01"


def parse_scheme(text: str, where: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the arguments that `text` spells; numbers become int or float, the rest stays text.

    Whether the scheme exists and takes them is for `registry.bind` to say. Raises `UserError`, placed at `where`,
    for text of another form.
    """
    name, colon, rest = (part.strip() for part in text.partition(":"))
    if not name:
        raise _malformed("no scheme name", where)
    arguments: dict[str, Any] = {}
    for part in rest.split(",") if colon else []:
        key, value = _pair(part.strip(), where)
        if key in arguments:
            raise _malformed(f"{key!r} is given twice", where, "keep one of them")
        arguments[key] = _number_or_text(value)
    return name, arguments


def _pair(part: str, where: str) -> tuple[str, str]:
    """Split ``argument=value``."""
    key, equals, value = (piece.strip() for piece in part.partition("="))
    if not part:
        raise _malformed("an argument is missing after ':' or ','", where)
    if not equals:
        raise _malformed(f"{part!r} has no '='", where)
    if not key:
        raise _malformed(f"{part!r} has no argument name", where)
    if not value:
        raise _malformed(f"{part!r} has no value", where)
    return key, value


def _number_or_text(text: str) -> int | float | str:
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if DECIMAL.fullmatch(text) or _NOT_FINITE.fullmatch(text) else text


def _malformed(message: str, where: str, hint: str = _EXAMPLE) -> UserError:
    return UserError(message, where=where, hint=hint, code="bad-scheme")
