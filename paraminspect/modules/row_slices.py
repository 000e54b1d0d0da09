"""Slices of a tensor that have a name of their own: the gates of recurrent layers, packed projections, padding rows.

Torch stacks the weights of several maps in one Parameter: ``weight_hh_l0`` of an LSTM has those of the input, forget,
cell and output gate one below the other, in this order. Read from classes and names, no code of a module runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import torch
from torch import nn
from torch.nn.modules import rnn

from paraminspect.frozen import dataclass
from paraminspect.modules.walk import Path, attributes_of, registered

_GATES: Final = {"LSTM": ("input", "forget", "cell", "output"), "GRU": ("reset", "update", "new")}
_PROJECTIONS: Final = ("query", "key", "value")
_RECURRENT: Final = re.compile(r"(weight|bias)_(ih|hh)(_l\d+(_reverse)?)?(_orig|_v|_g)?")
_PACKED: Final = re.compile(r"in_proj_(weight|bias)(_orig|_v|_g)?")
_FUSED: Final = {
    ("timm.layers.attention", "Attention", "qkv"): 0,
    ("timm.models.vision_transformer", "Attention", "qkv"): 0,
    ("timm.models.swin_transformer", "WindowAttention", "qkv"): 0,
    ("timm.models.swin_transformer_v2", "WindowAttention", "qkv"): 0,
    ("timm.models.beit", "Attention", "qkv"): 0,
    ("transformers.models.gpt2.modeling_gpt2", "GPT2Attention", "c_attn"): 1,
}
"""Classes whose forward is known to split what that child returns into query, key and value, in this order; and the
dimension of the child's weight that they lie along. Others interleave them head by head: a name alone tells nothing."""


@dataclass(frozen=True)
class RowSlice:
    """Places `start` to `stop` along dimension `dim`; `name` is ``forget``, or empty for a slice given by numbers."""

    name: str
    start: int
    stop: int
    dim: int = 0

    @property
    def label(self) -> str:
        """Return the slice as it stands behind a parameter's name: ``[forget]`` or ``[16:32]``."""
        return f"[{self.name or self.numbers}]"

    @property
    def numbers(self) -> str:
        """Return the slice as Python writes it, ``16:32`` or ``:, 16:32``."""
        return f"{':, ' * self.dim}{self.start}:{self.stop}"

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return that part of a tensor, in the tensor's own memory."""
        return tensor.narrow(self.dim, self.start, self.stop - self.start)

    def shape_in(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of that part of a tensor of this shape."""
        return (*shape[: self.dim], self.stop - self.start, *shape[self.dim + 1 :])

    def covers(self, other: RowSlice) -> bool:
        """Tell whether the other slice lies inside of this one."""
        return self.dim == other.dim and self.start <= other.start and other.stop <= self.stop

    def meets(self, other: RowSlice) -> bool:
        """Tell whether the two have elements in common."""
        return self.dim != other.dim or (self.start < other.stop and other.start < self.stop)


class SliceNames:
    """Know the named slices of every parameter below some modules."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._fused: dict[int, int] = {}
        for _, module in paths:
            for child, held in registered(module, "_modules"):
                dims = (_FUSED.get((kind.__module__, kind.__name__, child)) for kind in type(module).__mro__)
                dim = next((one for one in dims if one is not None), None)
                if dim is not None and not attributes_of(module).get("is_cross_attention"):
                    self._fused[id(held)] = dim

    def stacked(self, owner: nn.Module | None, leaf: str, shape: tuple[int, ...]) -> tuple[RowSlice, ...]:
        """Return the gates or projections stacked in ``owner.leaf``, in order; none where it is of one piece."""
        names, dim = _stack(owner, leaf)
        if owner is not None and id(owner) in self._fused and leaf in ("weight", "bias"):
            names, dim = _PROJECTIONS, self._fused[id(owner)] if leaf == "weight" else 0
        if not names or dim >= len(shape) or not shape[dim] or shape[dim] % len(names):
            return ()
        step = shape[dim] // len(names)
        return tuple(RowSlice(name, at * step, (at + 1) * step, dim) for at, name in enumerate(names))

    def named(self, owner: nn.Module | None, leaf: str, shape: tuple[int, ...]) -> tuple[RowSlice, ...]:
        """Return all slices of ``owner.leaf`` that have a name: what is stacked in it, and the padding row."""
        row = padding_row(owner, leaf)
        padding = () if row is None else (RowSlice("padding", row, row + 1),)
        return (*self.stacked(owner, leaf, shape), *padding)


def _stack(owner: nn.Module | None, leaf: str) -> tuple[tuple[str, ...], int]:
    """Return the names of what torch's own layers stack, and along which dimension."""
    if isinstance(owner, rnn.RNNBase | rnn.RNNCellBase) and _RECURRENT.fullmatch(leaf):
        kinds = (
            *(kind.__name__.removesuffix("Cell") for kind in type(owner).__mro__),
            attributes_of(owner).get("mode"),
        )
        return next((_GATES[kind] for kind in kinds if kind in _GATES), ()), 0
    if isinstance(owner, nn.MultiheadAttention) and _PACKED.fullmatch(leaf):
        return _PROJECTIONS, 0
    return (), 0


def padding_row(owner: nn.Module | None, leaf: str) -> int | None:
    """Return the row that an embedding keeps for padding: torch sets it to zero, and no gradient reaches it."""
    if leaf != "weight" or not isinstance(owner, nn.Embedding | nn.EmbeddingBag):
        return None
    row = attributes_of(owner).get("padding_idx")
    return row if isinstance(row, int) else None
