"""`schemes`: the list of them and the page of one, and both as objects."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain, groupby
from typing import Any

from paraminspect.frozen import dataclass
from paraminspect.init.schemes.bound_scheme import BoundScheme
from paraminspect.init.schemes.scheme import REQUIRED, Argument, Gain, Scheme, Shape
from paraminspect.page.parts import Code, Page
from paraminspect.text.escape import View
from paraminspect.text.numbers import UNKNOWN, figure

WIDTH = 80


@dataclass(frozen=True)
class Expected:
    """A scheme with its arguments, and the shapes to say for what it gives them."""

    scheme: BoundScheme
    shapes: tuple[Shape, ...]


def schemes_object(schemes: Sequence[Scheme]) -> dict[str, Any]:
    """Return what the schemes tell about themselves as one object for JSON."""
    return {"schema": "paraminspect.schemes", "version": 1, "schemes": list(map(_plain, schemes))}


def scheme_object(scheme: Scheme, expected: Expected | None) -> dict[str, Any]:
    """Return what one scheme tells about itself, its gains and what it gives tensors of some shapes among it."""
    page = {**_plain(scheme), "notes": list(scheme.notes)}
    if scheme.gains is not None:
        page["gains"] = list(map(asdict, scheme.gains()))
    if expected is not None:
        page["given"] = expected.scheme.args
        page["shapes"] = [_plain_shape(expected.scheme, shape) for shape in expected.shapes]
    return {"schema": "paraminspect.schemes", "version": 1, "schemes": [page]}


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


def overview(schemes: Sequence[Scheme], view: View) -> Page:
    """Return the schemes by family, a formula each, and how to use one."""
    width = max((len(one.name) for one in schemes), default=0) + 4
    families = [
        _block([family], *(_entry(f"  {one.name}", one.formula, width, view) for one in members))
        for family, members in groupby(schemes, key=lambda one: one.family)
    ]
    use = _entry("use", "--scheme NAME or --scheme NAME:argument=value,argument=value", 6, view)
    more = _entry("more", "paraminspect schemes NAME explains one: arguments, source, examples", 6, view)
    return Page("", "", (), [*families, _block(use, more)])


def explanation(scheme: Scheme, view: View, expected: Expected | None = None) -> Page:
    """Return the page of one scheme, with what it gives tensors of some shapes."""
    parts = [
        _block(_entry("", _call(scheme), 0, view, len(scheme.name) + 1), _entry("", scheme.summary, 2, view)),
        _block(
            _entry("  formula", scheme.formula, 11, view),
            _entry("  source", scheme.source, 11, view),
            _entry("  fills", _dimensions(scheme), 11, view),
        ),
    ]
    if scheme.arguments:
        parts.append(_arguments(scheme, view))
    if scheme.gains is not None:
        parts.append(_block(["  gains"], _gains(scheme.gains(), view)))
    parts += [_block(_entry("", note, 2, view)) for note in scheme.notes]
    if expected is not None:
        parts.append(_block(_entry("", f"expected of {expected.scheme}", 2, view), _expectations(expected, view)))
    parts.append(_block(["  examples"], *(_entry("", example, 4, view) for example in examples(scheme))))
    return Page("", "", (), parts)


def _block(*lines: Iterable[str]) -> Code:
    return Code("\n".join(chain(*lines)))


def _arguments(scheme: Scheme, view: View) -> Code:
    width = max(len(_signature(argument)) for argument in scheme.arguments) + 6
    entries = []
    for argument in scheme.arguments:
        doc, *more = _meaning(argument)
        entries.append(_entry(f"    {_signature(argument)}", doc, width, view))
        entries += [_entry("", text, width, view) for text in more]
    return _block(["  arguments"], *entries)


def _gains(gains: Sequence[Gain], view: View) -> Iterator[str]:
    """Yield the gains of the usual activations, torch's beside them."""
    unknown = view.sentence(UNKNOWN)
    rows = [
        [
            one.nonlinearity,
            *(unknown if gain is None else f"{gain:.6f}" for gain in (one.second_moment, one.gradient, one.torch)),
        ]
        for one in gains
    ]
    return _table(["nonlinearity", "second_moment", "gradient", "torch"], rows)


def _expectations(expected: Expected, view: View) -> Iterator[str]:
    """Yield what the scheme gives a tensor of each shape, a row a shape; without fans where it uses none."""
    rows = [_plain_shape(expected.scheme, shape) for shape in expected.shapes]
    fans = any(row["fan_in"] is not None for row in rows)
    keys = [key for key in rows[0] if key not in ("shape", "fan_in", "fan_out") or (fans and key != "shape")]
    shapes = [view.sentence("×".join(map(str, row["shape"]))) for row in rows]
    cells = [[shape, *(_cell(row, key, view) for key in keys)] for shape, row in zip(shapes, rows, strict=True)]
    return _table(["shape", *keys], cells)


def _cell(row: dict[str, Any], key: str, view: View) -> str:
    """Return one figure; a bound that does not exist is no unknown one."""
    is_open = key in ("low", "high") and row[key] is None and row["std"] is not None
    return "none" if is_open else view.sentence(figure(row[key], digits=7))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows under their heads: the first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        first, *others = row
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        yield f"    {'  '.join(cells)}".rstrip()


def _entry(head: str, text: str, width: int, view: View, hang: int = 0) -> Iterator[str]:
    """Yield `text` beside `head`; what does not fit 80 columns is broken at semicolons, then at spaces."""
    shown = view.sentence(text)
    start, after = f"{head:<{width}}", " " * (width + hang)
    for part in [shown] if width + len(shown) <= WIDTH else re.split("(?<=;) ", shown):
        yield from textwrap.wrap(part, WIDTH, initial_indent=start, subsequent_indent=after, break_on_hyphens=False)
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
