"""Leave a module, and what Python and torch keep for the whole process, as they were: looking changes nothing."""

from __future__ import annotations

import contextlib
import operator
import random
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from paraminspect.isolation.torch_state import Restore, process_state
from paraminspect.modules.nested_tensors import argument_tensors, depth_first, same_bits, storage_of
from paraminspect.modules.walk import attributes_of
from paraminspect.modules.wrapper_tensors import PLAIN, is_wrapper, plain_tensors

_MOST_CONTAINERS = 10_000  # of one module: what is larger is data
_GENERATORS = {torch.Generator, random.Random, np.random.Generator, np.random.RandomState}
_CONTAINERS = {dict, OrderedDict, defaultdict, list, set, deque}
_KEPT = _CONTAINERS | _GENERATORS
_COPIED_AT_ONCE = 2**24  # bytes: running statistics, counters; a larger tensor is copied when something writes to it


@contextlib.contextmanager
def untouched(modules: Iterable[nn.Module], tensors: Iterable[Tensor]) -> Iterator[CopyOnWrite]:
    """Put everything back that a forward and a backward may change, also when they raise.

    Covers the attributes, hooks and mode of every module in `modules`; the values, `.grad`, `requires_grad`, type and
    memory of every tensor in `tensors`; random number generators; torch's settings. Inside, every `.grad` is None, and
    hooks that run after a gradient has accumulated (an optimizer in the backward) are put aside. The forward has to
    run under the mode that is yielded: it copies a large tensor before something writes to it.
    """
    held = list({id(tensor): tensor for tensor in tensors}.values())
    with torch._C.DisableTorchFunctionSubclass():
        plain = [tensor for tensor in held if not is_wrapper(tensor)]
        small = [tensor for tensor in plain if not tensor.requires_grad and _bytes(tensor) <= _COPIED_AT_ONCE]
        copied = {id(tensor) for tensor in small}
        left = [tensor for tensor in held if id(tensor) not in copied or isinstance(tensor, nn.Parameter)]
        parts = [part for tensor in left for part in plain_tensors(tensor)]
    mode = CopyOnWrite(parts)
    undo: list[Restore] = [*process_state()]
    with torch._C.DisableTorchFunction():
        undo += [_tensor(tensor) for tensor in held]
        undo += [_values(tensor) for tensor in small]
    undo += [_attributes(module) for module in modules]
    try:
        yield mode
    finally:
        with torch.no_grad(), torch._C.DisableTorchFunction():
            for _, memory, copy in mode.copies:
                memory.copy_(copy)
            for restore in reversed(undo):
                restore()


# --- tensors ---------------------------------------------------------------------------------------------------


def _bytes(tensor: Tensor) -> int:
    return 0 if is_lazy(tensor) or tensor.is_nested else tensor.numel() * tensor.element_size()


def _values(tensor: Tensor) -> Restore:
    """Copy a tensor now; the version counter does not tell whether it was written to: BatchNorm leaves it alone."""
    if (
        is_lazy(tensor)
        or tensor.is_meta
        or tensor.is_nested
        or tensor.is_quantized
        or tensor.layout is not torch.strided
    ):
        return _nothing
    memory, copy = tensor.data, tensor.detach().clone()

    def restore() -> None:
        if not same_bits(memory, copy):
            memory.copy_(copy)

    return restore


