"""The list of schemes and the page of one, as text and as JSON."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from paraminspect.init.schemes.bound_scheme import BoundScheme
from paraminspect.init.schemes.scheme import REQUIRED, Argument, Gain, Scheme, Shape
from paraminspect.render.json import dumps
from paraminspect.text.escape import to_ascii
from paraminspect.text.numbers import UNKNOWN, figure
from paraminspect.text.view import View

WIDTH = 80


@dataclass(frozen=True)
class Expected:
    """A scheme with its arguments, and the shapes to say for what it gives them."""

    scheme: BoundScheme
    shapes: tuple[Shape, ...]


def as_json(schemes: Sequence[Scheme]) -> str:
    """Return what the schemes tell about themselves as one JSON object."""
    return dumps({"schema": "paraminspect.schemes", "version": 1, "schemes": list(map(_plain, schemes))})


def page_as_json(scheme: Scheme, expected: Expected | None = None) -> str:
    """Return what one scheme tells about itself, its gains and what it gives tensors of some shapes among it."""
    page = {**_plain(scheme), "notes": list(scheme.notes)}
    if scheme.gains is not None:
        page["gains"] = list(map(asdict, scheme.gains()))
    if expected is not None:
        page["given"] = expected.scheme.args
        page["shapes"] = [_plain_shape(expected.scheme, shape) for shape in expected.shapes]
    return dumps({"schema": "paraminspect.schemes", "version": 1, "schemes": [page]})


def _plain_shape(scheme: BoundScheme, shape: Shape) -> dict[str, Any]:
    fan_in, fan_out = scheme.fans(shape) or (None, None)
    found = scheme.moments(shape)
    solved = {key: value for key, value in scheme.solution.items() if isinstance(value, float)}
    figures = {"mean": found.mean, "std": found.std, "low": found.low, "high": found.high}
    return {"shape": list(shape), "fan_in": fan_in, "fan_out": fan_out, **solved, **figures}


def _plain(scheme: Scheme) -> dict[str, Any]:
    keys = ("name", "family", "summary", "formula", "source", "uses_fans", "min_ndim", "max_ndim")
    return {**{key: getattr(scheme, key) for key in keys}, "arguments": list(map(_plain_argument, scheme.arguments))}


def _plain_argument(argument: Argument) -> dict[str, Any]:
    required = argument.default is REQUIRED
    return {
        "name": argument.name,
        "type": argument.type,
        "required": required,
        "default": None if required else argument.default,
        "choices": list(argument.choices),
        "doc": argument.doc,
    }


def overview(schemes: Sequence[Scheme], view: View) -> Iterator[str]:
    """Yield the schemes by family, a formula each, and how to use one."""
    width = max((len(one.name) for one in schemes), default=0) + 4
    for family, members in groupby(schemes, key=lambda one: one.family):
        yield f"{family}\n"
        for one in members:
            yield from _entry(f"  {one.name}", one.formula, width, view)
        yield "\n"
    yield from _entry("use", "--scheme NAME or --scheme NAME:argument=value,argument=value", 6, view)
    yield from _entry("more", "paraminspect schemes NAME explains one: arguments, source, examples", 6, view)


def explanation(scheme: Scheme, view: View, expected: Expected | None = None) -> Iterator[str]:
    """Yield the page of one scheme, with what it gives tensors of some shapes."""
    yield from _entry("", _call(scheme), 0, view, hang=len(scheme.name) + 1)
    yield from _entry("", scheme.summary, 2, view)
    yield "\n"
    yield from _entry("  formula", scheme.formula, 11, view)
    yield from _entry("  source", scheme.source, 11, view)
    yield from _entry("  fills", _dimensions(scheme), 11, view)
    if scheme.arguments:
        yield from _arguments(scheme, view)
    if scheme.gains is not None:
        yield from _gains(scheme.gains(), view)
    for note in scheme.notes:
        yield "\n"
        yield from _entry("", note, 2, view)
    if expected is not None:
        yield from _expectations(expected, view)
    yield "\n  examples\n"
    for example in examples(scheme):
        yield from _entry("", example, 4, view)


def _arguments(scheme: Scheme, view: View) -> Iterator[str]:
    yield "\n  arguments\n"
    width = max(len(_signature(argument)) for argument in scheme.arguments) + 6
    for argument in scheme.arguments:
        doc, *more = _meaning(argument)
        yield from _entry(f"    {_signature(argument)}", doc, width, view)
        for text in more:
            yield from _entry("", text, width, view)


def _gains(gains: Sequence[Gain], view: View) -> Iterator[str]:
    """Yield the gains of the usual activations, torch's beside them."""
    rows = [
        [one.nonlinearity, *(_gain(value, view) for value in (one.second_moment, one.gradient, one.torch))]
        for one in gains
    ]
    yield "\n  gains\n"
    yield from _table(["nonlinearity", "second_moment", "gradient", "torch"], rows)


