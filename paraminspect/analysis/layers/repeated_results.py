"""Operations whose result is known but for its numbers, so that a run for its memory alone need not compute it.

The memory of a forward in eval mode depends on which operations run and how large their results are, not on the
numbers in them, as long as nobody looks at these. So an operation that ran before on tensors of the same shapes,
strides and dtypes gets an empty result like that of then: of twelve layers of a transformer one is computed. A model
that looks, as in ``if x.sum() > 0`` or ``x[mask]``, could take another way than with its true numbers: a forward that
does is computed in earnest, see `reads_values`.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from paraminspect.modules.nested_tensors import argument_tensors
from paraminspect.modules.wrapper_tensors import PLAIN

_LARGE = 2**14  # elements: what is smaller is computed as fast as it is looked up
_DTYPES = {torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.int64, torch.bool}
_READ = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
_READERS = re.compile(r"sparse|nested|packed|ctc_|segment|quantize|_assert|nonzero|embedding_bag|histogram")
_IN_PLACE = {torch.ops.aten.relu_.default, torch.ops.aten.add_.Tensor, torch.ops.aten.mul_.Tensor}
_Like = tuple[tuple[int, ...], tuple[int, ...], torch.dtype]


class UnknownNumbers(BaseException):
    """Something looks at numbers that were not computed. No forward's ``except Exception`` is to catch it."""


class RepeatedResults:
    """The results of operations by what they were given; `enabled` only while nobody looks at numbers."""

    def __init__(self) -> None:
        self.enabled = True
        self.repeated = 0
        self._known: dict[Any, tuple[_Like, ...] | None] = {}

    def remember(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None, result: Any) -> None:
        """Keep what the result of a large operation is like."""
        if self.enabled and _has_own_result(func) and _is_large(args):
            self._keep(_key(func, args, kwargs), args, result)

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
        """Return an empty result where one like it is known; else run the operation, and know it from now on."""
        if self.enabled and _has_own_result(func) and _is_large(args):
            key = _key(func, args, kwargs)
            known = self._known.get(key)
            if known is not None:
                self.repeated += 1
                empty = [torch.empty_strided(shape, stride, dtype=dtype) for shape, stride, dtype in known]
                return empty[0] if len(empty) == 1 else tuple(empty)
            result = func(*args, **kwargs) if kwargs else func(*args)
            self._keep(key, args, result)
            return result
        if self.enabled and func in _IN_PLACE and _is_large(args):
            self.repeated += 1
            return args[0]
        return func(*args, **kwargs) if kwargs else func(*args)

    def _keep(self, key: Any, args: tuple[Any, ...], result: Any) -> None:
        if key is not None and key not in self._known:
            results = result if type(result) is tuple else (result,)
            self._known[key] = None
            if all(map(_is_all_of_its_storage, results)) and (len(results) > 1 or type(result) is not tuple):
                storages = {one.untyped_storage()._cdata for one in results}
                given = {one.untyped_storage()._cdata for one in argument_tensors(args)}
                if len(storages) == len(results) and storages.isdisjoint(given):  # _unsafe_view makes none
                    self._known[key] = tuple((one.shape, one.stride(), one.dtype) for one in results)


def _is_all_of_its_storage(one: Any) -> bool:
    if type(one) is not Tensor or one.is_nested or one.layout is not torch.strided or one.dtype not in _DTYPES:
        return False
    span = 1 + sum((size - 1) * step for size, step in zip(one.shape, one.stride(), strict=True))
    size: int = one.untyped_storage().nbytes()
    return one.device.type == "cpu" and one.numel() > 0 and size == span * one.dtype.itemsize


def _is_large(args: tuple[Any, ...]) -> bool:
    """Tell whether one of the first two arguments is: the first of `addmm` is the bias."""
    for one in args[:2]:
        if type(one) is Tensor and one.numel() >= _LARGE:
            return one.device.type == "cpu"
    return False


def _key(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
    """Return what a result depends on but for its numbers; None where that cannot be said."""
    try:
        key = func, *map(_seen, args), *((name, _seen(value)) for name, value in (kwargs or {}).items())
        hash(key)
    except TypeError:
        return None
    return key


def _seen(value: Any) -> Any:
    kind = type(value)
    if kind in PLAIN and value.layout is torch.strided and not value.is_nested:
        return value.shape, value.stride(), value.dtype, value.device
    if kind is list or kind is tuple:
        return (kind, *map(_seen, value))
    if isinstance(value, Tensor):
        raise TypeError  # it is not described by its shape, or its class does as it likes
    return kind, value


@cache
def _has_own_result(func: Any) -> bool:
    """Tell whether an operation makes new tensors, and changes none it is given."""
    if not isinstance(func, OpOverload) or func._schema.is_mutable:
        return False
    results = func._schema.returns
    return bool(results) and all(one.alias_info is None and str(one.type) == "Tensor" for one in results)


@cache
def reads_values(func: Any) -> bool:
    """Tell whether an operation gives numbers to Python, or a result whose size they decide; or may, not being torch's.

    `Tensor.tolist` and its like are no operations: see `paraminspect.isolation.untouched`.
    """
    if not isinstance(func, OpOverload) or func.namespace != "aten":
        return True
    return not _READ.isdisjoint(func.tags) or bool(_READERS.search(func._schema.name))
