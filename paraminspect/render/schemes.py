"""The list of schemes and the page of one, as text and as JSON."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from paraminspect.init.scheme import REQUIRED, Argument, Scheme
from paraminspect.render.escape import to_ascii
from paraminspect.render.json import dumps
from paraminspect.render.view import View

WIDTH = 80


def as_json(schemes: Sequence[Scheme]) -> str:
    """Return what the schemes tell about themselves as one JSON object."""
    return dumps({"schema": "paraminspect.schemes", "version": 1, "schemes": list(map(_plain, schemes))})


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


def explanation(scheme: Scheme, view: View) -> Iterator[str]:
    """Yield the page of one scheme."""
    yield from _entry("", _call(scheme), 0, view, hang=len(scheme.name) + 1)
    yield from _entry("", scheme.summary, 2, view)
    yield "\n"
    yield from _entry("  formula", scheme.formula, 11, view)
    yield from _entry("  source", scheme.source, 11, view)
    yield from _entry("  fills", _dimensions(scheme), 11, view)
    if scheme.arguments:
        yield "\n  arguments\n"
        width = max(len(_signature(argument)) for argument in scheme.arguments) + 6
        for argument in scheme.arguments:
            doc, *more = _meaning(argument)
            yield from _entry(f"    {_signature(argument)}", doc, width, view)
            for text in more:
                yield from _entry("", text, width, view)
    yield "\n  examples\n"
    for example in examples(scheme):
        yield from _entry("", example, 4, view)


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
