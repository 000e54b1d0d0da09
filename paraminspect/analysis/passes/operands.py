"""Which tensors an operation reads: not those whose shape it asks for, nor those it only writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_DERIVED = {"T", "mT", "H", "mH", "real", "imag", "data"}  # attributes that hold the elements, as operations do
_ASKS = {
    *("size", "dim", "ndimension", "numel", "nelement", "stride", "storage_offset", "element_size", "get_device"),
    *("is_complex", "is_conj", "is_contiguous", "is_distributed", "is_floating_point", "is_inference", "is_neg"),
    *("is_pinned", "is_same_size", "is_set_to", "is_shared", "is_signed", "is_coalesced", "dim_order", "result_type"),
    *("storage", "untyped_storage", "storage_type", "data_ptr", "const_data_ptr", "dense_dim", "sparse_dim", "qscheme"),
    *("empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like", "randint_like"),
    *("new_empty", "new_zeros", "new_ones", "new_full", "new_tensor", "new_empty_strided", "_is_view"),
    *("register_hook", "register_post_accumulate_grad_hook", "retain_grad", "record_stream", "backward", "grad"),
    *("__len__", "__hash__", "__repr__", "__format__", "__set__", "__delete__"),
}
_AS_ANOTHER = {"type_as", "view_as", "expand_as", "reshape_as", "to", "resize_as_"}  # of which only the form matters
_ARITHMETIC = ("add", "sub", "mul", "div", "truediv", "floordiv", "mod", "pow", "matmul")
_BITS = ("and", "or", "xor", "lshift", "rshift")
_WRITES = {"__setitem__", *(f"__i{name}__" for name in (*_ARITHMETIC, *_BITS))}  # the latter are w += x and so on
_OVERWRITES = {"zero_", "fill_", "copy_", "normal_", "uniform_", "random_", "bernoulli_"}


def name_of(func: Callable[..., Any]) -> str:
    """Return the name of an operation as PyTorch has it, that of the attribute for a read like ``w.T``."""
    name: str = getattr(func, "__name__", "")
    if name == "__get__":
        return str(getattr(getattr(func, "__self__", None), "__name__", "__get__"))
    return name or str(func)


def operands(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
    """Yield the arguments whose elements `func` reads, lists as they are."""
    name = name_of(func)
    if _asks(func, name):
        return
    yield from args[:1] if not _is_in_place(name) else ()
    if name not in _AS_ANOTHER:
        yield from args[1:]
        yield from (value for key, value in kwargs.items() if key != "out")


def reads_all(func: Callable[..., Any]) -> bool:
    """Tell whether `func` reads the elements of all its arguments, but for ``out``."""
    name = name_of(func)
    return not (_asks(func, name) or _is_in_place(name) or name in _AS_ANOTHER)


def _asks(func: Callable[..., Any], name: str) -> bool:
    attribute = getattr(func, "__name__", "") == "__get__"
    return name in _ASKS or (attribute and name not in _DERIVED)


def _is_in_place(name: str) -> bool:
    return name in _WRITES or (name[-1:] == "_" and name[-2:] != "__")


def tensors_among(items: Iterable[Any], wanted: dict[int, Tensor]) -> dict[int, Tensor]:
    """Return those of the `wanted` tensors, which are keyed by id, that are among the items or in lists of them."""
    found: dict[int, Tensor] = {}
    for item in items:
        if id(item) in wanted:
            found[id(item)] = item
        elif type(item) in (list, tuple):
            found.update(tensors_among(item, wanted))
    return found


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Yield a tensor, or those in nested lists, tuples and dicts, without code of theirs being run."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        for item in value:
            yield from tensors_of(item)
    elif type(value) is dict:
        yield from tensors_of([*value.values()])


class FunctionCall:
    """One call of a torch function: what it is called, what it reads, what it writes to."""

    def __init__(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.name = name_of(func)
        self.args, self.kwargs = args, kwargs
        if self.name == "__set__":
            self.name = getattr(getattr(func, "__self__", None), "__name__", "")
            self._in_place = self.name == "data"
            self.reads = [*tensors_of(args[1:])] if self._in_place else []
        else:
            self._in_place = self.name == "__setitem__" or (
                self.name[-1:] == "_" and self.name[-2:] != "__" and self.name != "requires_grad_"
            )
            read = (args[:2], kwargs) if self.name == "grad" else operands(func, args, kwargs)
            self.reads = [*tensors_of([*read])]

    def written(self) -> Tensor | None:
        """Return the tensor that the operation writes to, if there is one."""
        target = self.args[0] if self._in_place and self.args else self.kwargs.get("out")
        return target if isinstance(target, Tensor) else None

    @property
    def overwrites(self) -> bool:
        """Tell whether nothing is left of the values that were there."""
        if self.name == "__setitem__":
            return self.args[1] is Ellipsis or (type(self.args[1]) is slice and self.args[1] == slice(None))
        return self.name in _OVERWRITES or self.name == "data" or self.kwargs.get("out") is not None


class DispatchReader(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's
    """Note the `wanted` tensors that any operation takes, also those that TorchScript runs out of Python's sight."""

    def __init__(self, wanted: dict[int, Tensor], read: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self._wanted = wanted
        self._read = read

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self._read.update(tensors_among((*args, *kwargs.values()), self._wanted))
        return func(*args, **kwargs)


def has_graph(output: Any) -> bool:
    """Tell whether a gradient can come back from what an operation returned."""
    if isinstance(output, Tensor):
        while torch._C._functorch.is_functorch_wrapped_tensor(output):  # inside vmap
            output = torch._C._functorch.get_unwrapped(output)
        return bool(output.requires_grad)
    return isinstance(output, (tuple, list)) and any(map(has_graph, output))


def holds_tensor(output: Any) -> bool:
    """Tell whether an operation returned a tensor, and not a number or a shape."""
    if isinstance(output, Tensor):
        return True
    return isinstance(output, (tuple, list)) and not isinstance(output, torch.Size) and any(map(holds_tensor, output))
