"""What a forward wrote to the parameters: it is put back, but the gradients are those of other values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from paraminspect.analysis.inventory import TensorEntry
from paraminspect.analysis.statistics.tensor_values import measure
from paraminspect.text.escape import some_names

MOST = 8
"""Parameters of which the change is told one by one."""

_AFTER = "the gradients are those of the new values; the old ones are shown, and put back"


def replaced(parameters: Iterable[TensorEntry], now: Iterable[tuple[Tensor, Sequence[str]]]) -> dict[int, Tensor]:
    """Return the Parameters that the forward put in the place of others, by the id of what was there before.

    `now` are those that are registered after it, each with its names.
    """
    named = {name: tensor for tensor, names in now for name in names}
    pairs = ((entry.tensor, named.get(entry.name)) for entry in parameters)
    return {id(before): after for before, after in pairs if after is not None and after is not before}


def written(
    parameters: Iterable[TensorEntry], changed: Iterable[tuple[Tensor, Tensor]], replaced: dict[int, Tensor]
) -> Iterator[str]:
    """Yield a note for each parameter that the forward wrote to, with what changed.

    `changed` are tensors, each with the values that it had before something wrote to it, or gave it other memory.
    """
    before = {id(tensor): values for tensor, values in changed}
    found: list[tuple[str, str]] = []
    for entry in parameters:
        key = id(entry.tensor)
        if key not in before and key not in replaced:
            continue
        change = _change(before.get(key, entry.tensor), replaced.get(key, entry.tensor))
        if key in replaced:
            change = ", ".join(filter(None, ["a new Parameter is in its place", change]))
        if change:
            found.append((entry.name, change))
    for name, change in found[:MOST]:
        yield f"the forward wrote to {name!r}: {change}; {_AFTER}"
    if found[MOST:]:
        yield f"the forward wrote to {some_names([name for name, _ in found[MOST:]])} too"


def _change(before: Tensor, after: Tensor) -> str:
    """Say how many elements changed, and the root mean square of the change; nothing where there is none."""
    if is_lazy(before) or is_lazy(after):
        return ""
    with torch._C.DisableTorchFunction(), torch.no_grad():
        if before.shape != after.shape or before.dtype != after.dtype or before.device != after.device:
            return f"it is {str(after.dtype).removeprefix('torch.')} {tuple(after.shape)} on {after.device} now"
        try:
            values = measure(after.detach() - before.detach(), histogram=False)
        except Exception:  # quantised and sparse tensors, classes of tensors of the user's own
            return ""
    if values is None or values.zeros == after.numel():
        return ""
    rms = "" if values.rms is None else f", by an rms of {values.rms:.3g}"
    return f"{after.numel() - values.zeros:,} of {after.numel():,} elements changed{rms}"
