"""Modules that a spec can name beside torch.nn's: they show what the chapter shows, and scripts quote them."""

from __future__ import annotations

import torch
from torch import nn


class Residual(nn.Sequential):
    """A Sequential that adds its input to its output."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x + layers(x)."""
        y = x
        for layer in self:
            y = layer(y)
        return x + y


class PlainBiasLinear(nn.Module):
    """A linear layer whose bias is an ordinary tensor: an attribute, not a Parameter, so nothing trains or saves it."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features))
        self.bias = torch.zeros(out_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x @ weight.T + bias."""
        return x @ self.weight.t() + self.bias
