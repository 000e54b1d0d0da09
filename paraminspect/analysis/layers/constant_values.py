"""On the meta device, the values of what a model computes from constants alone: positions, masks, step sizes.

Tensors there have no values, and a model that asks for one, as in ``if (positions[:, -1] == 0).all()``, could not go
on. But positions come from `arange`, and that can be had: while this mode is active, an operation whose tensors all
come from constants is run on the CPU as well, and what it gives is kept for each storage, so that views and writes
are those of the storage. What comes from the weights, the input or random numbers has no values, as before.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from paraminspect.modules.nested_tensors import argument_tensors
from paraminspect.modules.wrapper_tensors import PLAIN

_LARGEST = 2**20  # elements: what is larger is data, and costs time
_aten = torch.ops.aten


class ConstantValues(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves its methods untyped
    """Give the values that are known to whatever asks for one."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self._real: dict[int, tuple[torch.UntypedStorage, Any]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Leave torch._dynamo alone: torch would import it for the first operation, which takes seconds."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = [*argument_tensors((*args, *kwargs.values()))]
        if not self._are_known(given) or not _is_deterministic(func):
            for tensor in given if _writes(func) else ():
                self._real.pop(tensor.untyped_storage()._cdata, None)
            return func(*args, **kwargs)
        if _needs_values(func, kwargs) and any(tensor.is_meta for tensor in given):
            found = self._run(func, args, kwargs)
            return found if _leaves_meta(func, kwargs) else tree_map(self._on_meta, found)
        result = func(*args, **kwargs)
        if _writes(func) or not _is_view(func):
            self._follow(func, args, kwargs, result)
        return result

    def _are_known(self, given: Iterable[Tensor]) -> bool:
        return all(
            type(one) in PLAIN and (not one.is_meta or one.untyped_storage()._cdata in self._real) for one in given
        )

    def _follow(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Run an operation on the values too, and keep what it gives."""
        results = [*argument_tensors((result,))]
        if not any(one.is_meta for one in results) or any(one.numel() > _LARGEST for one in results):
            return
        for meta, real in zip(results, argument_tensors((self._run(func, args, kwargs),)), strict=False):
            if meta.is_meta and meta.untyped_storage()._cdata not in self._real:
                self._keep(meta, real)

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        there = tree_map(self._value, (args, kwargs))
        if str(kwargs.get("device")) == "meta":
            there[1]["device"] = torch.device("cpu")
        return func(*there[0], **there[1])

    def _value(self, one: Any) -> Any:
        if not isinstance(one, Tensor) or not one.is_meta:
            return one
        storage, _ = self._real[one.untyped_storage()._cdata]
        empty = torch.empty(0, dtype=one.dtype)
        return empty.set_(storage, one.storage_offset(), one.shape, one.stride())

    def _on_meta(self, real: Any) -> Any:
        if not isinstance(real, Tensor):
            return real
        meta = torch.empty_strided(real.shape, real.stride(), dtype=real.dtype, device="meta")
        self._keep(meta, real)
        return meta

    def _keep(self, meta: Tensor, real: Tensor) -> None:
        storage = meta.untyped_storage()
        copy = torch.empty(storage.nbytes(), dtype=torch.uint8)
        reference = weakref.ref(storage, partial(_forget, self._real, storage._cdata))
        self._real[storage._cdata] = copy.untyped_storage(), reference
        if meta.numel():
            self._value(meta).copy_(real)


def _forget(values: dict[int, Any], key: int, _reference: Any) -> None:
    values.pop(key, None)


@cache
def _is_deterministic(func: Any) -> bool:
    return isinstance(func, torch._ops.OpOverload) and torch.Tag.nondeterministic_seeded not in func.tags


@cache
def _writes(func: Any) -> bool:
    return isinstance(func, torch._ops.OpOverload) and func._schema.is_mutable


@cache
def _is_view(func: Any) -> bool:
    return any(one.alias_info is not None for one in func._schema.returns)


def _needs_values(func: Any, kwargs: dict[str, Any]) -> bool:
    tags = func.tags
    return (
        torch.Tag.data_dependent_output in tags or torch.Tag.dynamic_output_shape in tags or _leaves_meta(func, kwargs)
    )


def _leaves_meta(func: Any, kwargs: dict[str, Any]) -> bool:
    """Tell whether a tensor is brought to a device where it has values."""
    return func is _aten._to_copy.default and kwargs.get("device") not in (None, torch.device("meta"))
