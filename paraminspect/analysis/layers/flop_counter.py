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
        kwargs = kwargs or {}
        if func not in self._counts:
            self._counts[func] = self._counter_of(func)
        count = self._counts[func]
        return func(*args, **kwargs) if count is None else count(func, args, kwargs)

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
        packet = getattr(func, "_overloadpacket", func)
        key = packet, tuple(map(_shape, args))
        flops = self._known.get(key) if not kwargs else None
        if flops is None:
            try:
                flops = int(self._formulas[packet](*args, **kwargs, out_val=output))
            except Exception:  # a formula that torch has for other arguments than these
                self._work.uncounted[str(packet), self._calls.module] += 1
                return output
            if not kwargs:
                self._known[key] = flops
        self._work.flops[self._calls.module] += flops
        return output

    def _composite(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with self:
            output = func.decompose(*args, **kwargs)
        return func(*args, **kwargs) if output is NotImplemented else output

    def _named(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._work.uncounted[str(getattr(func, "_overloadpacket", func)), self._calls.module] += 1
        return func(*args, **kwargs)

    @property
    def _work(self) -> Work:
        return self.backward if self._calls.in_backward else self.forward


def _shape(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.shape
    return tuple(map(_shape, value)) if isinstance(value, (list, tuple)) else value
