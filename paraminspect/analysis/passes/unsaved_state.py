"""Non-persistent buffers and plain tensors that a forward goes on changing: state that no state_dict has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import torch
from torch import Tensor

from paraminspect.analysis.inventory import TensorEntry
from paraminspect.modules.nested_tensors import same_bits
from paraminspect.modules.walk import attributes_of

_MOST: Final = 2**20
"""Elements of a buffer that is looked at: averages and counts are small, tables and masks large."""


class UnsavedState:
    """Watch what is not saved of modules in train mode, beside the forward that is run anyway.

    A change alone tells nothing: a cache is filled by the first forward. State is what the same forward on the same
    input changes again, and that forward is run only where something has changed.
    """

    def __init__(self, entries: Iterable[TensorEntry]) -> None:
        self._entries = [entry for entry in entries if _may_be_state(entry)]
        self._before = self._now()

    def names(self, again: Callable[[], object]) -> tuple[str, ...]:
        """Return the names of what changes each time; `again` runs the same forward another time."""
        once = self._now()
        suspects = [name for name in once if _differs(once[name], self._before.get(name))]
        if not suspects:
            return ()
        try:
            with torch.no_grad():
                again()
        except Exception:  # what fails a second time is no reason to fail here
            return ()
        twice = self._now()
        return tuple(name for name in suspects if name in twice and _differs(twice[name], once[name]))

    def _now(self) -> dict[str, Tensor]:
        with torch._C.DisableTorchFunction():
            return {entry.name: now.detach().clone() for entry in self._entries if (now := _held(entry)) is not None}


def _may_be_state(entry: TensorEntry) -> bool:
    kept = entry.kind not in ("buffer", "constant") or entry.persistent
    if kept or entry.lazy or not 0 < (entry.numel or 0) <= _MOST:
        return False
    tensor = entry.tensor
    plain = type(tensor) in (Tensor, torch.nn.Buffer) and tensor.layout is torch.strided
    return plain and not (tensor.is_meta or tensor.is_quantized) and bool(entry.owner and entry.owner.training)


def _held(entry: TensorEntry) -> Tensor | None:
    """Return what goes by the name now: a forward may have put another buffer in its place.

    A plain attribute must be the same tensor still: one that is set anew is handed from one call to the next, as the
    hidden state of a recurrent network is.
    """
    own, leaf = attributes_of(entry.owner) if entry.owner is not None else {}, entry.name.rpartition(".")[2]
    if entry.kind == "constant":
        return entry.tensor if own.get(leaf) is entry.tensor else None
    now = own.get("_buffers", {}).get(leaf)
    return now if isinstance(now, Tensor) else None


def _differs(one: Tensor, other: Tensor | None) -> bool:
    alike = other is not None and one.shape == other.shape and one.dtype == other.dtype
    return other is not None and alike and not same_bits(one, other)
