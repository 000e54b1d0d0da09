"""The schemes torch lacks, as one would write them by hand: `paraminspect code` prints these very functions.

Each uses nothing but `math`, `torch` and `nn`. The only file of this folder that imports torch at module level;
it is itself imported when a tensor is filled or a script is written.
"""

import math

import torch
from torch import nn


def lecun_normal_(tensor: torch.Tensor) -> torch.Tensor:
    """Fill with a normal of variance 1 / fan_in, cut at two standard deviations."""
    std = math.sqrt(1.0 / tensor[0].numel())
    wider = std / 0.87962566103423978  # the cut makes the std that much smaller
    return nn.init.trunc_normal_(tensor, 0.0, wider, -2.0 * wider, 2.0 * wider)


def lecun_uniform_(tensor: torch.Tensor) -> torch.Tensor:
    """Fill with a uniform of variance 1 / fan_in."""
    bound = math.sqrt(3.0 / tensor[0].numel())
    return nn.init.uniform_(tensor, -bound, bound)


def variance_scaling_(
    tensor: torch.Tensor, scale: float = 1.0, mode: str = "fan_in", distribution: str = "normal"
) -> torch.Tensor:
    """Fill with a distribution of variance scale / n, n being the fan that `mode` names."""
    fan_in, fan_out = tensor[0].numel(), tensor[:, 0].numel()
    n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
    std = math.sqrt(scale / n)
    if distribution == "normal":
        return nn.init.normal_(tensor, 0.0, std)
    if distribution == "uniform":
        return nn.init.uniform_(tensor, -math.sqrt(3.0) * std, math.sqrt(3.0) * std)
    wider = std / 0.87962566103423978  # a normal cut at two standard deviations has a std that much smaller
    return nn.init.trunc_normal_(tensor, 0.0, wider, -2.0 * wider, 2.0 * wider)


def textbook_(tensor: torch.Tensor, low: float = 5.0, high: float = 10.0) -> torch.Tensor:
    """Draw from U(-high, high), then set to zero what is smaller than `low`."""
    with torch.no_grad():
        tensor.uniform_(-high, high)
        return tensor.mul_(tensor.abs() >= low)


def orthogonal_by_copy_(tensor: torch.Tensor, gain: float = 1.0) -> torch.Tensor:
    """Fill with an orthogonal matrix made in float32 at least, for which torch has a QR factorisation."""
    dtype = torch.promote_types(tensor.dtype, torch.float32)
    with torch.no_grad():
        return tensor.copy_(nn.init.orthogonal_(torch.empty(tensor.shape, dtype=dtype, device=tensor.device), gain))
