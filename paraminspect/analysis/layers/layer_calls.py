"""How often each module ran, what it took and returned, and which one made a node of autograd's graph."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from paraminspect.analysis.layers.tensor_places import layer_tensors
from paraminspect.analysis.passes.running_modules import Running
from paraminspect.modules.walk import Walk
from paraminspect.report import LayerTensor


@dataclass
class ModuleCalls:
    """How often a module was called in the forward; what its first call took and returned, None if that raised."""

    calls: int = 0
    inputs: tuple[LayerTensor, ...] | None = None
    outputs: tuple[LayerTensor, ...] | None = None
    varied: bool = False


class LayerCalls(Running):
    """Keep what each module took and returned, by its id.

    In a backward, where a checkpoint runs modules again, nothing is kept but who ran.
    """

    with_kwargs = True

    def __init__(self, modules: Walk) -> None:
        super().__init__(modules)
        self.of: dict[int, ModuleCalls] = {}
        self.in_backward = False
        self._numbers: list[int] = []  # from which sequence number of autograd on …
        self._modules: list[int | None] = []  # … which module was running, by its id; None for none

    @property
    def module(self) -> int | None:
        """Return the id of the innermost module that runs now, in a backward of the one whose node does."""
        if self.stack:
            return id(self.stack[-1].module)
        node = torch._C._current_autograd_node() if self.in_backward else None
        if node is None:
            return None
        at = bisect_right(self._numbers, node._sequence_nr()) - 1
        return self._modules[at] if at >= 0 else None

    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        super()._enter(module, args)
        key = id(module)
        if key in self.names:
            self._turn(key)
            if not self.in_backward:
                found = self.of.get(key)
                if found is None:
                    found = self.of[key] = ModuleCalls()
                found.calls += 1

    def _leave(self, module: nn.Module, args: Any, *rest: Any) -> None:
        """Take the module from the stack; after a forward that raised torch leaves the keyword arguments out."""
        kwargs, output = rest if len(rest) == 2 else ({}, rest[0])
        if id(module) in self.names:
            if not self.in_backward:
                self._note(self.of[id(module)], args, kwargs, output)
            super()._leave(module, args, output)
            self._turn(id(self.stack[-1].module) if self.stack else None)

    def _turn(self, module: int | None) -> None:
        """Note that the nodes which are made from now on are this module's."""
        self._numbers.append(torch._C._autograd._get_sequence_nr())
        self._modules.append(module)

    def _note(self, found: ModuleCalls, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        with torch._C.DisableTorchFunction():
            inputs, outputs = layer_tensors(args, kwargs), layer_tensors((output,), {})
        if found.inputs is None:
            found.inputs, found.outputs = inputs, outputs
        elif (found.inputs, found.outputs) != (inputs, outputs):
            found.varied = True
