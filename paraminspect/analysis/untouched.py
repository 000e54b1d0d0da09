"""Leave a module, and what Python and torch keep for the whole process, as they were: looking changes nothing."""

from __future__ import annotations

import contextlib
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from paraminspect.analysis.bits import same_bits
from paraminspect.analysis.process_state import Restore, process_state
from paraminspect.analysis.walk import attributes_of
from paraminspect.analysis.writes import CopyOnWrite

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
        small = [tensor for tensor in held if not tensor.requires_grad and _bytes(tensor) <= _COPIED_AT_ONCE]
    copied = {id(tensor) for tensor in small}
    mode = CopyOnWrite(tensor for tensor in held if id(tensor) not in copied)
    undo: list[Restore] = [*process_state()]
    with torch._C.DisableTorchFunction():
        for tensor in held:
            undo += [_gradient(tensor), _hooks(tensor), _place(tensor)]
        undo += [_values(tensor) for tensor in small]
    undo += [_attributes(module) for module in modules]
    try:
        yield mode
    finally:
        with torch.no_grad(), torch._C.DisableTorchFunction():
            for memory, copy in mode.copies:
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


def _place(tensor: Tensor) -> Restore:
    """Keep the memory, the type and `requires_grad`; a lazy parameter has become another by its first forward."""
    lazy, kind, requires_grad = is_lazy(tensor), type(tensor), tensor.requires_grad
    memory = None if lazy else tensor.data

    def restore() -> None:
        if lazy and not is_lazy(tensor):
            tensor.data = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
            tensor.__class__ = kind
        elif memory is not None and not _same_memory(tensor, memory):
            tensor.data = memory
        if tensor.is_leaf and tensor.requires_grad != requires_grad:
            tensor.requires_grad_(requires_grad)

    return restore


def _same_memory(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype or one.device != other.device:
        return False
    try:
        return one.data_ptr() == other.data_ptr() and one.stride() == other.stride()
    except (RuntimeError, NotImplementedError):  # sparse tensors and wrappers have no memory of their own
        return True


def _gradient(tensor: Tensor) -> Restore:
    """Take `.grad` away, so that the backward has nothing to add to, and give the same object back."""
    if not tensor.is_leaf:
        return _nothing
    before, tensor.grad = tensor.grad, None
    return partial(setattr, tensor, "grad", before)


def _hooks(tensor: Tensor) -> Restore:
    """Put the hooks aside that run once a gradient has accumulated: they are there to change parameters."""
    hooks = tensor._post_accumulate_grad_hooks
    if not hooks:
        return _nothing
    kept = dict(hooks)
    hooks.clear()
    return partial(hooks.update, kept)


def _nothing() -> None:
    pass


# --- modules ---------------------------------------------------------------------------------------------------


def _attributes(module: nn.Module) -> Restore:
    """Keep the class and the attributes of a module, and what its plain containers hold: hooks, names, caches."""
    kind, attributes = type(module), dict(attributes_of(module))
    contents = [_contents(value) for value in attributes.values() if type(value) in _CONTAINERS]

    def restore() -> None:
        if type(module) is not kind:
            module.__class__ = kind
        own = attributes_of(module)
        if _identities(own) != _identities(attributes):
            own.clear()
            own.update(attributes)
        for put_back in contents:
            put_back()

    return restore


def _identities(attributes: dict[str, Any]) -> list[tuple[str, int]]:
    return [(name, id(value)) for name, value in attributes.items()]


def _contents(container: Any) -> Restore:
    """Keep what a container holds, in its order; it stays the same object."""
    kept = list(container.items()) if isinstance(container, dict) else list(container)
    fill: Callable[[Any], Any] = container.extend if isinstance(container, (list, deque)) else container.update

    def restore() -> None:
        container.clear()
        fill(kept)

    return restore


_CONTAINERS = {dict, OrderedDict, defaultdict, list, set, deque}
