"""BatchNorms that normalise several inputs in one forward: how far the statistics of these are apart."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_LEAST_SAMPLES: Final = 8  # of a channel: fewer tell nothing of its variance


class SharedNorms:
    """Compare the inputs of each call of a BatchNorm in train mode with those of its first.

    The first input is held until the second call; autograd holds it for the backward all the same.
    """

    def __init__(self) -> None:
        self._first: dict[int, Tensor] = {}
        self._statistics: dict[int, tuple[Tensor, Tensor]] = {}
        self.factors: dict[str, float] = {}

    def note(self, name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Note the input of a call; of a module that is no BatchNorm, or does not keep statistics, nothing."""
        if not issubclass(type(module), _BatchNorm) or not (module.training and module.track_running_stats):
            return
        given = args[0] if args else None
        if not isinstance(given, Tensor) or not given.requires_grad or given.dim() < 2 or given.is_meta:
            return
        first = self._first.setdefault(id(module), given.detach())
        if given.data_ptr() == first.data_ptr() or given.numel() < _LEAST_SAMPLES * given.shape[1]:
            return
        if id(module) not in self._statistics:
            self._statistics[id(module)] = _of_channels(first)
        factor = _apart(self._statistics[id(module)], _of_channels(given.detach()))
        self.factors[name] = max(self.factors.get(name, 1.0), factor)

    def let_go(self) -> None:
        """Hold no input any longer."""
        self._first.clear()
        self._statistics.clear()


def _of_channels(given: Tensor) -> tuple[Tensor, Tensor]:
    rest = [dim for dim in range(given.dim()) if dim != 1]
    variance, mean = torch.var_mean(given.float(), rest, correction=0)
    return variance, mean


def _apart(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> float:
    """Return the factor between the variances, in the geometric mean over the channels, or what a shift adds to them.

    Running statistics over both inputs have the variance ``(v1 + v2)/2 + (m1 - m2)²/4`` in the end.
    """
    tiny = torch.finfo(torch.float32).tiny
    variances = [variance.clamp(min=tiny) for variance, _ in (one, other)]
    ratio = float((variances[0] / variances[1]).log().mean().exp())
    shift = float(((one[1] - other[1]).square() / 4 / torch.minimum(*variances)).median())
    return max(ratio, 1 / ratio if ratio else 1.0, 1 + shift)
