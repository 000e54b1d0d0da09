"""The tensors of a model beside each other: what one leaves open, others tell, and that it has been trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from paraminspect.frozen import dataclass
from paraminspect.init.recognition.candidates import Place
from paraminspect.init.recognition.guesses import FEW, MANY, Recognition, again, known_in, unrecognised
from paraminspect.init.recognition.pooled_scales import Fitted, with_pooled_scales
from paraminspect.init.recognition.tensor_recognition import recognise
from paraminspect.init.target import padding_rows, weight_shape
from paraminspect.modules.walk import attributes_of
from paraminspect.report import Values

EXACT = ("zeros", "ones", "constant", "eye", "identity", "dirac", "orthogonal")
"""What is told from the values without a doubt."""

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


@dataclass(frozen=True)
class _Member:
    """One tensor: the module it hangs on, its name there, and what was recognised."""

    owner: nn.Module
    leaf: str
    tensor: torch.Tensor
    found: Recognition

    @property
    def moved(self) -> bool:
        """Tell whether it is neither what its layer's constructor draws nor anything else that is known."""
        return not self.found.scheme and self.found.refuted

    @property
    def fresh(self) -> bool:
        """Tell whether a step of training would show: in what is exact, and at the bounds of many uniform numbers."""
        moments = self.found.moments
        uniform = moments is not None and moments.kurtosis == 1.8 and self.tensor.numel() >= MANY
        return self.found.scheme in EXACT or uniform


def recognise_all(
    tensors: Iterable[tuple[nn.Module, str, torch.Tensor]], values: Mapping[int, Values | None]
) -> dict[int, Recognition]:
    """Return what each tensor of a model was initialised with, by its id; without those whose values are not known.

    Of each it takes the module that it hangs on and its name there. `values` are the figures by the tensor's id.
    """
    with torch._C.DisableTorchFunctionSubclass():  # a tensor class of the user's has code of its own
        members = [
            _Member(owner, leaf, tensor, found)
            for owner, leaf, tensor in tensors
            if (figures := values.get(id(tensor))) and (found := recognise(tensor, figures, place_of(owner, leaf)))
        ]
        known = known_in([one.found for one in members])
        fitted = [_fitted(one, known, values[id(one.tensor)]) for one in members]
        kept = [replace(one, found=found) for one, found in zip(members, with_pooled_scales(fitted), strict=True)]
        return {id(one.tensor): one.found for one in _without_the_trained(kept)}


def _fitted(one: _Member, known: Mapping[str, int], figures: Values | None) -> Fitted:
    """Judge a tensor once more, by what is known of the whole model."""
    count = one.tensor.numel()
    std = figures.rms if figures is not None and figures.rms is not None else 0.0  # about 0
    return Fitted(again(one.found, count, one.tensor.dim(), known), std, count)


def place_of(owner: nn.Module, leaf: str) -> Place:
    """Describe where a tensor hangs; of a class of the user's, the layer of torch that it derives from."""
    groups: Any = attributes_of(owner).get("groups", 1)
    padding = padding_rows(((owner, leaf),))
    return Place(
        _layer_of(type(owner)),  # type: ignore[arg-type]  # a class can be hashed
        leaf,
        weight_shape(owner),
        groups if isinstance(owner, nn.modules.conv._ConvNd) and isinstance(groups, int) else 1,
        padding[0] if padding else None,
    )


@lru_cache(256)
def _layer_of(kind: type) -> str:
    return next((one.__name__ for one in kind.__mro__ if one.__module__.startswith("torch.nn.")), "")


def _without_the_trained(members: list[_Member]) -> list[_Member]:
    """Take back what is recognised of weights that stand beside what has been trained.

    Training widens a normal distribution so little that a weight alone may not show it for a hundred steps; what is
    beside it does: a bias that no scheme draws any more, or the shifts of the normalisation layers, once zeros. So a
    weight beside such a bias is not recognised, and in a model that was trained none is, unless it stands beside what
    would have changed, like a new head on an old body.
    """
    moved = {id(one.owner) for one in members if one.moved}
    kept = [_refused(one, "what is beside it fits no scheme") if id(one.owner) in moved else one for one in members]
    many = [one for one in kept if one.tensor.numel() >= FEW and one.found.scheme not in EXACT]
    shifted = any(one.moved and one.leaf == "bias" and isinstance(one.owner, _NORMS) for one in kept)
    if shifted or 2 * sum(one.moved for one in many) >= max(len(many), 1):
        fresh = {id(one.owner) for one in kept if one.fresh}
        kept = [one if id(one.owner) in fresh else _refused(one, "the model was trained") for one in kept]
    return kept


def _refused(one: _Member, why: str) -> _Member:
    if not one.found.scheme or one.fresh:
        return one
    found = unrecognised(f"{one.found.words} fits, but {why}", one.found.p_value, refuted=one.found.refuted)
    return replace(one, found=found)
