"""Modules that are one object under several names: one fact each, however many tensors they hold.

Facts that differ in one number alone are told together, in the notation of bash: that ``block.0.mlp2`` is
``block.0.mlp3``, and ``block.1.mlp2`` is ``block.1.mlp3``, is ``block.{0,1}.mlp2 = block.{0,1}.mlp3``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

from paraminspect.page.repeated_blocks import FEWEST_ROWS, HOLE, HollowName, parse_name
from paraminspect.page.several import members_of
from paraminspect.report import Parameter, Report, Sharing
from paraminspect.text.braces import braces
from paraminspect.text.escape import View, code
from paraminspect.text.numbers import plural

FEWEST_TENSORS = 2
"""A module with fewer is no shorter to tell than its tensor."""
_VARIABLE = -1


class SharedModules(NamedTuple):
    """Modules alike, each one object under `names`, spelled together; `groups` are their tensors, `tensors` of each."""

    names: tuple[str, ...]
    type: str
    times: int
    tensors: tuple[str, ...]
    groups: tuple[Sharing, ...]

    @property
    def title(self) -> str:
        """Return the names in one sentence."""
        return " = ".join(map(code, self.names))


class _Module(NamedTuple):
    names: tuple[str, ...]
    groups: tuple[Sharing, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """Return the names of its tensors as seen from it."""
        return tuple(group.names[0][len(self.names[0]) + 1 :] for group in self.groups)


def shared_modules(report: Report, view: View) -> list[SharedModules]:
    """Return what is told of modules and no more of each of their tensors; nothing where all rows are wanted."""
    if not view.fold or view.on_paper:
        return []
    found: dict[tuple[str, ...], list[Sharing]] = {}
    for group in report.sharing:
        if group.module_names and len(group.names) == len(group.module_names):
            found.setdefault(group.module_names, []).append(group)
    modules = [_Module(names, tuple(groups)) for names, groups in found.items() if len(groups) >= FEWEST_TENSORS]
    alike: dict[Hashable, list[_Module]] = {}
    for module in modules:
        alike.setdefault(_kind(module), []).append(module)
    return [told for members in alike.values() for told in _told(members)]


def told_of_modules(found: Sequence[SharedModules]) -> frozenset[str]:
    """Return the first names of the tensors that are told of as parts of modules."""
    return frozenset(group.names[0] for one in found for group in one.groups)


def elided(rows: Sequence[Parameter], found: Sequence[SharedModules]) -> frozenset[str]:
    """Return of which rows of a table other names and uses are left out; of none in a short table."""
    tensors = sum(len(members_of(row)) for row in rows)
    return told_of_modules(found) if tensors >= FEWEST_ROWS else frozenset()


def what_is_elided(rows: Sequence[Parameter], names: frozenset[str]) -> str:
    """Say of how many tensors other names are left out; nothing where of none."""
    count = sum(member.name in names for row in rows for member in members_of(row))
    return f"the other names of {plural(count, 'tensor')} are those of their modules: see shared" if count else ""


def _kind(module: _Module) -> Hashable:
    """Return what modules agree in that may be told together: names but for numbers, tensors, verdicts."""
    parsed = [parse_name(name) for name in module.names]
    names = module.names if None in parsed else tuple(name.parts for name in parsed if name)
    verdicts = [(group.kind, group.verdict, group.origin, group.numel) for group in module.groups]
    return (names, module.tensors, tuple(verdicts), module.groups[0].module_type)


def _told(members: Sequence[_Module]) -> Iterator[SharedModules]:
    """Yield the modules of a kind: together, if one number tells them apart, else each by itself."""
    numbers = [tuple(number for name in one.names for number in _parsed(name).numbers) for one in members]
    varying = [column for column in zip(*numbers, strict=True) if len(set(column)) > 1]
    together = len(members) > 1 and len(set(varying)) == 1 and len(set(varying[0])) == len(members)
    for group in [members] if together else [[one] for one in members]:
        values = sorted(varying[0]) if together else []
        first = group[0]
        hollow = [_parsed(name) for name in first.names]
        flags = iter([together and len(set(column)) > 1 for column in zip(*numbers, strict=True)])
        spelled = [
            HollowName(one.parts, tuple(_VARIABLE if next(flags) else n for n in one.numbers), ()) for one in hollow
        ]
        yield SharedModules(
            tuple(_compressed(spelled, values)),
            first.groups[0].module_type or "",
            len(group),
            first.tensors,
            tuple(shared for one in group for shared in one.groups),
        )


def _parsed(name: str) -> HollowName:
    return parse_name(name) or HollowName((name,), (), ())


def _compressed(names: Sequence[HollowName], values: Sequence[int]) -> Iterator[str]:
    """Yield patterns for names: one for those that differ in one number, with all `values` where that is variable."""
    alike: dict[tuple[str, ...], list[tuple[int, ...]]] = {}
    for name in names:
        alike.setdefault(name.parts, []).append(name.numbers)
    for parts, numbers in alike.items():
        if len(alike) == 1:  # one pattern would not say what is one object with what
            yield from (_spelled(parts, [[number] for number in row], values) for row in numbers)
            return
        differing = [at for at, column in enumerate(zip(*numbers, strict=True)) if len(set(column)) > 1]
        column = [row[differing[0]] for row in numbers] if len(differing) == 1 else []
        if column and _VARIABLE not in column and len(set(column)) == len(column):
            yield _spelled(
                parts, [sorted(column) if at in differing else [n] for at, n in enumerate(numbers[0])], values
            )
        else:
            yield from (_spelled(parts, [[number] for number in row], values) for row in numbers)


def _spelled(parts: tuple[str, ...], sets: Sequence[Sequence[int]], values: Sequence[int]) -> str:
    filled = iter([values if list(one) == [_VARIABLE] else one for one in sets])
    return ".".join(part[: -len(HOLE)] + braces(next(filled)) if part.endswith(HOLE) else part for part in parts)


def uses_of_each(report: Report, found: SharedModules) -> str:
    """Say how often the tensors of the modules are used, each; nothing where no use is known."""
    wanted = {group.names[0] for group in found.groups}
    counts = Counter(use.parameter for use in report.uses if use.parameter in wanted)
    if not counts:
        return ""
    low, high = min(counts.values()), max(counts.values())
    times = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return "used once" if times == "1" else f"used {times} times"
