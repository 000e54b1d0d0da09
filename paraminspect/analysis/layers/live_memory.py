"""Which memory a run holds at every moment: each storage that appears, and between which operations it lives.

The clock counts operations as torch dispatches them below autograd: those of the forward, of the loss, of the backward,
and of what a checkpoint repeats in it. A storage that is in the result of operation 1 and dies when operation 2 is over
was born at 1 and died at 2. A Linear and a ReLU without a graph are three operations and two storages, for a transpose
has no memory of its own::

    0  t
    1  addmm  its result is born
    2  relu   its result is born; that of addmm dies
    3  …      one of them is alive

What lives at a moment, and when most does, is then a question about numbers. Sizes are those of the tensors: what a
kernel takes for itself, and gives back before it returns, nobody outside sees. On the meta device the sizes are the
same, and no memory is taken.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from paraminspect.analysis.layers.flop_counter import Count, FlopCounter
from paraminspect.analysis.layers.repeated_results import RepeatedResults, UnknownNumbers, reads_values
from paraminspect.analysis.sharing.tensor_memory import strided_parts
from paraminspect.modules.nested_tensors import argument_tensors
from paraminspect.modules.wrapper_tensors import PLAIN


@dataclass(slots=True, eq=False)
class Allocation:
    """One storage: its bytes, and the first and the last operation at which it was there.

    `death` is None of what outlives the run. `module` is the id of the one that ran when it appeared, or whose backward
    did, None of none; once autograd has `saved` it, of the one that was the first to have it saved. `holder` says what
    it became: ``"output"`` of the forward or its loss, ``"gradient"``, or ``"model"`` of a parameter that had no shape
    before the run.
    """

    size: int
    birth: int
    module: int | None
    operation: str
    death: int | None = None
    saved: bool = False
    holder: str = ""

    def lives(self, moment: int) -> bool:
        """Tell whether it is there at an operation, its result among what is."""
        return self.birth <= moment and (self.death is None or moment <= self.death)


@dataclass
class Timeline:
    """What appeared and died in a run of so many `operations`; `phases` says at which operation each of them began.

    `outside` are the bytes of tensors that the run read, and that were there before it though nobody had named them.
    """

    allocations: list[Allocation] = field(default_factory=list)
    phases: dict[str, int] = field(default_factory=dict)
    operations: int = 0
    outside: int = 0

    def span(self, phase: str) -> range:
        """Return the moments of a phase, empty where it never began."""
        start = self.phases.get(phase, self.operations)
        return range(start, min((other for other in self.phases.values() if other > start), default=self.operations))

    def live(self) -> list[int]:
        """Return how many bytes live at each moment."""
        change = [0] * (self.operations + 2)
        for one in self.allocations:
            change[one.birth] += one.size
            if one.death is not None:
                change[one.death + 1] -= one.size
        return list(accumulate(change))[: self.operations]

    def at(self, moment: int) -> Iterator[Allocation]:
        """Yield what lives at a moment."""
        return (one for one in self.allocations if one.lives(moment))


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is known of an operation once and for all, and what counts its work."""

    operation: Any
    name: str
    may_return_an_argument: bool
    count: Count | None


