"""The list of schemes and the page of one, as text and as JSON."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

from paraminspect.render.escape import to_ascii
from paraminspect.render.json import dumps
from paraminspect.render.view import View

WIDTH = 80
_EXAMPLES: dict[str, dict[str, Any]] = {
    "constant": {"val": 0.5},
    "kaiming_normal": {"nonlinearity": "relu"},
    "kaiming_uniform": {"nonlinearity": "relu"},
    "normal": {"std": 0.01},
    "orthogonal": {"gain": 1.4},
    "sparse": {"sparsity": 0.5},
    "textbook": {"low": 0.5, "high": 1},
    "trunc_normal": {"std": 0.02, "a": -0.04, "b": 0.04},
    "uniform": {"a": -0.1, "b": 0.1},
    "variance_scaling": {"scale": 2, "mode": "fan_out"},
    "xavier_normal": {"gain": 1.67},
    "xavier_uniform": {"gain": 1.67},
}
"""Arguments worth showing, of the schemes that have some."""


class _Argument(Protocol):
    @property
    def name(self) -> str:
        """Return torch.nn.init's own name."""

    @property
    def type(self) -> str:
        """Return ``float``, ``int`` or ``str``."""

    @property
    def default(self) -> Any:
        """Return a number or a word; anything else means that the argument is required."""

    @property
    def doc(self) -> str:
        """Return what it means."""

    @property
    def choices(self) -> tuple[str, ...]:
        """Return the words it can be, if it is not free."""


class Described(Protocol):
    """What a scheme tells about itself."""

    @property
    def name(self) -> str:
        """Return its name on the command line."""

    @property
    def family(self) -> str:
        """Return the name of its family."""

    @property
    def summary(self) -> str:
        """Return one sentence."""

    @property
    def formula(self) -> str:
        """Return what it draws, or its std."""

    @property
    def source(self) -> str:
        """Return the paper or the function."""

    @property
    def arguments(self) -> Sequence[_Argument]:
        """Return its arguments in order."""

    @property
    def uses_fans(self) -> bool:
        """Tell whether the formula has fan_in or fan_out in it."""

    @property
    def min_ndim(self) -> int:
        """Return the fewest dimensions it can fill."""

    @property
    def max_ndim(self) -> int | None:
        """Return the most dimensions it can fill, None for any."""


@dataclass(frozen=True)
class Card:
    """A scheme as plain values."""

    name: str
    family: str
    summary: str
    formula: str
    source: str
    uses_fans: bool
    min_ndim: int
    max_ndim: int | None
    arguments: tuple[dict[str, Any], ...]


def card(scheme: Described) -> Card:
    """Copy what a scheme tells about itself."""
    return Card(
        scheme.name,
        scheme.family,
        scheme.summary,
        scheme.formula,
        scheme.source,
        scheme.uses_fans,
        scheme.min_ndim,
        scheme.max_ndim,
        tuple(map(_argument, scheme.arguments)),
    )


def _argument(argument: _Argument) -> dict[str, Any]:
    required = not isinstance(argument.default, (int, float, str))
    return {
        "name": argument.name,
        "type": argument.type,
        "required": required,
        "default": None if required else argument.default,
        "choices": list(argument.choices),
        "doc": argument.doc,
    }


def as_json(cards: Sequence[Card]) -> str:
    """Return the cards as one JSON object."""
    schemes = [{**vars(one), "arguments": list(one.arguments)} for one in cards]
    return dumps({"schema": "paraminspect.schemes", "version": 1, "schemes": schemes})


def overview(cards: Sequence[Card], view: View | None = None) -> Iterator[str]:
    """Yield the schemes by family, a formula each, and how to use one."""
    width = max((len(one.name) for one in cards), default=0) + 4
    for family, members in groupby(cards, key=lambda one: one.family):
        yield f"{family}\n"
        for one in members:
            yield from _entry(f"  {one.name}", one.formula, width, view)
        yield "\n"
    yield from _entry("use", "--scheme NAME or --scheme NAME:argument=value,argument=value", 6, view)
    yield from _entry("more", "paraminspect schemes NAME explains one: arguments, source, examples", 6, view)


def explanation(one: Card, view: View | None = None) -> Iterator[str]:
    """Yield the page of one scheme."""
    yield from _entry("", _call(one), 0, view, hang=len(one.name) + 1)
    yield from _entry("", one.summary, 2, view)
    yield "\n"
    yield from _entry("  formula", one.formula, 11, view)
    yield from _entry("  source", one.source, 11, view)
    yield from _entry("  fills", _dimensions(one), 11, view)
    if one.arguments:
        yield "\n  arguments\n"
        width = max(len(_signature(argument)) for argument in one.arguments) + 6
        for argument in one.arguments:
            doc, *more = _meaning(argument)
            yield from _entry(f"    {_signature(argument)}", doc, width, view)
            for text in more:
                yield from _entry("", text, width, view)
    yield "\n  examples\n"
    for example in examples(one):
        yield from _entry("", example, 4, view)


def _entry(head: str, text: str, width: int, view: View | None, hang: int = 0) -> Iterator[str]:
    """Yield `text` beside `head`; what does not fit 80 columns is broken at semicolons, then at spaces."""
    shown = to_ascii(text) if view is not None and view.glyphs.ascii else text
    start, after = f"{head:<{width}}", " " * (width + hang)
    for part in [shown] if width + len(shown) <= WIDTH else re.split("(?<=;) ", shown):
        for line in textwrap.wrap(part, WIDTH, initial_indent=start, subsequent_indent=after, break_on_hyphens=False):
            yield line + "\n"
        start = after


def _call(one: Card) -> str:
    return f"{one.name}({', '.join(map(_signature, one.arguments))})"


def _signature(argument: dict[str, Any]) -> str:
    name: str = argument["name"]
    return name if argument["required"] else f"{name}={argument['default']}"


def _meaning(argument: dict[str, Any]) -> list[str]:
    required = "; required" if argument["required"] else ""
    choices = [f"one of {', '.join(argument['choices'])}"] if argument["choices"] else []
    return [f"{argument['doc']}{required}", *choices]


def _dimensions(one: Card) -> str:
    low, high = one.min_ndim, one.max_ndim
    if high is None:
        return f"tensors of at least {low} dimensions" if low else "tensors of any shape"
    return f"tensors of {low} dimensions" if low == high else f"tensors of {low} to {high} dimensions"


def examples(one: Card) -> list[str]:
    """Return a command that runs as it stands, and the same rule as a spec has it."""
    given = _EXAMPLES.get(one.name) or {a["name"]: 0.5 for a in one.arguments if a["required"]}
    scheme = ":".join(filter(None, [one.name, ",".join(f"{name}={value}" for name, value in given.items())]))
    rule = "".join(f", {name}: {value}" for name, value in given.items())
    return [_command(one, scheme), f"- {{params: '*.weight', scheme: {one.name}{rule}}}"]


def _command(one: Card, scheme: str) -> str:
    """Return the command line; a scheme that fills no matrix needs another model than the built-in one."""
    if one.min_ndim <= 2:
        return f"paraminspect init --scheme {scheme}"
    return f"echo '{{layers: [{{Conv1d: [2, 2, 3]}}]}}' | paraminspect init - --scheme {scheme}"
