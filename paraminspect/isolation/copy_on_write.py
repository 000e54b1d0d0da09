"""Copy a tensor before the first operation that writes to it: a copy of every weight would double the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_RENORMALISE = (functional.embedding, functional.embedding_bag)  # with max_norm they write to the weight they read
_NORMALISE = (functional.batch_norm, functional.instance_norm)  # they write to running_mean and running_var


class CopyOnWrite(TorchFunctionMode):
    """Keep a copy of every tensor in `tensors` that an operation is about to write to.

    Sees what Python calls: ``add_`` and its like, item assignment, ``out=`` and ``inplace=True``, also through a view
    or ``.data``. Unseen go writes past torch's functions (numpy, dlpack, the storage itself), in TorchScript, inside
    vmap, in other threads, and in C++ code that writes to its arguments without saying so in its name.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__()
        self._by_storage: dict[int, list[Tensor]] = {}
        for tensor in tensors:
            key = storage_of(tensor)
            if key is not None:
                self._by_storage.setdefault(key, []).append(tensor)
        self.copies: list[tuple[Tensor, Tensor]] = []
        self._writes: dict[Any, bool] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._may_write(func, kwargs):
            for tensor in _tensors((args, kwargs)):
                self._copy(tensor)
        return func(*args, **kwargs)

    def _may_write(self, func: Callable[..., Any], kwargs: dict[str, Any]) -> bool:
        if func in _RENORMALISE:
            return kwargs.get("max_norm") is not None
        known = self._writes.get(func)
        if known is None:
            known = self._writes[func] = writes(func)
        return known or "out" in kwargs or kwargs.get("inplace") is True

    def _copy(self, tensor: Tensor) -> None:
        """Copy everything that lies in the storage of `tensor`, the first time it is written to."""
        key = storage_of(tensor)
        if key is None:
            return
        with torch._C.DisableTorchFunction(), torch.no_grad():
            for held in self._by_storage.pop(key, ()):
                self.copies.append((held.data, held.detach().clone()))


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


def storage_of(tensor: Tensor) -> int | None:
    """Return the identity of a tensor's storage, None where it has none (lazy, sparse, wrapper subclasses)."""
    try:
        return tensor.untyped_storage()._cdata if tensor.numel() else None
    except (RuntimeError, NotImplementedError, ValueError):
        return None


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif type(value) in (list, tuple):
        for item in value:
            yield from _tensors(item)
    elif type(value) is dict:
        yield from _tensors([*value.values()])
