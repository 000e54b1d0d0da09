"""What a forward may be run on where nobody says so: one value an argument, and who it is owed to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from paraminspect.frozen import dataclass
from paraminspect.modules.nested_tensors import dtype_name
from paraminspect.modules.subject import Batch, Given
from paraminspect.report import TensorInfo
from paraminspect.sources.sequential import draw
from paraminspect.spec.model import Input

Value = Any
"""An Input to draw, a Tensor to hand over, a list or a mapping of these; anything else is handed over as it is."""


@dataclass(frozen=True)
class ArgumentGuess:
    """The arguments of one forward; a name that begins with ``#`` is a place: ``#0`` is the first by position."""

    values: Mapping[str, Value]
    origin: str

    def drawn(self, dtype: torch.dtype, device: str) -> Batch:
        """Draw the arguments in their order."""
        given = []
        for name, value in self.values.items():
            sample = value.sample if isinstance(value, Input) else None
            given.append(Given(_drawn(value, dtype, device), None if name.startswith("#") else name, sample))
        return Batch(tuple(given), self.origin)

    def with_value(self, name: str, value: Value) -> ArgumentGuess:
        """Return this with another value for one argument, or with one more."""
        return replace(self, values={**self.values, name: value})

    @property
    def key(self) -> str:
        """Return what tells it from other guesses."""
        return repr({name: _outline(value) for name, value in self.values.items()})

    def described(self) -> Iterator[TensorInfo]:
        """Describe what would be drawn, as a report does."""
        for name, value in self.values.items():
            shown = None if name.startswith("#") else name
            for part in _parts(value):
                if isinstance(part, Input):
                    dtype = part.dtype or ("int64" if part.bounds else None)
                    yield TensorInfo(shown, part.shape, dtype or dtype_name(torch.get_default_dtype()), "", part.sample)
                elif isinstance(part, Tensor):
                    yield TensorInfo(shown, tuple(part.shape), dtype_name(part.dtype), str(part.device), None)


def _drawn(value: Value, dtype: torch.dtype, device: str) -> Any:
    if isinstance(value, Input):
        return draw(value, dtype, device)
    if isinstance(value, Tensor):
        return value.to(device, copy=True)
    if isinstance(value, list):
        return [_drawn(item, dtype, device) for item in value]
    if isinstance(value, dict):
        return {key: _drawn(item, dtype, device) for key, item in value.items()}
    return value


def _parts(value: Value) -> Iterator[Value]:
    if isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _parts(item)
    else:
        yield value


def _outline(value: Value) -> Any:
    """Return what is left of a value without the numbers in it."""
    if isinstance(value, Input):
        return value.shape, value.sample, value.dtype
    if isinstance(value, list):
        return [_outline(item) for item in value]
    if isinstance(value, dict):
        return {key: _outline(item) for key, item in value.items()}
    return (tuple(value.shape), value.dtype) if isinstance(value, Tensor) else repr(value)
