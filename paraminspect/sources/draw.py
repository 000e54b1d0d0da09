"""Draw the input that a spec or ``--input`` describes, with the calls a hand-written script would use."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from paraminspect.errors import UserError
from paraminspect.spec.model import Input

_DRAW: dict[str, Callable[..., Tensor]] = {
    "uniform": torch.rand,
    "normal": torch.randn,
    "zeros": torch.zeros,
    "ones": torch.ones,
}


def draw(wanted: Input, default: torch.dtype, device: str) -> Tensor:
    """Draw one tensor on the CPU's random stream, then move it to `device`.

    `default` is its dtype unless `wanted` names one; a range of integers is int64. Raises UserError when torch
    cannot draw that dtype.
    """
    place = "meta" if device == "meta" else "cpu"
    dtype = getattr(torch, wanted.dtype) if wanted.dtype else torch.int64 if wanted.bounds else default
    try:
        if wanted.bounds:
            low, high = wanted.bounds
            tensor = torch.randint(low, high + 1, wanted.shape, dtype=dtype, device=place)
        else:
            tensor = _DRAW[wanted.sample](wanted.shape, dtype=dtype, device=place)
    except (RuntimeError, NotImplementedError, ValueError) as error:
        reason = str(error).splitlines()[0]
        message = f"cannot draw {wanted.sample} as {dtype}: {reason}"
        raise UserError(message, where=wanted.where, code="bad-input") from error
    return tensor.to(device)
