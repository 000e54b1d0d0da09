"""Draw the input a Spec or ``--input`` describes, with the calls a hand-written script would use."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from paraminspect.errors import UserError
from paraminspect.report import TensorInfo
from paraminspect.sources.subject import Batch
from paraminspect.spec.model import Group, Input, Item, Layer, Repeat, Spec

_DRAW: dict[str, Callable[..., Tensor]] = {
    "uniform": torch.rand,
    "normal": torch.randn,
    "zeros": torch.zeros,
    "ones": torch.ones,
}
_BATCH = 2


def draw(wanted: Input, default: torch.dtype, device: str) -> tuple[Tensor, TensorInfo]:
    """Draw one tensor on the CPU's random stream, then move it to `device`.

    Raises UserError when torch cannot draw that dtype.
    """
    place = "meta" if device == "meta" else "cpu"
    dtype = getattr(torch, wanted.dtype) if wanted.dtype else None
    bounds = wanted.bounds
    try:
        if bounds:
            dtype = dtype or torch.int64
            tensor = torch.randint(bounds[0], bounds[1] + 1, wanted.shape, dtype=dtype, device=place)
        else:
            tensor = _DRAW[wanted.sample](wanted.shape, dtype=dtype or default, device=place)
    except (RuntimeError, NotImplementedError, ValueError) as error:
        reason = str(error).splitlines()[0]
        message = f"cannot draw {wanted.sample} as {wanted.dtype or default}: {reason}"
        raise UserError(message, where=wanted.where, code="bad-input") from error
    info = TensorInfo(wanted.name, wanted.shape, str(tensor.dtype).removeprefix("torch."), device, wanted.sample)
    return tensor.to(device), info


def infer_input(items: tuple[Item, ...]) -> Input | None:
    """Guess the input from the first layer when it leaves no doubt: (2, in_features), or indices for an Embedding."""
    first = items[0]
    if isinstance(first, (Group, Repeat)):
        return infer_input(first.layers)
    if not isinstance(first, Layer):
        return None
    size = first.args[0] if first.args else first.kwargs.get("in_features", first.kwargs.get("num_embeddings"))
    if not isinstance(size, int):
        return None
    if first.type in ("Linear", "PlainBiasLinear"):
        return Input((_BATCH, size))
    return Input((_BATCH, 4), f"0..{size - 1}", "int64") if first.type == "Embedding" else None


def input_dtype(spec: Spec) -> str:
    """Return the dtype an input has unless it names one: the model's, or that of the first layer that has its own."""
    return spec.dtype or _first_dtype(spec.layers) or "float32"


def _first_dtype(items: tuple[Item, ...]) -> str | None:
    for item in items:
        if isinstance(item, (Group, Repeat)):
            found = _first_dtype(item.layers)
        else:
            found = item.kwargs.get("dtype") if isinstance(item, Layer) else None
        if found:
            return str(found)
    return None


def input_of(spec: Spec, wanted: Input | None, device: str) -> Callable[[], Batch] | None:
    """Return what draws the input, None when neither the spec nor the first layer says what it is."""
    known = wanted or infer_input(spec.layers)
    if known is None:
        return None
    dtype: torch.dtype = getattr(torch, input_dtype(spec))

    def make() -> Batch:
        tensor, info = draw(known, dtype, device)
        return (tensor,), (info,)

    return make
