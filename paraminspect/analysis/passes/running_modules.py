"""Follow the modules as they run: which runs now, which raised, what each returned, what gradient arrived there."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks
from torch.utils.checkpoint import _StopRecomputationError

from paraminspect.analysis.passes.measuring_queues import NO_OUTPUT, FiguresQueue, OutputsQueue, RmsQueue
from paraminspect.analysis.passes.shared_norms import SharedNorms
from paraminspect.isolation.issued_warnings import attributed
from paraminspect.modules.nested_tensors import tensors_in
from paraminspect.modules.subject import Batch
from paraminspect.modules.walk import Walk, registered
from paraminspect.report import LayerGrad, LayerOut


class Frame(NamedTuple):
    """A module whose forward has begun: under which name, with what, and which error was being handled then."""

    name: str
    module: nn.Module
    args: tuple[Any, ...]
    handled: BaseException | None


class Running:
    """Keep the stack of running modules, each under the name it goes by in this call."""

    with_kwargs = False
    """Whether `_leave` is given the keyword arguments too, before the output."""

    def __init__(self, modules: Walk) -> None:
        self.names: dict[int, list[str]] = {}
        for name, child in modules.paths:
            self.names.setdefault(id(child), []).append(name)
        self.times: dict[int, int] = {}
        self.stack: list[Frame] = []
        self.failed: tuple[BaseException, Frame] | None = None
        self._deaf = False

    @contextlib.contextmanager
    def unheard(self) -> Iterator[None]:
        """Hear nothing of modules for a while: a checkpoint runs them again in a backward that is not of the passes."""
        self._deaf = True
        try:
            yield
        finally:
            self._deaf = False

    @property
    def current(self) -> str:
        """Return the path of the innermost module that runs now."""
        return self.stack[-1].name if self.stack else ""

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Keep the hooks installed, for all modules at once, only while the passes run."""
        before = module_hooks.register_module_forward_pre_hook(self._enter)
        after = module_hooks.register_module_forward_hook(self._leave, with_kwargs=self.with_kwargs, always_call=True)
        try:
            with attributed(self._where):
                yield
        finally:
            before.remove()
            after.remove()

    def _where(self) -> str:
        """Return the module that runs now, for a warning it issues."""
        if not self.stack:
            return ""
        return f"layer {self.current}" if self.current else "the model"

    def blamed(self, error: BaseException) -> Frame | None:
        """Return the innermost module whose forward raised `error`, None when it came from outside of all."""
        if self.failed is not None and self.failed[0] is error:
            return self.failed[1]
        return self.stack[-1] if self.stack else None

    def forget(self) -> None:
        """Hold no arguments and no errors."""
        self.stack.clear()
        self.failed = None

    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Name the module that starts; one that is registered under several names goes by them in turn."""
        names = self.names.get(id(module))
        if names is not None and not self._deaf:
            turn = self.times.get(id(module), 0)
            self.times[id(module)] = turn + 1
            self.stack.append(Frame(names[turn % len(names)], module, args, sys.exc_info()[1]))

    def _leave(self, module: nn.Module, _args: Any, output: Any) -> None:
        """Take the module from the stack; note what it returned, or that it raised."""
        running = None if self._deaf else self._take(module)
        if running is None:
            return
        error = sys.exc_info()[1] if output is None else None
        if isinstance(error, _StopRecomputationError):  # a checkpoint has recomputed enough; its frames hold tensors
            return
        if error is not None and error is not running.handled:
            if self.failed is None or self.failed[0] is not error or self._repeats(running, error):
                self.failed = (error, running)
        else:
            self.returned(running, output)

    def _repeats(self, running: Frame, error: BaseException) -> bool:
        """Tell whether a module calls itself without end: the limit may be reached in a module that it calls."""
        return isinstance(error, RecursionError) and any(frame.module is running.module for frame in self.stack)

    def returned(self, running: Frame, output: Any) -> None:
        """Note what a module returned; for subclasses to override, the stack itself needs nothing of it."""

    def _take(self, module: nn.Module) -> Frame | None:
        """Remove the module from the stack, and what a BaseException left above it: no hook hears of those."""
        for at in range(len(self.stack) - 1, -1, -1):
            if self.stack[at].module is module:
                running = self.stack[at]
                del self.stack[at:]
                return running
        return None


_NO_GRADIENT = LayerGrad()


@dataclass(eq=False)
class LayerCall:
    """One call of one childless module: figures of what it returned and of the gradient that arrived there."""

    module: str
    type: str
    out: LayerOut = NO_OUTPUT
    grad: LayerGrad = _NO_GRADIENT

    def note_output(self, out: LayerOut) -> None:
        """Keep the figures of what the module returned."""
        self.out = out

    def note_gradient(self, rms: float | None) -> None:
        """Keep the figure of the gradient that arrived there."""
        self.grad = LayerGrad(rms)


class Companion(Protocol):
    """Something else that follows the forward of the passes, and runs back through its graph before they do."""

    def begin(self, modules: Walk, watch: Watch, batch: Batch) -> AbstractContextManager[Any] | None:
        """Return what the forward is to run under; None where there is nothing to follow."""

    def returned(self, running: Frame, output: Any) -> None:
        """Hear what a childless module returned."""

    def ended(self, output: Any, contain: Callable[[], AbstractContextManager[None]]) -> None:
        """Hear what the forward returned; `contain` wraps whatever runs the module's code."""