def _tensor(tensor: Tensor) -> Restore:
    """Keep the memory, the type and `requires_grad`; take `.grad` and what runs after it away until the end.

    So that the backward has nothing to add to. A lazy parameter has become another by its first forward.
    """
    kind, leaf, requires_grad = type(tensor), tensor.is_leaf, tensor.requires_grad
    lazy = kind not in PLAIN and is_lazy(tensor)
    memory = None if lazy else _memory(tensor)
    gradient = tensor.grad if leaf else None
    if gradient is not None:
        tensor.grad = None
    hooks = tensor._post_accumulate_grad_hooks or {}  # they are there to change parameters
    kept = dict(hooks)
    hooks.clear()
    watching, marks = tensor._backward_hooks, dict(vars(tensor))
    watched = dict(watching or {})

    def restore() -> None:
        if memory is not None:
            if not _same_memory(tensor, memory):
                tensor.data = memory
        elif lazy and not is_lazy(tensor):
            tensor.data = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
            tensor.__class__ = kind
        if tensor.requires_grad != requires_grad and tensor.is_leaf:
            tensor.requires_grad_(requires_grad)
        hooks.update(kept)
        if leaf:
            tensor.grad = gradient
        if watching is None and tensor._backward_hooks:
            tensor._backward_hooks = None
        elif watching is not None and dict(watching) != watched:
            _refill(watching, tuple(watched.items()))
        if not _same(vars(tensor), marks):
            _refill(vars(tensor), tuple(marks.items()))

    return restore


def _memory(tensor: Tensor) -> Tensor | None:
    """Return what shows the memory of a tensor without its graph; None where its class will not have that."""
    try:
        return tensor.data
    except (RuntimeError, NotImplementedError):
        return None


def _same_memory(one: Tensor, other: Tensor) -> bool:
    if one.is_nested or other.is_nested:  # has no shape that could be asked for
        return one.is_nested and other.is_nested and one.data_ptr() == other.data_ptr()
    if one.shape != other.shape or one.dtype != other.dtype or one.device != other.device:
        return False
    try:
        return one.data_ptr() == other.data_ptr() and one.stride() == other.stride()
    except (RuntimeError, NotImplementedError):  # sparse tensors and wrappers have no memory of their own
        return True


def _nothing() -> None:
    pass


# --- modules ---------------------------------------------------------------------------------------------------


def _attributes(module: nn.Module) -> Restore:
    """Keep the class and the attributes of a module, and what its plain containers hold: hooks, names, caches."""
    kind, own = type(module), attributes_of(module)
    attributes = own.copy()
    held = [value for value in own.values() if type(value) in _KEPT]
    empty = [value for value in held if not value and type(value) in _CONTAINERS]  # as hooks that nobody registered
    contents: list[tuple[Any, tuple[Any, ...]]] = []
    generators: list[Restore] = []
    if len(empty) < len(held):
        contents += _filled([value for value in held if value and type(value) in _CONTAINERS])
        generators += [_generator(value) for value in held if type(value) in _GENERATORS]

    def restore() -> None:
        if type(module) is not kind:
            module.__class__ = kind
        now = attributes_of(module)
        if not _same(now, attributes):
            now.clear()
            now.update(attributes)
        if any(empty):
            for container in filter(None, empty):
                container.clear()
        for container, kept in contents:
            if kept or container:
                _refill(container, kept)
        for put_back in generators:
            put_back()

    return restore


