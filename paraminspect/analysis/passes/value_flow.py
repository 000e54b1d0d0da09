"""Follow the values of some parameters through a forward, operation by operation, and note where they leave the graph.

Each tensor that is computed from a followed parameter carries two sets, held as the bits of integers. `live` are the
parameters whose gradient can still come back through it. `breaks` are the operations behind it that cut others off. For

    h = linear(x, w)      # h: live {w}
    i = h.argmax(1)       # an integer: Break 0 (argmax) takes w along; i: live {}, breaks {0}
    y = embedding(i, e)   # y: live {e}, breaks {0}

the loss of y has Break 0 in its set, and so w got no gradient because of argmax.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from paraminspect.analysis.passes.operands import FunctionCall, has_graph, tensors_of
from paraminspect.analysis.passes.running_modules import Frame, Running
from paraminspect.modules.nested_tensors import tensors_in
from paraminspect.modules.walk import Walk, registered, walk
from paraminspect.report import UNDER_NO_GRAD

_LEAVES_TORCH = {"numpy", "tolist", "item", "__float__", "__complex__", "__array__"}
_LEFT = "its numbers leave torch, and with it the graph"
_NO_GRAPH = "its output has no graph"
_FLAT = {"round", "floor", "ceil", "trunc", "fix", "sign", "bernoulli", "poisson", "normal"}
_COPIES = {"tensor", "as_tensor", "asarray", "new_tensor"}


@dataclass(eq=False)
class Break:
    """One operation that returned tensors without a graph though what it read requires grad.

    `parameters` are the bits of those it cut off. `in_function` says that it ran in the forward of an autograd
    Function, whose output may have a graph again.
    """

    module: str
    op: str
    reason: str
    parameters: int
    in_function: bool = False
    left: bool = False


class _Flow(NamedTuple):
    live: int = 0
    breaks: int = 0


class _Note(NamedTuple):
    """What a tensor carried when it was made; the weak reference tells that it is still that tensor."""

    tensor: weakref.ref[Tensor]
    flow: _Flow
    graph: bool


@dataclass(frozen=True)
class LeafUse:
    """The first operation that read a leaf which no module registers.

    `fresh` says that it is a `parameter`, or that this forward made it and asked for its gradient in one go.
    """

    tensor: Tensor
    op: str
    module: str
    parameter: bool
    fresh: bool


class ValueFlow(TorchFunctionMode):
    """Note what flows where, for the parameters in `followed`; `known` are the leaves that need no explanation.

    `breaks` come in order of execution, and so do `carried`: which parameters went into which operation of a module.
    `leaves` are the other leaves that were read, by their id, without those that the forward itself took a gradient of.
    `hidden` tells that values went through vmap or its like, which unwraps its results out of sight. `handed` are the
    modules that returned several tensors to another one, with the parameters that are live in these.
    """

    def __init__(self, modules: Walk, followed: Iterable[Tensor], known: Iterable[Tensor]) -> None:
        super().__init__()
        self.running = _Follower(modules, self)
        self.bits = {id(tensor): 1 << at for at, tensor in enumerate(followed)}
        self.breaks: list[Break] = []
        self.carried: list[tuple[int, str, str]] = []
        self.leaves: dict[int, LeafUse] = {}
        self._known = {id(tensor) for tensor in known}
        self.hidden = False
        self.handed: list[tuple[str, int]] = []
        self._fresh: dict[int, Tensor] = {}
        self._notes: dict[int, _Note] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        op = FunctionCall(func, args, kwargs)
        written = op.written()
        before = self._flow_of(written) if written is not None else _Flow()
        reads = self._together(op.reads)
        self.hidden = self.hidden or any(map(torch._C._functorch.is_functorch_wrapped_tensor, op.reads))
        output = func(*args, **kwargs)
        with torch._C.DisableTorchFunction():
            self._note_leaves(op, output)
            if before != (0, 0) or reads != (0, 0):
                self._follow(op, written, before, reads, output)
        return output

    def of(self, tensors: Iterable[Tensor]) -> tuple[int, int]:
        """Return the parameters that are live in some of the tensors, and the breaks behind them."""
        return self._together(tensors)

    def crossed(self, frame: Frame, output: Any) -> None:
        """Carry over what a module computed out of sight, in C++ or another thread: its output depends on its input."""
        outputs = tensors_in(output)
        if frame.name and len(outputs) > 1 and registered(frame.module, "_modules"):
            self.handed.append((frame.name, self._together(outputs).live))
        if not outputs or any(id(tensor) in self._notes or id(tensor) in self.bits for tensor in outputs):
            return
        given = tensors_in(frame.args)
        flow = self._together([*given, *_of_script(frame.module)])
        if flow != (0, 0) and not {id(tensor) for tensor in given} & {id(tensor) for tensor in outputs}:
            self._deliver("forward", lambda _: _NO_GRAPH, flow, outputs)

    # --- flows ---------------------------------------------------------------------------------------------------

    def _follow(self, op: FunctionCall, written: Tensor | None, before: _Flow, reads: _Flow, output: Any) -> None:
        """Hand on what was read to what was returned and written."""
        if op.name in _LEAVES_TORCH:
            self._leave(op, reads)
            return
        outputs = [tensor for tensor in tensors_of(output) if tensor is not written]
        if written is not None:
            self._write(op, written, before, reads)
        fresh = [tensor for tensor in outputs if not any(tensor is read for read in op.reads)]
        if torch.is_grad_enabled() and any(map(has_graph, outputs)):
            # Real numbers without a graph beside some with one, of broadcast_tensors(h, ones), come from `ones`.
            fresh = [tensor for tensor in fresh if has_graph(tensor) or not _is_real(tensor)]
        if fresh and reads != (0, 0):
            self._deliver(op.name, lambda tensor: _reason(op, tensor), reads, fresh)

    def _deliver(self, op: str, reason: Callable[[Tensor], str], flow: _Flow, outputs: list[Tensor]) -> None:
        """Note the flow of new tensors; those without a graph are a break, one for all of them."""
        broken = None
        if flow.live:
            self.carried.append((flow.live, op, self.running.current))
        if (
            flow.live and op in _FLAT and any(map(has_graph, outputs))
        ):  # it has a graph, through which nothing but 0 comes back
            flow = _Flow(0, flow.breaks | self._break(op, "its derivative is 0 everywhere", flow.live))
        for tensor in outputs:
            if has_graph(tensor) or not flow.live:
                self._note(tensor, flow)
            else:
                broken = broken or self._break(op, reason(tensor), flow.live)
                self._note(tensor, _Flow(0, flow.breaks | broken))

    def _write(self, op: FunctionCall, written: Tensor, before: _Flow, reads: _Flow) -> None:
        """Note the flow of a tensor that was written to: it loses what was overwritten, and has what was written."""
        live, breaks, lost = before.live | reads.live, before.breaks | reads.breaks, 0
        if op.overwrites:
            live, breaks = reads.live, reads.breaks
            if before.live & ~reads.live:
                breaks |= self._break(op.name, "it overwrites the values in place", before.live & ~reads.live)
        if not written.requires_grad:
            lost, live = live, 0
        elif op.name == "data" or not torch.is_grad_enabled():
            lost = reads.live & ~before.live  # the graph stays that of the values before
            live = before.live
        if lost:
            breaks |= self._break(op.name, _reason(op, written), lost)
        if live:
            self.carried.append((live, op.name, self.running.current))
        self._note(written, _Flow(live, breaks))

    def _leave(self, op: FunctionCall, flow: _Flow) -> None:
        """Note that numbers became Python's or numpy's: where they go from there is out of sight."""
        if flow.live:
            flow = _Flow(0, flow.breaks | self._break(op.name, _LEFT, flow.live))
        for at, one in enumerate(self.breaks):
            one.left |= bool(flow.breaks >> at & 1)

    def _break(self, op: str, reason: str, parameters: int) -> int:
        why, in_function = ("", False) if torch.is_grad_enabled() else _without_grad()
        self.breaks.append(Break(self.running.current, op, reason or why, parameters, in_function))
        return 1 << len(self.breaks) - 1

    def _note(self, tensor: Tensor, flow: _Flow) -> None:
        key, notes = id(tensor), self._notes
        if key not in self.bits:
            notes[key] = _Note(weakref.ref(tensor, lambda _: notes.pop(key, None)), flow, tensor.requires_grad)

    def _together(self, tensors: Iterable[Tensor]) -> _Flow:
        live = breaks = 0
        for tensor in tensors:
            flow = self._flow_of(tensor)
            live, breaks = live | flow.live, breaks | flow.breaks
        return _Flow(live, breaks)

    def _flow_of(self, tensor: Tensor) -> _Flow:
        """Return what a tensor carries now: what a Function computed without a graph may have one by now."""
        bit = self.bits.get(id(tensor))
        if bit is not None:
            return _Flow(bit if tensor.requires_grad else 0)
        note = self._notes.get(id(tensor))
        if note is None:
            return _Flow()
        with torch._C.DisableTorchFunction():
            if note.graph or not tensor.requires_grad or tensor.grad_fn is None:
                return note.flow
        live, breaks = note.flow
        for at, one in enumerate(self.breaks):
            if breaks >> at & 1 and one.in_function:
                live, breaks = live | one.parameters, breaks & ~(1 << at)
        self._note(tensor, _Flow(live, breaks))
        return _Flow(live, breaks)

    # --- leaves --------------------------------------------------------------------------------------------------

    def _note_leaves(self, op: FunctionCall, output: Any) -> None:
        if op.kwargs.get("requires_grad") is True:
            self._fresh |= {id(tensor): tensor for tensor in tensors_of(output)}
        if op.name == "grad":
            wanted = [*tensors_of((op.args[1:2], op.kwargs.get("inputs")))]
            self._known |= {id(tensor) for tensor in wanted}
            for tensor in wanted:
                self.leaves.pop(id(tensor), None)
        elif op.reads and has_graph(output):
            for tensor in op.reads:
                if tensor.requires_grad and tensor.is_leaf and output is not tensor:
                    self._note_leaf(tensor, op.name)

    def _note_leaf(self, tensor: Tensor, op: str) -> None:
        if id(tensor) not in self._known and id(tensor) not in self.leaves:
            parameter = isinstance(tensor, nn.Parameter)
            fresh = parameter or id(tensor) in self._fresh
            self.leaves[id(tensor)] = LeafUse(tensor, op, self.running.current, parameter, fresh)


class _Follower(Running):
    """Tell the flow what modules return; remember when each began and ended, in autograd's own count of operations."""

    def __init__(self, modules: Walk, flow: ValueFlow) -> None:
        super().__init__(modules)
        self._flow = flow
        self._turns: list[tuple[int, str]] = []

    def module_at(self, number: int) -> str:
        """Return the module that ran when autograd made the node of that sequence number."""
        return next((path for start, path in reversed(self._turns) if start <= number), "")

    def returned(self, running: Frame, output: Any) -> None:
        with torch._C.DisableTorchFunction():
            self._flow.crossed(running, output)

    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        super()._enter(module, args)
        self._turn()

    def _leave(self, module: nn.Module, _args: Any, output: Any) -> None:
        super()._leave(module, _args, output)
        self._turn()

    def _turn(self) -> None:
        self._turns.append((torch._C._autograd._get_sequence_nr(), self.current))