class Watch(Running):
    """Keep one LayerCall for every call of a childless module.

    `gathering` tells that gradients which arrive now are those of the loss. A forward may run backwards of its own.
    `companion` is told of the same calls.
    """

    def __init__(self, modules: Walk, companion: Companion | None = None) -> None:
        super().__init__(modules)
        self.companion = companion
        self.childless = {id(child) for _, child in modules.once() if not registered(child, "_modules")}
        self.gathering = False
        self.calls: list[LayerCall] = []
        self.queue = FiguresQueue()
        self.norms = SharedNorms()
        self._outputs = OutputsQueue()
        self._gradients = RmsQueue()
        self._calls_of: dict[int, list[LayerCall]] = {}
        self._leaves: list[tuple[Tensor, Any]] = []
        # Autograd frees a chain of nodes that carry Python hooks by recursion, which overflows the stack some
        # 20,000 layers deep. Held here, and let go from the last to the first, each node is freed on its own.
        self.nodes: list[Any] = []

    @contextlib.contextmanager
    def gather(self, gathering: bool = True) -> Iterator[None]:
        """Set `gathering` for a while."""
        before, self.gathering = self.gathering, gathering
        try:
            yield
        finally:
            self.gathering = before

    def let_go(self, others: Iterable[Any] = ()) -> None:
        """Leave no hook on a leaf (an input, a parameter that a module returned), and hold no arguments and errors.

        The `others` are nodes of autograd's graph that carried hooks too: they are held in order, by whoever has the
        list. Hooks lead here, and Python's collector does not see the way from a node to its hooks: no list, no cycle.
        """
        nodes = {id(node): node for node in (*self.nodes, *others)}
        self.nodes[:] = sorted(nodes.values(), key=lambda node: int(node._sequence_nr()))
        self.nodes = []
        for leaf, handle in self._leaves:
            handle.remove()
            if not leaf._backward_hooks:
                leaf._backward_hooks = None
        self._leaves.clear()
        self._calls_of.clear()
        self.norms.let_go()
        self.forget()

    def flush(self) -> None:
        """Note the figures that are still due."""
        self.queue.flush()
        self._outputs.flush()
        self._gradients.flush()

    def returned(self, running: Frame, output: Any) -> None:
        """Measure what a childless module returned."""
        if id(running.module) in self.childless:
            with torch._C.DisableTorchFunction():  # our own looking is no use of a parameter, and need not be checked
                self._look(running, output)
                if self.companion is not None and not self.gathering:
                    self.companion.returned(running, output)

    def _look(self, running: Frame, output: Any) -> None:
        """Measure the first tensor of real or complex numbers, and arrange to measure its gradient."""
        tensors = tensors_in(output)
        floats = (tensor for tensor in tensors if tensor.is_floating_point() or tensor.is_complex())
        found = next(floats, tensors[0] if tensors else None)
        call = LayerCall(running.name, type(running.module).__name__)
        calls = self._calls_of.setdefault(id(running.module), [])
        if not self.gathering:
            self.norms.note(running.name, running.module, running.args)
            self.calls.append(call)
            calls.append(call)
        if found is not None:
            self._outputs.measure(found, call.note_output)
            repeated = self._repeated(call, calls) if self.gathering else call
            if repeated is not None and found.requires_grad:
                self._await_gradient(repeated, found)

    def _repeated(self, call: LayerCall, calls: list[LayerCall]) -> LayerCall | None:
        """Return the call that a checkpoint repeats: the last one with equal figures that has no gradient yet."""
        self.flush()
        return next((one for one in reversed(calls) if one.out == call.out and one.grad.rms is None), None)

    def _await_gradient(self, call: LayerCall, found: Tensor) -> None:
        def note(grad: Tensor | None) -> None:
            if grad is not None and self.gathering:  # a Function of the user's may return None
                with torch._C.DisableTorchFunction():
                    self._gradients.measure(grad, call.note_gradient)

        handle = found.register_hook(note)  # type: ignore[no-untyped-call]  # torch's
        if found.grad_fn is None:
            self._leaves.append((found, handle))
        elif not self.gathering:  # holding what a checkpoint recomputes would hold its activations
            self.nodes.append(found.grad_fn)