def _filled(containers: list[Any]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Yield the containers, and those inside one another, each with what it holds."""

    def values_of(container: Any) -> Iterable[Any]:
        return container.values() if isinstance(container, dict) else container

    def inside(container: Any) -> Iterator[Any]:
        return (value for value in values_of(container) if type(value) in _CONTAINERS)

    if all(_CONTAINERS.isdisjoint(map(type, values_of(container))) for container in containers):  # as in most
        yield from ((container, _contents(container)) for container in containers)
        return
    for container in depth_first(containers, inside, _MOST_CONTAINERS):
        yield container, _contents(container)


def _generator(generator: Any) -> Restore:
    """Keep the state of a generator of random numbers that a module draws from itself."""
    if isinstance(generator, torch.Generator):
        return partial(generator.set_state, generator.get_state())
    if isinstance(generator, random.Random):
        return partial(generator.setstate, generator.getstate())
    bits = generator.bit_generator if isinstance(generator, np.random.Generator) else generator
    if isinstance(bits, np.random.RandomState):
        return partial(bits.set_state, bits.get_state())
    return partial(setattr, bits, "state", bits.state)


def _same(now: dict[str, Any], before: dict[str, Any]) -> bool:
    """Tell whether two dictionaries have equal names in equal order, and hold identical objects."""
    if len(now) != len(before) or not all(map(operator.is_, now.values(), before.values())):
        return False
    return list(now) == list(before)


def _contents(container: Any) -> tuple[Any, ...]:
    """Return what a container holds, in its order."""
    return tuple(container.items() if isinstance(container, dict) else container) if container else ()


def _refill(container: Any, kept: tuple[Any, ...]) -> None:
    """Make a container hold what it held; it stays the same object."""
    container.clear()
    fill: Callable[[Any], Any] = container.extend if isinstance(container, (list, deque)) else container.update
    fill(kept)


_RENORMALISE = (functional.embedding, functional.embedding_bag)  # with max_norm they write to the weight they read
_NORMALISE = (functional.batch_norm, functional.instance_norm)  # they write to running_mean and running_var
_READERS = {"tolist", "numpy", "__array__", "data_ptr", "__dlpack__", "storage", "untyped_storage", "tensor_split"}


class CopyOnWrite(TorchFunctionMode):
    """Keep a copy of every tensor in `tensors` that an operation is about to write to.

    Sees what Python calls: ``add_`` and its like, item assignment, ``out=`` and ``inplace=True``, also through a view
    or ``.data``. Unseen go writes past torch's functions (numpy, dlpack, the storage itself), in TorchScript, inside
    vmap, in other threads, and in C++ code that writes to its arguments without saying so in its name.
    `reads` tells that something took numbers, or the memory that holds them, out of a tensor without an operation.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__()
        self._by_storage: dict[int, list[Tensor]] = {}
        self._memory: list[tuple[Tensor, Tensor]] = []
        with torch._C.DisableTorchFunction():
            for tensor in tensors:
                key = storage_of(tensor)
                if key is not None:
                    self._by_storage.setdefault(key, []).append(tensor)
                    self._memory.append((tensor, tensor.data))
        self.copies: list[tuple[Tensor, Tensor, Tensor]] = []
        self._writes: dict[Any, bool] = {}
        self.reads = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._may_write(func, kwargs):
            written: Any = (args, kwargs)
            if func in _NORMALISE:  # of the running statistics alone; the weight is only read
                written = args[1:3], [kwargs.get("running_mean"), kwargs.get("running_var")]
            for tensor in argument_tensors([*written]):
                for part in plain_tensors(tensor):
                    self._copy(part)
        return func(*args, **kwargs)

    def _may_write(self, func: Callable[..., Any], kwargs: dict[str, Any]) -> bool:
        if func in _RENORMALISE:
            return kwargs.get("max_norm") is not None
        known = self._writes.get(func)
        if known is None:
            known = self._writes[func] = writes(func)
            self.reads |= getattr(func, "__name__", "") in _READERS
        return known or "out" in kwargs or kwargs.get("inplace") is True

    def _copy(self, tensor: Tensor) -> None:
        """Copy everything that lies in the storage of `tensor`, the first time it is written to."""
        key = storage_of(tensor)
        if key is None or key not in self._by_storage:
            return
        # A mode that counts what the forward allocates has no business with this copy.
        with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch(), torch.no_grad():
            for held in self._by_storage.pop(key):
                self.copies.append((held, held.data, held.detach().clone()))

    def changed(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the tensors that were written to, or that have other memory now, each with the values it had."""
        copies = {id(tensor): copy for tensor, _, copy in self.copies}
        for tensor, memory in self._memory:
            if id(tensor) in copies or not _same_memory(tensor, memory):
                yield tensor, copies.get(id(tensor), memory)


def writes(func: Callable[..., Any]) -> bool:
    """Tell from the name of a torch function whether it writes to one of its arguments."""
    if func in _NORMALISE:
        return True
    if isinstance(func, torch._ops.OpOverload):
        return func._schema.is_mutable
    name = getattr(func, "__name__", "")
    if name.startswith("__"):
        return name == "__setitem__" or (name.startswith("__i") and name not in ("__index__", "__int__", "__invert__"))
    return name.endswith("_") and name != "requires_grad_"
