"""Count the floating-point operations of every operation that runs, on the module that runs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from paraminspect.analysis.layers.flop_formulas import formulas, has_work
from paraminspect.analysis.layers.layer_calls import LayerCalls


@dataclass
class Work:
    """The operations that ran, by the id of the module, None where none ran; and what could not be counted."""

    flops: Counter[int | None] = field(default_factory=Counter)
    uncounted: Counter[tuple[str, int | None]] = field(default_factory=Counter)


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves its methods untyped
    """See every operation after autograd and autocast; a composite one as what it is made of."""

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Leave `__torch_dispatch__` as it is: what torch puts around it imports the compiler, which takes seconds."""
        return False

    def __init__(self, calls: LayerCalls) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.forward, self.backward = Work(), Work()
        self._calls = calls
        self._formulas = formulas()
        self._counts: dict[Any, Callable[..., Any] | None] = {}
        self._known: dict[Any, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func not in self._counts:
            self._counts[func] = self._counter_of(func)
        count = self._counts[func]
        if count is not None:
            return count(func, args, kwargs or {})
        return func(*args, **kwargs) if kwargs else func(*args)

    def _counter_of(self, func: Any) -> Callable[..., Any] | None:
        """Return what counts an operation; None where there is nothing to count."""
        packet = getattr(func, "_overloadpacket", func)
        if packet in self._formulas:
            return self._counted
        if isinstance(func, torch._ops.OpOverload):
            if func.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd):
                return self._composite
            return self._named if has_work(func) else None
        return self._named if has_work(packet) else None

    def _counted(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output = func(*args, **kwargs)
        work = self.backward if self._calls.in_backward else self.forward
        if kwargs:
            flops = self._formula(func, args, kwargs, output)
        else:
            key = func, *[value.shape if isinstance(value, Tensor) else _shape(value) for value in args]
            if key not in self._known:
                self._known[key] = self._formula(func, args, kwargs, output)
            flops = self._known[key]
        if flops < 0:
            work.uncounted[str(getattr(func, "_overloadpacket", func)), self._calls.module] += 1
        else:
            work.flops[self._calls.module] += flops
        return output

    def _formula(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
        """Return the operations of one call; -1 where the formula raises, being one for other arguments."""
        try:
            return int(self._formulas[getattr(func, "_overloadpacket", func)](*args, **kwargs, out_val=output))
        except Exception:
            return -1

    def _composite(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with self:
            output = func.decompose(*args, **kwargs)
        return func(*args, **kwargs) if output is NotImplemented else output

    def _named(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        work = self.backward if self._calls.in_backward else self.forward
        work.uncounted[str(getattr(func, "_overloadpacket", func)), self._calls.module] += 1
        return func(*args, **kwargs)


def _shape(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.shape
    return tuple(map(_shape, value)) if isinstance(value, (list, tuple)) else value