class LiveStorages(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves its methods untyped
    """Keep the `Timeline` of what runs under this mode, without keeping anything alive.

    It sees every operation after autograd and autocast, and there are many: what can be known of an operation once is
    looked up, and a plain tensor whose storage has been seen passes without a call. `known` are tensors whose memory is
    there before, during and after: parameters, buffers, inputs. `current` returns the id of the module that runs now.
    `results` remembers what results are like, and is given to a run of the same model that need not compute them.
    While there is a `counter`, it is told of every operation, and composite ones are seen as what they are made of.
    """

    supports_higher_order_operators = True

    def __init__(
        self, known: Iterable[Tensor], current: Callable[[], int | None], results: RepeatedResults | None = None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.results = RepeatedResults() if results is None else results
        self.timeline = Timeline()
        self._current = current
        # Storages that are there all the time are held, so that no other takes their place, and their key with it.
        self._known = {storage._cdata: storage for tensor in known for storage in storages_of(tensor)}
        self._refused = 0, ""
        self._held: dict[int, tuple[Allocation, _StorageReference]] = {}
        self._died = _end_in(self._held, self.timeline)
        self._repeats = results is not None
        self._counter: FlopCounter | None = None
        self._kinds: dict[int, _Kind] = {}  # by id: torch hashes an operation in Python

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Leave torch._dynamo alone: torch would import it for the first operation, which takes seconds."""
        return False

    def begin(self, phase: str, counter: FlopCounter | None = None) -> None:
        """Say that a phase begins with the next operation, and what counts the work in it."""
        self.timeline.phases[phase] = self.timeline.operations
        self._counter, self._kinds = counter, {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kind = self._kinds.get(id(func))
        if kind is None:
            if self._counter is not None and self._counter.is_made_of_others(func):
                return self._composite(func, args, kwargs or {})
            kind = self._first(func)
        try:
            if self._repeats:
                result = self.results.run(func, args, kwargs)
            else:
                result = func(*args, **kwargs) if kwargs else func(*args)
        except Exception as error:
            if any(one.is_meta for one in argument_tensors((*args, *(kwargs or {}).values()))):
                self._refused = id(error), _name(func)
            raise
        timeline = self.timeline
        if type(result) is Tensor and result.layout is torch.strided:
            storage = result.untyped_storage()
            held = self._held.get(storage._cdata)
            if held is None:
                if storage._cdata not in self._known:
                    self._appeared(storage, kind, args, kwargs)
            elif held[0].size != storage.nbytes():
                self._resized(storage, kind)
        else:
            self._note(kind, args, kwargs, result)
        timeline.operations += 1
        count = kind.count
        if count is not None:
            count(func, args, kwargs or {}, result)
            if not self._repeats:
                self.results.remember(func, args, kwargs, result)
        return result

    def _first(self, func: Any) -> _Kind:
        """Look at an operation that is run for the first time in a phase."""
        if reads_values(func):
            self._stop_repeating()
        count = None if self._counter is None else self._counter.counter_of(func)
        kind = self._kinds[id(func)] = _Kind(func, _name(func), _may_return_an_argument(func), count)
        return kind

    def _stop_repeating(self) -> None:
        """Compute everything from here on; raises UnknownNumbers where something was not."""
        self.results.enabled = False
        if self._repeats and self.results.repeated:
            raise UnknownNumbers

    def _composite(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with self:
            output = func.decompose(*args, **kwargs)
        return func(*args, **kwargs) if output is NotImplemented else output

    def needed_value(self, error: BaseException) -> str | None:
        """Return the operation that raised `error` for a tensor on the meta device, which has no values."""
        told = isinstance(error, NotImplementedError) or "meta tensor" in str(error).lower()
        return self._refused[1] if told and self._refused[0] == id(error) else None

    def _note(self, kind: _Kind, args: tuple[Any, ...], kwargs: dict[str, Any] | None, result: Any) -> None:
        """Take in the storages of what an operation returned."""
        for tensor in _results(result):
            for storage in storages_of(tensor):
                held = self._held.get(storage._cdata)
                if held is None:
                    if storage._cdata not in self._known:
                        self._appeared(storage, kind, args, kwargs)
                elif held[0].size != storage.nbytes():
                    self._resized(storage, kind)

    def save(self, tensor: Tensor) -> None:
        """Note that autograd keeps a tensor for the backward."""
        for one in self.allocations_of(tensor):
            if not one.saved:
                one.saved, one.module = True, self._current()

    def allocations_of(self, tensor: Tensor) -> Iterator[Allocation]:
        """Yield what the run allocated for a tensor; nothing of what was there before."""
        for storage in storages_of(tensor):
            held = self._held.get(storage._cdata)
            if held is not None:
                yield held[0]
            elif storage._cdata not in self._known:
                self._add_outside(storage)

    def became(self, holder: str, tensors: Iterable[Tensor | None]) -> None:
        """Note what the memory of some tensors became."""
        for tensor in tensors:
            for one in () if tensor is None else self.allocations_of(tensor):
                one.holder = holder

    def finish(self) -> Timeline:
        """Return the timeline; what dies from now on does not count."""
        self._held.clear()
        self._known.clear()
        return self.timeline

    # --- storages ----------------------------------------------------------------------------------------------

    def _appeared(
        self, storage: torch.UntypedStorage, kind: _Kind, args: tuple[Any, ...], kwargs: dict[str, Any] | None
    ) -> None:
        if not storage.nbytes():
            return
        if kind.may_return_an_argument and self._was_given(storage, args, kwargs or {}):
            self._add_outside(storage)
        else:
            self._start(storage, kind)

    def _start(self, storage: torch.UntypedStorage, kind: _Kind, before: Allocation | None = None) -> None:
        one = Allocation(storage.nbytes(), self.timeline.operations, self._current(), kind.name)
        if before is not None:
            one.saved, one.holder = before.saved, before.holder
        self.timeline.allocations.append(one)
        reference = _StorageReference(storage, self._died)
        reference.key = key = storage._cdata  # private: nothing else tells storages without an address apart
        self._held[key] = one, reference

    def _resized(self, storage: torch.UntypedStorage, kind: _Kind) -> None:
        before, reference = self._held[storage._cdata]
        self._died(reference)
        self._start(storage, kind, before)

    def _was_given(self, storage: torch.UntypedStorage, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        given = (*argument_tensors(args), *argument_tensors(kwargs.values()))
        return any(storage._cdata == other._cdata for tensor in given for other in storages_of(tensor))

    def _add_outside(self, storage: torch.UntypedStorage) -> None:
        self._known[storage._cdata] = storage
        self.timeline.outside += storage.nbytes()


class _StorageReference(weakref.ref[torch.UntypedStorage]):
    """A weak reference to a storage that knows its key, also when the storage is no more."""

    __slots__ = ("key",)
    key: int


def _end_in(held: dict[int, tuple[Allocation, _StorageReference]], timeline: Timeline) -> Callable[[Any], None]:
    """Return what notes the death of a storage; it keeps no mode alive."""

    def end(reference: _StorageReference) -> None:
        one = held.pop(reference.key, None)
        if one is not None:
            one[0].death = max(one[0].birth, timeline.operations - 1)

    return end


def storages_of(tensor: Tensor) -> Sequence[torch.UntypedStorage]:
    """Return the storages of a tensor: those of its parts, if it is a wrapper or sparse; none where they are hidden."""
    if type(tensor) in PLAIN and tensor.layout is torch.strided:
        return (tensor.untyped_storage(),)
    try:
        return [part.untyped_storage() for part in strided_parts(tensor)]
    except Exception:  # a subclass answers with code of its own, and may raise anything
        return ()


def _results(result: Any) -> Iterable[Tensor]:
    if isinstance(result, Tensor):
        return (result,)
    return argument_tensors(result) if isinstance(result, tuple | list) else ()


@cache
def _may_return_an_argument(func: Any) -> bool:
    """Tell whether a result may be the memory of an argument: of a view, or of what writes to it."""
    if func is torch.ops.aten.lift_fresh.default:  # what torch.tensor(…) makes, and nobody has seen before
        return False
    return isinstance(func, OpOverload) and any(one.alias_info is not None for one in func._schema.returns)


@cache
def _name(func: Any) -> str:
    return str(func._schema.name).rpartition("::")[2] if isinstance(func, OpOverload) else str(func)
