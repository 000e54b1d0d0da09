"""What every source yields: a module, how to make its input, and where it came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from paraminspect.report import Source
from paraminspect.spec.model import Input

Batch = tuple[tuple[Tensor, Input], ...]


@dataclass(frozen=True)
class Subject:
    """A module to inspect.

    `make_input` draws the inputs, each with what it was drawn from; it is None when no input is known, and
    `why_no_input` then says which option to pass. `declared_ties` are the names meant to be one Parameter.
    """

    module: nn.Module
    source: Source
    seed: int | None
    make_input: Callable[[], Batch] | None
    why_no_input: str
    loss: str
    declared_ties: tuple[tuple[str, ...], ...] = ()
