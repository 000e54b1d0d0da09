"""Count the floating-point operations of every operation that runs, on the module that runs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from paraminspect.analysis.layers.flop_formulas import formulas, has_work
from paraminspect.analysis.layers.layer_calls import LayerCalls

Count = Callable[[Any, tuple[Any, ...], dict[str, Any], Any], None]


@dataclass
class Work:
    """The operations that ran, by the id of the module, None where none ran; and what could not be counted."""

    flops: Counter[int | None] = field(default_factory=Counter)
    uncounted: Counter[tuple[str, int | None]] = field(default_factory=Counter)


class FlopCounter:
    """Count the operations that `LiveStorages` hands on; a composite one is counted as what it is made of."""

    def __init__(self, calls: LayerCalls) -> None:
        self.forward, self.backward = Work(), Work()
        self._calls = calls
        self._formulas = formulas()
        self._known: dict[Any, int] = {}

    def is_made_of_others(self, func: Any) -> bool:
        """Tell whether an operation has no formula and is a sequence of others, each to be counted."""
        if not isinstance(func, torch._ops.OpOverload) or func._overloadpacket in self._formulas:
            return False
        return bool(func.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd))

    def counter_of(self, func: Any) -> Count | None:
        """Return what counts an operation that has run; None where there is nothing to count."""
        packet = getattr(func, "_overloadpacket", func)
        if packet in self._formulas:
            return self._counted
        return self._named if has_work(func if isinstance(func, torch._ops.OpOverload) else packet) else None

    def _counted(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        work = self.backward if self._calls.in_backward else self.forward
        if kwargs:
            flops = self._formula(func, args, kwargs, output)
        else:
            key = func, *[value.shape if isinstance(value, Tensor) else _shape(value) for value in args]
            known = self._known.get(key)
            flops = self._formula(func, args, kwargs, output) if known is None else known
            self._known[key] = flops
        if flops < 0:
            work.uncounted[str(getattr(func, "_overloadpacket", func)), self._calls.module] += 1
        else:
            work.flops[self._calls.module] += flops

    def _formula(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
        """Return the operations of one call; -1 where the formula raises, being one for other arguments."""
        try:
            return int(self._formulas[getattr(func, "_overloadpacket", func)](*args, **kwargs, out_val=output))
        except Exception:
            return -1

    def _named(self, func: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any], _output: Any) -> None:
        work = self.backward if self._calls.in_backward else self.forward
        work.uncounted[str(getattr(func, "_overloadpacket", func)), self._calls.module] += 1


def _shape(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.shape
    return tuple(map(_shape, value)) if isinstance(value, (list, tuple)) else value
