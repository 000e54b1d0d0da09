"""What lies deep in a model, summed up: one row a module."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from paraminspect.render.several import sum_up
from paraminspect.report import Parameter


def at_depth(rows: Sequence[Parameter], depth: int) -> list[Parameter]:
    """Return the rows whose names have at most `depth` components, and one row a module for those below it.

    Kinds stay apart. A module's row stands where the first of its tensors stood.
    """
    groups: dict[Hashable, list[Parameter]] = {}
    for index, row in enumerate(rows):
        module = _module(row.name, depth)
        groups.setdefault((row.kind, module) if module else index, []).append(row)
    return [_one_row(members, depth) for members in groups.values()]


def _module(name: str, depth: int) -> str:
    """Return the first components of a longer name; nothing for a name that is short enough."""
    parts = name.split(".", depth)
    return ".".join(parts[:depth]) if len(parts) > depth else ""


def _one_row(members: list[Parameter], depth: int) -> Parameter:
    module = _module(members[0].name, depth)
    return sum_up(members, module, tensors=len(members)) if module else members[0]
