"""One forward and one backward: the loss, what each layer returned, what gradient arrived, who read which parameter."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks

from paraminspect.analysis.failure import explain, first_line
from paraminspect.analysis.ledger import Ledger
from paraminspect.analysis.losses import compute_loss, tensors_in
from paraminspect.analysis.statistics import measure
from paraminspect.report import ForwardError, Layer, LayerGrad, LayerOut
from paraminspect.sources.subject import Batch, Loss

_IN_ONE_THREAD = 16_384  # torch splits longer sums among threads, and their number would show in the last digits


@dataclass
class Call:
    """One call of one childless module: figures of what it returned and of the gradient that arrived there."""

    module: str
    type: str
    out: LayerOut = field(default_factory=LayerOut)
    grad: LayerGrad = field(default_factory=LayerGrad)


@dataclass
class Passes:
    """What the two passes left behind. `error` is set when the forward or the loss raised."""

    output: Any = None
    loss: Tensor | None = None
    backward: bool = False
    error: ForwardError | None = None
    calls: list[Call] = field(default_factory=list)
    ledger: Ledger | None = None
    nodes: list[Any] = field(default_factory=list)  # last: see _Watch.nodes

    def layers(self) -> tuple[Layer, ...]:
        """Return the calls in order of execution."""
        return tuple(Layer(i, call.module, call.type, call.out, call.grad) for i, call in enumerate(self.calls))


class _Watch:
    """Follow the modules as they run: the stack of names, and one Call per childless module."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self.names: dict[int, list[str]] = {}
        for name, child in modules.items():
            self.names.setdefault(id(child), []).append(name)
        self.times: dict[int, int] = {}
        self.stack: list[tuple[str, nn.Module, Any]] = []
        self.calls: list[Call] = []
        # Autograd frees a chain of nodes that carry Python hooks by recursion, which overflows the stack some
        # 20,000 layers deep. Held here, and let go from the last to the first, each node is freed on its own.
        self.nodes: list[Any] = []

    @property
    def current(self) -> str:
        return self.stack[-1][0] if self.stack else ""

    def enter(self, module: nn.Module, args: Any) -> None:
        """Name the module that starts; one that is registered under several names goes by them in turn."""
        names = self.names.get(id(module))
        if names is not None:
            turn = self.times.get(id(module), 0)
            self.times[id(module)] = turn + 1
            self.stack.append((names[turn % len(names)], module, args))

    def leave(self, module: nn.Module, _args: Any, output: Any) -> None:
        """Measure the first tensor that a childless module returned, and arrange to measure its gradient."""
        if id(module) not in self.names:
            return
        name, _, _ = self.stack.pop()
        if next(module.children(), None) is not None:
            return
        call = Call(name, type(module).__name__)
        self.calls.append(call)
        found = next(iter(tensors_in(output)), None)
        if found is not None:
            with torch._C.DisableTorchFunction():  # our own looking is no use of a parameter, and need not be checked
                self._watch_output(call, found)

    def _watch_output(self, call: Call, found: Tensor) -> None:
        values = measure(found.detach(), histogram=False)
        if values is not None:
            call.out = LayerOut(values.mean, values.rms, values.min, values.max, values.nan, values.inf)
        if found.requires_grad:
            self.nodes.append(found.grad_fn)
            found.register_hook(lambda grad: _note_gradient(call, grad))  # type: ignore[no-untyped-call]  # torch's

    def explain(self, error: Exception) -> ForwardError | None:
        """Blame the innermost module that is still running, if one is."""
        return explain(*self.stack[-1], error) if self.stack else None

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Keep the hooks installed, for all modules at once, only while the forward runs."""
        before = module_hooks.register_module_forward_pre_hook(self.enter)
        after = module_hooks.register_module_forward_hook(self.leave)
        try:
            yield
        finally:
            before.remove()
            after.remove()


def _note_gradient(call: Call, grad: Tensor) -> None:
    call.grad = LayerGrad(_rms(grad.detach()))


def _rms(grad: Tensor) -> float | None:
    """Return the rms that `measure` gives, by one call of torch where that is as exact."""
    if grad.dtype == torch.float32 and grad.is_cpu and 0 < grad.numel() <= _IN_ONE_THREAD:
        norm = float(torch.linalg.vector_norm(grad, dtype=torch.float64))
        if norm < math.inf:  # squares of float32 neither overflow nor vanish in float64; NaN goes on
            return norm / math.sqrt(grad.numel())
    values = measure(grad, histogram=False)
    return values.rms if values is not None else None


def run_passes(
    module: nn.Module,
    batch: Batch,
    loss: Loss,
    *,
    follow: tuple[Tensor, ...] = (),
    backward: bool = True,
    contain: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> Passes:
    """Run the forward, the loss and (unless told otherwise) the backward.

    `follow` are the parameters whose uses the ledger keeps apart; `contain` wraps whatever runs the module's code.
    Gradients accumulate in ``.grad`` as ever.
    What raises is no exception here: `Passes.error` says in which phase, and names the innermost module of a forward.
    """
    watch = _Watch(dict(module.named_modules(remove_duplicate=False)))
    ledger = Ledger(module.parameters(), follow, lambda: watch.current)
    passes = Passes(ledger=ledger, calls=watch.calls, nodes=watch.nodes)
    phase = "forward"
    try:
        with contain(), watch.active(), ledger:
            passes.output = module(*batch.args, **batch.kwargs)
        phase = "loss"
        passes.loss = compute_loss(loss, passes.output)
        phase = "backward"
        if backward and passes.loss.requires_grad:
            with contain():
                passes.loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            passes.backward = True
    except Exception as error:
        passes.error = watch.explain(error) or ForwardError("", first_line(error), phase)
    return passes


def loss_value(loss: Tensor | None) -> float | None:
    """Return a loss as a number, None when it is unknown (meta) or was not reached."""
    return None if loss is None or loss.is_meta else float(loss.detach().item())


def reads(passes: Passes) -> set[int]:
    """Return the ids of the parameters that the forward read."""
    return passes.ledger.read if passes.ledger else set()