def _expectations(expected: Expected, view: View) -> Iterator[str]:
    """Yield what the scheme gives a tensor of each shape, a row a shape; without fans where it uses none."""
    rows = [_plain_shape(expected.scheme, shape) for shape in expected.shapes]
    fans = any(row["fan_in"] is not None for row in rows)
    keys = [key for key in rows[0] if key not in ("shape", "fan_in", "fan_out") or (fans and key != "shape")]
    yield "\n"
    yield from _entry("", f"expected of {expected.scheme}", 2, view)
    yield from _table(["shape", *keys], [[_shape(row, view), *(_cell(row, key, view) for key in keys)] for row in rows])


def _shape(row: dict[str, Any], view: View) -> str:
    return ("x" if view.glyphs.ascii else "×").join(map(str, row["shape"]))


def _cell(row: dict[str, Any], key: str, view: View) -> str:
    """Return one figure; a bound that does not exist is no unknown one."""
    is_open = key in ("low", "high") and row[key] is None and row["std"] is not None
    return "none" if is_open else _figure(row[key], view)


def _gain(value: float | None, view: View) -> str:
    return ("-" if view.glyphs.ascii else UNKNOWN) if value is None else f"{value:.6f}"


def _figure(value: float | None, view: View) -> str:
    return figure(value, digits=7)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows under their heads: the first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        first, *others = row
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        yield f"    {'  '.join(cells)}".rstrip() + "\n"


def _entry(head: str, text: str, width: int, view: View, hang: int = 0) -> Iterator[str]:
    """Yield `text` beside `head`; what does not fit 80 columns is broken at semicolons, then at spaces."""
    shown = to_ascii(text) if view.glyphs.ascii else text
    start, after = f"{head:<{width}}", " " * (width + hang)
    for part in [shown] if width + len(shown) <= WIDTH else re.split("(?<=;) ", shown):
        for line in textwrap.wrap(part, WIDTH, initial_indent=start, subsequent_indent=after, break_on_hyphens=False):
            yield line + "\n"
        start = after


def _call(scheme: Scheme) -> str:
    return f"{scheme.name}({', '.join(map(_signature, scheme.arguments))})"


def _signature(argument: Argument) -> str:
    return argument.name if argument.default is REQUIRED else f"{argument.name}={argument.default}"


def _meaning(argument: Argument) -> list[str]:
    required = "; required" if argument.default is REQUIRED else ""
    choices = [f"one of {', '.join(argument.choices)}"] if argument.choices else []
    return [f"{argument.doc}{required}", *choices]


def _dimensions(scheme: Scheme) -> str:
    low, high = scheme.min_ndim, scheme.max_ndim
    if scheme.biases:
        return "tensors of at least 2 dimensions, and biases"
    if high is None:
        return f"tensors of at least {low} dimensions" if low else "tensors of any shape"
    return f"tensors of {low} dimensions" if low == high else f"tensors of {low} to {high} dimensions"


def examples(scheme: Scheme) -> list[str]:
    """Return a command that runs as it stands, and the same rule as a spec has it."""
    given = scheme.example.split(",") if scheme.example else []
    rule = "".join(f", {one.replace('=', ': ')}" for one in given)
    return [_command(scheme), f"- {{params: '*.weight', scheme: {scheme.name}{rule}}}"]


def _command(scheme: Scheme) -> str:
    """Return the command line; a scheme that fills no matrix needs another model than the built-in one."""
    text = f"{scheme.name}:{scheme.example}" if scheme.example else scheme.name
    if scheme.min_ndim <= 2:
        return f"paraminspect init --scheme {text}"
    return f"echo '{{layers: [{{Conv1d: [2, 2, 3]}}]}}' | paraminspect init - --scheme {text}"
