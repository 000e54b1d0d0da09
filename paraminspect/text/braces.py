"""Sets of numbers in the notation that bash expands: ``{0..31}``, ``{0..62..2}``, ``{0,2,4}``, ``{{0..6},{8..31}}``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence


def braces(numbers: Sequence[int]) -> str:
    """Return the pattern that expands to these numbers, which ascend, and to no others."""
    if len(numbers) == 1:
        return str(numbers[0])
    if _end_of_run(numbers, 0) == len(numbers):
        return min(f"{{{_listed(numbers)}}}", _sequence(numbers), key=len)
    return f"{{{','.join(_parts(numbers))}}}"


def _parts(numbers: Sequence[int]) -> Iterator[str]:
    """Yield a sequence for every run that is shorter so, and one by one the numbers of no such run."""
    at = 0
    while at < len(numbers):
        run = numbers[at : _end_of_run(numbers, at)]
        if len(_sequence(run)) >= len(_listed(run)):
            run = run[:1]
        yield str(run[0]) if len(run) == 1 else _sequence(run)
        at += len(run)


def _end_of_run(numbers: Sequence[int], at: int) -> int:
    """Return where the numbers from `at` on stop growing by the same step."""
    end = at + 1
    while end < len(numbers) and numbers[end] - numbers[end - 1] == numbers[at + 1] - numbers[at]:
        end += 1
    return end


def _sequence(run: Sequence[int]) -> str:
    step = run[-1] - run[-2] if len(run) > 1 else 1
    return f"{{{run[0]}..{run[-1]}}}" if step == 1 else f"{{{run[0]}..{run[-1]}..{step}}}"


def _listed(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def pattern(names: Sequence[str]) -> str | None:
    """Return what expands to these names, which differ in one number between two dots; None where they do not."""
    parts = [name.split(".") for name in names]
    if len({len(one) for one in parts}) != 1:
        return None
    differing = [at for at, column in enumerate(zip(*parts, strict=True)) if len(set(column)) > 1]
    if len(differing) != 1 or not all(map(_is_plain, parts[0])):
        return None
    (at,) = differing
    column = [one[at] for one in parts]
    if not all(map(_NUMBER.fullmatch, column)) or len(set(column)) < len(column):
        return None
    return ".".join([*parts[0][:at], braces(sorted(map(int, column))), *parts[0][at + 1 :]])


_NUMBER = re.compile("0|[1-9][0-9]{0,14}")


def _is_plain(part: str) -> bool:
    """Tell whether a shell takes a part of a name as it is."""
    return part.isascii() and part.replace("_", "a").isalnum()
