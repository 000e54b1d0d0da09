"""Where the samples of the batch lie in a tensor, from operation to operation.

Most models take them along dimension 0. Recurrent layers and transformers take them along dimension 1 unless they are
built with ``batch_first``, and a forward may move them on the way: of an input of (2, 7, 16), 2 samples, ``transpose``
makes (7, 2, 16) with the samples along dimension 1, and ``reshape`` (14, 16), where they lie one after another along
dimension 0, each over 7 places. What an operation does to dimensions is read from shapes, strides and its arguments;
where that does not tell, nobody knows where the samples are, and no figure that compares them is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from torch import Tensor

from paraminspect.analysis.signal.recognise import SHAPED, TorchCall, bare_name
from paraminspect.frozen import dataclass
from paraminspect.modules.nested_tensors import argument_tensors

_RECURRENT: Final = {"lstm", "gru", "rnn_tanh", "rnn_relu"}
_CELLS: Final = {f"{name}_cell" for name in _RECURRENT}
_ATTENTION: Final = "multi_head_attention_forward"


@dataclass(frozen=True)
class SampleAxis:
    """Say that dimension `dim` counts `count` samples, each over `inner` places in a row, perhaps several times over.

    Form and storage are those of the tensor when it was new: an operation in place may change them.
    """

    count: int
    dim: int
    inner: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    storage: int

    def on(self, output: Tensor, dim: int | None, inner: int | None = None) -> SampleAxis | None:
        """Return the same samples along a dimension of another tensor; None where that has another size."""
        inner = self.inner if inner is None else inner
        if dim is None or not 0 <= dim < output.dim() or output.shape[dim] % (self.count * inner):
            return None
        return axis_of(output, dim, self.count, inner)

    def first(self, tensor: Tensor) -> Tensor:
        """Return the tensor with the samples along dimension 0, and nothing else."""
        if self.dim == 0 and tensor.shape[0] == self.count:
            return tensor
        before, size, behind = tensor.shape[: self.dim], tensor.shape[self.dim], tensor.shape[self.dim + 1 :]
        each = size // (self.count * self.inner)
        return tensor.reshape(*before, each, self.count, self.inner, *behind).movedim(self.dim + 1, 0)


def axis_of(tensor: Tensor, dim: int, count: int, inner: int = 1) -> SampleAxis:
    """Return where the samples lie in a tensor."""
    storage = tensor.untyped_storage()._cdata
    return SampleAxis(count, dim, inner, tuple(tensor.shape), tensor.stride(), storage)


def taken_along(call: TorchCall) -> tuple[Tensor, int | None] | None:
    """Return what a recurrent layer or an attention takes, and which dimension of it counts the samples.

    The dimension is None for a sequence without a batch. Of any other operation torch says nothing: None.
    """
    name = bare_name(call.func)
    if name == _ATTENTION:
        taken = next((one for one in (*call.args, *call.kwargs.values())[:3] if call.follows(one)), None)
        return None if taken is None else (taken, 1 if taken.dim() == 3 else None)
    layer = name == "_pack_padded_sequence" or (name in _RECURRENT and not _is_packed(call))
    if not (layer or name in _CELLS) or not call.follows(call.args[0]):
        return None
    return call.args[0], _beside_time(call) if layer else 0


def _is_packed(call: TorchCall) -> bool:
    """Tell whether a recurrent layer was given sequences of several lengths, packed into a matrix."""
    return bool(call.args[0].dim() == 2)


def _beside_time(call: TorchCall) -> int:
    """Return the dimension of the samples beside that of time; `batch_first` is the last argument."""
    return 0 if call.args[-1] else 1


def axis_after(
    call: TorchCall, before: Mapping[int, SampleAxis], output: Tensor, at: int, count: int | None
) -> SampleAxis | None:
    """Return where the samples lie in what an operation returned `at` a place among its outputs; None if unknown.

    `before` says where they lie in the arguments, by the id of each; one of which nobody knows is not in it. `count` is
    the number of samples.
    """
    name = bare_name(call.func)
    if name in _RETURNED:
        dim = _RETURNED[name](call, output, at)
        whole = dim is not None and dim < output.dim() and output.shape[dim] == count
        return axis_of(output, dim, count) if whole and dim is not None and count else None
    found = [_moved(name, call, key, axis, output) for key, axis in before.items()]
    places = {(axis.dim, axis.inner) for axis in found if axis is not None}
    return next(axis for axis in found if axis is not None) if len(places) == 1 else None


def _moved(name: str, call: TorchCall, key: int, axis: SampleAxis, output: Tensor) -> SampleAxis | None:
    """Return where the samples of one argument lie afterwards."""
    if output.numel() == 0:
        return None
    if name in SHAPED:
        return _reshaped(axis, output)
    if output.untyped_storage()._cdata == axis.storage:
        return _seen(axis, output)
    if name in _BY_NAME:
        return axis.on(output, _BY_NAME[name](call, key, axis))
    if output.dim() == len(axis.shape):
        return axis.on(output, axis.dim) if output.shape[axis.dim] == axis.shape[axis.dim] else None
    if tuple(output.shape[: len(axis.shape)]) == axis.shape:  # as an embedding, which adds dimensions behind
        return axis.on(output, axis.dim)
    return axis.on(output, _reduced(call, axis, output))


def _reshaped(axis: SampleAxis, output: Tensor) -> SampleAxis | None:
    """Find the samples where the elements kept their order: every so many of them the next sample begins."""
    if math.prod(axis.shape) != output.numel():
        return None
    step, behind, found = axis.inner * math.prod(axis.shape[axis.dim + 1 :]), 1, []
    for dim in reversed(range(output.dim())):
        if step % behind == 0 and behind * output.shape[dim] % (step * axis.count) == 0:
            found.append((step // behind, abs(dim - axis.dim), dim))  # one sample alone may lie in several
        behind *= output.shape[dim]
    if not found:
        return None
    inner, _, dim = min(found)
    return axis.on(output, dim, inner)


def _seen(axis: SampleAxis, output: Tensor) -> SampleAxis | None:
    """Find the samples in a view: along the dimension that has the size and the stride."""
    wanted = axis.shape[axis.dim], axis.strides[axis.dim]
    found = [dim for dim, one in enumerate(zip(output.shape, output.stride(), strict=True)) if one == wanted]
    return axis.on(output, axis.dim if axis.dim in found else found[0] if len(found) == 1 else None)


def _reduced(call: TorchCall, axis: SampleAxis, output: Tensor) -> int | None:
    """Return the dimension that is left of it when an operation such as ``mean`` takes others away."""
    dims = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else None)
    dims = dims if isinstance(dims, (tuple, list)) else [dims]
    if not all(type(dim) is int for dim in dims):
        return None
    gone: set[int] = {dim % len(axis.shape) for dim in dims}
    if axis.dim in gone or len(axis.shape) - len(gone) != output.dim():
        return None
    return axis.dim - sum(dim < axis.dim for dim in gone)


def _stacked(call: TorchCall, key: int, axis: SampleAxis) -> int | None:
    dim: int = call.named(("tensors", "dim")).get("dim", 0)
    return axis.dim + (dim % (len(axis.shape) + 1) <= axis.dim)


def _summed(call: TorchCall, key: int, axis: SampleAxis) -> int | None:
    """Return where ``einsum`` writes the letter of the samples."""
    terms, _, result = str(call.args[0]).replace(" ", "").partition("->")
    operands = zip(terms.split(","), argument_tensors(call.args), strict=False)
    term = next((term for term, one in operands if id(one) == key), "")
    written = len(term) == len(axis.shape) and term[axis.dim] in result and "." not in result
    return result.index(term[axis.dim]) if written else None


_BY_NAME: Final[Mapping[str, Callable[[TorchCall, int, SampleAxis], int | None]]] = {
    "stack": _stacked,
    "einsum": _summed,
}
"""What moves dimensions in a way that the shapes do not tell."""


def _of_recurrent(call: TorchCall, output: Tensor, at: int) -> int | None:
    """Return the dimension of the samples: of the states of a recurrent layer the second, whatever `batch_first`."""
    return 1 if at else None if _is_packed(call) else _beside_time(call)


def _of_attention(call: TorchCall, output: Tensor, at: int) -> int | None:
    taken = taken_along(call)
    return None if taken is None or taken[1] is None else 0 if at else 1


_RETURNED: Final[Mapping[str, Callable[[TorchCall, Tensor, int], int | None]]] = {
    **dict.fromkeys(_RECURRENT, _of_recurrent),
    **dict.fromkeys(_CELLS, lambda call, output, at: 0 if output.dim() == 2 else None),
    _ATTENTION: _of_attention,
    "_pad_packed_sequence": lambda call, output, at: 0 if call.args[2] else 1,
}
"""The dimension along which torch returns the samples, `at` a place among the outputs."""
