"""What a rule is, and what it yields: a problem, told of names that can still be left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from paraminspect.frozen import dataclass

SEVERITIES: Final = ("error", "warning", "note")
"""How bad a finding is, the worst first: an error is certain, a warning likely, a note is worth knowing."""


def is_as_bad(severity: str, least: str) -> bool:
    """Tell whether something is as bad as `least`, or worse."""
    return SEVERITIES.index(severity) <= SEVERITIES.index(least)


Limits = Mapping[str, float]
"""The threshold of each rule that has one, by its ID."""


@dataclass(frozen=True)
class Threshold:
    """The number that a rule goes by: what it is unless another is given, what it means, where it comes from.

    Another has to be from `least` to `most`; a `most` of None is no bound.
    """

    default: float
    meaning: str
    least: float = 0.0
    most: float | None = None


@dataclass(frozen=True)
class CheckRule:
    """One rule: its ID, its name, how bad what it finds is at the worst, and the page that explains it.

    `example` is code with the fault in it. A rule that is not `on` runs only where it is selected by its own ID.
    """

    id: str
    name: str
    severity: str
    finds: str
    why: str
    example: str
    remedy: str
    threshold: Threshold | None = None
    on: bool = True


@dataclass(frozen=True)
class Problem:
    """What a rule found: how bad, of which sort, of which `names`, and what to try.

    `say` makes the sentence from names, `names` themselves or those of them that are not to be ignored; names from an
    input are marked in it. Without names it is about the model as a whole. `rule` is empty for what no rule is about:
    that something could not be run. `where` is given where that is none of `names`: the file that tensors lie in.
    """

    rule: str
    severity: str
    about: str
    names: tuple[str, ...]
    say: Callable[[Sequence[str]], str]
    hint: str = ""
    where: str = ""

    @property
    def text(self) -> str:
        """Return the sentence about all names."""
        return self.say(self.names)


def of_model(rule: str, severity: str, about: str, text: str, hint: str = "") -> Problem:
    """Return a problem that is about the model as a whole."""
    return Problem(rule, severity, about, (), lambda _: text, hint)
