"""Follow the signal in the forward of the passes: one forward then serves both, which backwards run through in turn.

`follow` runs a forward of its own, on a copy of the input that wants a gradient. In the forward of the passes the input
must stay as it is, or the user's numbers would not be those of a script. What the tracer sees is the same as long as

- autograd records every operation of the signal from the first weights on, and a gradient would pass all before it;
- nothing in the graph minds being run back through twice: no Function of the user's, which may keep what it needs only
  once, no hook of theirs on a tensor, no script;
- the forward ends, and the random gradient comes back to where the signal begins.

Where one of these fails, nothing is told here, and `follow` is to be asked. The random gradient is sent back first:
nothing accumulates then, so that no more is held at a time than in the passes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from paraminspect.analysis.passes.losses import compute_loss
from paraminspect.analysis.passes.running_modules import Frame, Watch
from paraminspect.analysis.signal.graph import add_expectations
from paraminspect.analysis.signal.trace import (
    COTANGENT,
    NOT_REACHED,
    Trace,
    doubt_of_norms,
    first_node,
    lost_note,
    named_parameters,
    names_by_id,
    note_input,
    note_outputs,
    note_samples,
)
from paraminspect.analysis.signal.tracer import Tracer
from paraminspect.analysis.signal.weights import Distribution, Weights
from paraminspect.isolation.torch_state import generators_kept
from paraminspect.modules.nested_tensors import nodes_of
from paraminspect.modules.subject import Batch
from paraminspect.modules.walk import Walk


class SignalBeside:
    """What `run_passes` calls while it runs. `drawn` holds what each parameter was drawn from, by its id."""

    def __init__(self, module: nn.Module, drawn: Mapping[int, Distribution], histograms: bool = False) -> None:
        self._module = module
        self._drawn = drawn
        self._histograms = histograms
        self._trace: Trace | None = None
        self._ended = False

    def trace(self) -> Trace | None:
        """Return what `follow` would have; None where only a forward of its own can tell."""
        if self._trace is None or not self._ended:
            return None
        if not self._trace.expected:
            add_expectations(self._trace.graph)
            self._trace.expected = True
        return self._trace

    def begin(self, modules: Walk, watch: Watch, batch: Batch) -> Tracer | None:
        """Return the mode that the forward is to run under; None where it cannot serve."""
        start = next((one.value for one in batch.given if _has_numbers(one.value)), None)
        if start is None or start.requires_grad or start.is_meta:
            return None
        if any(issubclass(type(child), torch.jit.ScriptModule) for _, child in modules.once()):
            return None
        named = named_parameters(modules)
        self._modules, self._watch = modules, watch
        self._weights = Weights((parameter for _, parameter in named), self._drawn)
        # The passes hold the nodes that get hooks, and let go of them in order when the graph is not needed any more.
        self._tracer = Tracer(watch, self._weights, True, self._histograms, watch.nodes)
        self._trace = Trace(self._tracer.graph, names_by_id(named))
        note_input(start, self._tracer, self._trace)
        return self._tracer

    def returned(self, running: Frame, output: object) -> None:
        """Note which node a childless module returned."""
        if self._trace is not None:
            self._trace.calls.append((running.name, first_node(output, self._tracer.node_of)))

    def ended(self, output: object, contain: Callable[[], AbstractContextManager[None]]) -> None:
        """Send the random gradient back. What raises is no exception here, save KeyboardInterrupt."""
        if self._trace is None:
            return
        try:
            self._ended = self._send_back(output, self._trace, contain)
        except KeyboardInterrupt:
            raise
        except BaseException:  # the user's code may exit; its own forward tells
            self._ended = False
        finally:
            self._tracer.let_go()
            self._weights.forget()

    def _send_back(self, output: object, trace: Trace, contain: Callable[[], AbstractContextManager[None]]) -> bool:
        """Tell whether all went as it would after a forward of its own."""
        tracer = self._tracer
        tracer.finish()
        if not tracer.tells_all:
            return False
        note_samples(tracer, trace)
        trace.doubt = doubt_of_norms(self._module, self._modules, trace.graph, trace.samples)
        trace.guessed, trace.reused = self._weights.guessed, tuple(tracer.reused)
        with torch._C.DisableTorchFunction(), torch.no_grad():
            reached = note_outputs(output, tracer, trace.graph)
        if tracer.lost is not None and not reached:
            trace.notes += [NOT_REACHED, lost_note(tracer.lost)]
            return True
        if tracer.lost is not None or not reached or not tracer.roots:
            return False
        with generators_kept(), self._watch.unheard(), contain():
            start = compute_loss(COTANGENT, output)
            if not start.requires_grad or any(isinstance(node, _OWN) for node in nodes_of(start)):
                return False
            torch.autograd.grad(start, tracer.roots, retain_graph=True, allow_unused=True)
        tracer.symmetry.settle()
        return True


_OWN: Any = torch.autograd.function.BackwardCFunction


def _has_numbers(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype is not torch.bool
