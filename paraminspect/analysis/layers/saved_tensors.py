"""What autograd keeps for the backward: which storages, and for which module."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from paraminspect.analysis.layers.live_memory import Allocation, LiveStorages, Timeline
from paraminspect.modules.nested_tensors import dtype_name
from paraminspect.modules.wrapper_tensors import is_wrapper

_Packed = tuple[Tensor, int]


class SavedTensors(saved_tensors_hooks):
    """Note in the timeline of `storages` what autograd saves.

    Parameters, buffers and inputs, and views of them, are there anyway and cost nothing. Hooks that the model sets for
    a part of itself, as a checkpoint does, take the place of these in it: what they keep is told by its living until
    the backward, see `kept`. Torch compares the version of a saved tensor with that of the moment it is used only where
    there are no hooks: here it is compared in its place, or a backward that cannot be right would pass.
    """

    def __init__(self, storages: LiveStorages) -> None:
        def pack(tensor: Tensor) -> _Packed:
            storages.save(tensor)
            return _without_graph(tensor), tensor._version

        super().__init__(pack, _unpack)


def _without_graph(tensor: Tensor) -> Tensor:
    """Return the tensor without its node of the graph, which would hold the tensor, and so itself, for good."""
    if type(tensor) is not Tensor and is_wrapper(tensor):
        return tensor.detach()
    with torch._C._DisableTorchDispatch():  # nobody needs to see it
        return tensor.detach()


def _unpack(packed: _Packed) -> Tensor:
    """Return the tensor; raises RuntimeError, as torch does, for one that was written to after it had been saved."""
    tensor, version = packed
    if tensor._version != version:
        raise RuntimeError(
            "one of the variables needed for gradient computation has been modified by an inplace operation: "
            f"[{dtype_name(tensor.dtype)} {[*tensor.shape]}] is at version {tensor._version}; expected version "
            f"{version} instead"
        )
    return tensor


def kept(timeline: Timeline) -> Iterator[Allocation]:
    """Yield what is kept for the backward when it begins, or when a run without one ends.

    That is what autograd saved and what is still there; and what was made in the forward, is no output, and that nobody
    saved: an attribute of an autograd Function's context, what the model's own hooks return, a cache in a module.
    """
    start = timeline.phases.get("backward", timeline.operations)
    for one in timeline.allocations:
        lives = one.birth < start and (one.death is None or one.death >= start)
        if lives and (one.saved or one.holder not in ("output", "model")):
            yield one


def saved_bytes(timeline: Timeline) -> Counter[int | None]:
    """Return the bytes that are kept for the backward, by the id of the module that keeps them."""
    found: Counter[int | None] = Counter()
    for one in kept(timeline):
        found[one.module] += one.size
    return found
