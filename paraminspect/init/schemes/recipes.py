"""The schemes torch lacks, as one would write them by hand: `paraminspect code` prints these very functions.

Each uses nothing but `math`, `torch`, `nn` and one another. The only file of this folder that imports torch at module
level; it is itself imported when a tensor is filled or a script is written.
"""

import math

import torch
from torch import nn


def truncated_normal_(tensor: torch.Tensor, mean: float = 0.0, std: float = 1.0) -> torch.Tensor:
    """Fill with a normal cut at two standard deviations: where a uniform number falls in its distribution function."""
    inside = math.erf(math.sqrt(2.0))  # the probability of lying within two standard deviations
    with torch.no_grad():
        exact = tensor.dtype in (torch.float32, torch.float64)
        drawn = tensor if exact else torch.empty(tensor.shape, device=tensor.device, dtype=torch.float32)
        drawn.uniform_(-inside, inside).erfinv_().mul_(math.sqrt(2.0) * std).add_(mean)
        return tensor.copy_(drawn.clamp_(mean - 2.0 * std, mean + 2.0 * std))


def lecun_normal_(tensor: torch.Tensor) -> torch.Tensor:
    """Fill with a normal of variance 1 / fan_in, cut at two standard deviations."""
    std = math.sqrt(1.0 / tensor[0].numel())
    return truncated_normal_(tensor, 0.0, std / 0.87962566103423978)  # the cut makes the std that much smaller


def lecun_uniform_(tensor: torch.Tensor) -> torch.Tensor:
    """Fill with a uniform of variance 1 / fan_in."""
    bound = math.sqrt(3.0 / tensor[0].numel())
    return nn.init.uniform_(tensor, -bound, bound)


def fan_of(tensor: torch.Tensor, mode: str) -> float:
    """Return fan_in, fan_out, or their arithmetic or geometric mean."""
    fan_in, fan_out = tensor[0].numel(), tensor[:, 0].numel()
    average, geometric = (fan_in + fan_out) / 2, math.sqrt(fan_in * fan_out)
    return {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": average, "fan_geo_avg": geometric}[mode]


def variance_scaling_(
    tensor: torch.Tensor, scale: float = 1.0, mode: str = "fan_in", distribution: str = "normal"
) -> torch.Tensor:
    """Fill with a distribution of variance scale / n, n being the fan that `mode` names."""
    std = math.sqrt(scale / fan_of(tensor, mode))
    if distribution == "normal":
        return nn.init.normal_(tensor, 0.0, std)
    if distribution == "uniform":
        return nn.init.uniform_(tensor, -math.sqrt(3.0) * std, math.sqrt(3.0) * std)
    return truncated_normal_(tensor, 0.0, std / 0.87962566103423978)  # the cut makes the std that much smaller


def gain_normal_(tensor: torch.Tensor, gain: float, mode: str = "fan_in") -> torch.Tensor:
    """Fill with a normal of standard deviation gain / √n, n being the fan that `mode` names."""
    return nn.init.normal_(tensor, 0.0, gain / math.sqrt(fan_of(tensor, mode)))


def gain_uniform_(tensor: torch.Tensor, gain: float, mode: str = "fan_in") -> torch.Tensor:
    """Fill with a uniform of standard deviation gain / √n, n being the fan that `mode` names."""
    bound = gain * math.sqrt(3.0 / fan_of(tensor, mode))
    return nn.init.uniform_(tensor, -bound, bound)


def critical_(tensor: torch.Tensor, sigma_w2: float, sigma_b2: float) -> torch.Tensor:
    """Fill a weight from N(0, sigma_w2 / fan_in), a bias from N(0, sigma_b2)."""
    variance = sigma_b2 if tensor.dim() == 1 else sigma_w2 / tensor[0].numel()
    return nn.init.normal_(tensor, 0.0, math.sqrt(variance))


def mup_readout_(tensor: torch.Tensor, gain: float = 1.0, base_width: float = 1.0) -> torch.Tensor:
    """Fill with a normal of variance gain² · base_width / fan_in²."""
    return nn.init.normal_(tensor, 0.0, gain * math.sqrt(base_width) / tensor[0].numel())


def textbook_(tensor: torch.Tensor, low: float = 5.0, high: float = 10.0) -> torch.Tensor:
    """Draw from U(-high, high), then set to zero what is smaller than `low`."""
    with torch.no_grad():
        tensor.uniform_(-high, high)
        return tensor.mul_(tensor.abs() >= low)


def identity_(tensor: torch.Tensor, gain: float = 1.0) -> torch.Tensor:
    """Fill with `gain` on the main diagonal and zeros beside it."""
    with torch.no_grad():
        return tensor.zero_().fill_diagonal_(gain)


def orthogonal_by_copy_(tensor: torch.Tensor, gain: float = 1.0) -> torch.Tensor:
    """Fill with an orthogonal matrix made in float32 at least, for which torch has a QR factorisation."""
    dtype = torch.promote_types(tensor.dtype, torch.float32)
    with torch.no_grad():
        return tensor.copy_(nn.init.orthogonal_(torch.empty(tensor.shape, dtype=dtype, device=tensor.device), gain))


def lsuv_(net: nn.Module, x: torch.Tensor, weights: dict[str, tuple[float, int]]) -> None:
    """Run the net once; at a layer's first call divide its weight by the std of what it returns, until that is 1.

    `weights` maps names to (tol, max_steps): until |variance - 1| < tol, at most max_steps times. A weight whose size
    does not show in the output stays as drawn. The generator and the buffers are put back afterwards.
    """
    wanted: dict[nn.Module, dict[str, tuple[float, int]]] = {}
    for name, limits in weights.items():
        owner, _, leaf = name.rpartition(".")
        wanted.setdefault(net.get_submodule(owner), {})[leaf] = limits

    def divide(
        layer: nn.Module,
        given: tuple[torch.Tensor, ...],
        named: dict[str, object],
        output: torch.Tensor | tuple[torch.Tensor, ...],
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        for leaf, (tol, max_steps) in wanted.pop(layer, {}).items():
            drawn = getattr(layer, leaf).clone()
            for _ in range(max_steps):
                first = output[0] if isinstance(output, tuple) else output
                std = first.double().std(correction=0).item()
                if abs(std**2 - 1.0) < tol or not 0.0 < std < math.inf:
                    break
                getattr(layer, leaf).div_(std)
                output = layer.forward(*given, **named)
                now = output[0] if isinstance(output, tuple) else output
                if abs(std - 1.0) > 0.04 and (first - now).abs().max() < 0.02 * std:  # its size does not show
                    getattr(layer, leaf).copy_(drawn)
                    output = layer.forward(*given, **named)
                    break
        return output

    hooks = [layer.register_forward_hook(divide, with_kwargs=True) for layer in wanted]
    buffers = [(buffer, buffer.clone()) for buffer in net.buffers()]
    with torch.no_grad(), torch.random.fork_rng():
        net(x)
        for buffer, before in buffers:
            buffer.copy_(before)
    for hook in hooks:
        hook.remove()
