"""The list of schemes and the page of one, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from paraminspect.render.json import dumps


class _Argument(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def default(self) -> Any: ...
    @property
    def doc(self) -> str: ...
    @property
    def choices(self) -> tuple[str, ...]: ...


class Described(Protocol):
    """What a scheme tells about itself."""

    @property
    def name(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def formula(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def arguments(self) -> Sequence[_Argument]: ...
    @property
    def uses_fans(self) -> bool: ...
    @property
    def min_ndim(self) -> int: ...
    @property
    def max_ndim(self) -> int | None: ...


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


def as_json(cards: list[Card]) -> str:
    """Return the cards as one JSON object."""
    schemes = [{**vars(card), "arguments": list(card.arguments)} for card in cards]
    return dumps({"schema": "paraminspect.schemes", "version": 1, "schemes": schemes})


def overview(cards: list[Card]) -> Iterator[str]:
    """Yield one line a scheme, by family."""
    width = max(len(_call(card)) for card in cards)
    family = ""
    for one in cards:
        if one.family != family:
            family = one.family
            yield f"{'' if one is cards[0] else chr(10)}{family}\n"
        yield f"  {one.name:<18}{one.formula}\n"
    yield "\nA scheme on the command line: --scheme NAME or --scheme NAME:argument=value,argument=value\n"
    yield f"paraminspect schemes NAME explains one{'' if width else ''}.\n"


def _call(one: Card) -> str:
    return f"{one.name}({', '.join(_signature(argument) for argument in one.arguments)})"


def _signature(argument: dict[str, Any]) -> str:
    return argument["name"] if argument["required"] else f"{argument['name']}={argument['default']}"


def explanation(one: Card) -> Iterator[str]:
    """Yield the page of one scheme."""
    yield f"{_call(one)}\n  {one.summary}\n\n"
    yield f"  formula  {one.formula}\n  source   {one.source}\n  fills    {_dimensions(one)}\n"
    if one.arguments:
        yield "\n  arguments\n"
    for argument in one.arguments:
        choices = f" One of {', '.join(argument['choices'])}." if argument["choices"] else ""
        yield f"    {_signature(argument):<24}{argument['doc']}{choices}\n"
    yield f"\n  example  {_example(one)}\n"


def _dimensions(one: Card) -> str:
    if one.max_ndim is None:
        return "any tensor" if one.min_ndim == 0 else f"tensors of at least {one.min_ndim} dimensions"
    if one.min_ndim == one.max_ndim:
        return f"tensors of {one.min_ndim} dimensions"
    return f"tensors of {one.min_ndim} to {one.max_ndim} dimensions"


def _example(one: Card) -> str:
    needed = [a for a in one.arguments if a["required"]]
    shown = needed or [a for a in one.arguments if isinstance(a["default"], float)][:1]
    values = {"val": "0", "sparsity": "0.5", "std": "0.02", "gain": "2"}
    given = ",".join(f"{a['name']}={values.get(a['name'], a['default'])}" for a in shown if a["name"] in values)
    return f"paraminspect init --scheme {one.name}{':' + given if given else ''}"