def _of_script(module: nn.Module) -> Iterator[Tensor]:
    """Yield the parameters of a script: what it reads is out of sight."""
    if issubclass(type(module), torch.jit.ScriptModule):
        for _, child in walk(module).once():
            yield from (parameter for _, parameter in registered(child, "_parameters"))


def _reason(op: FunctionCall, output: Tensor) -> str:
    """Say why an output without a graph has none; nothing where gradients are switched off: see the stack."""
    if op.name in ("detach", "detach_", "data"):
        return "it detaches its result from the graph"
    if not _is_real(output):
        return f"its result is {str(output.dtype).removeprefix('torch.')}, which has no gradient"
    if op.name in _COPIES:
        return "it copies the numbers without their graph"
    if op.name == "grad":
        return "it was called without create_graph=True"
    return "" if not torch.is_grad_enabled() else _NO_GRAPH


def _is_real(tensor: Tensor) -> bool:
    """Tell real and complex numbers, which may have gradients, from integers."""
    return tensor.is_floating_point() or tensor.is_complex()


def _without_grad() -> tuple[str, bool]:
    """Say why gradients are switched off, and whether by an autograd Function: read from the frames of the stack."""
    if torch.is_inference_mode_enabled():
        return "it ran under torch.inference_mode()", False
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name == "apply" and code.co_filename.endswith(("autograd/function.py", "autograd\\function.py")):
            return _in_function(frame.f_locals), True
        frame = frame.f_back  # type: ignore[assignment]  # None at the end
    return UNDER_NO_GRAD, False


def _in_function(local: dict[str, Any]) -> str:
    name = getattr(local.get("cls"), "__name__", "Function")
    if has_graph(local.get("args", ())):
        return f"it ran in the autograd Function {name}, which returned no graph"
    if name == "CheckpointFunction":
        return "it ran in a reentrant checkpoint no input of which requires grad; use_reentrant=False needs none"
    return f"it ran in the autograd Function {name}, no input of which requires grad"
