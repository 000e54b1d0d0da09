"""Networks that are known to train, and networks broken on purpose: what a verdict has to be right on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Fill = Callable[[Tensor], Any]
STEADY, VANISHING, EXPLODING, UNKNOWN = "steady", "vanishing", "exploding", "unknown"


@dataclass(frozen=True)
class Case:
    """A network, what it is run on, and the words that are right: forward and backward."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    forward: tuple[str, ...] = (STEADY,)
    backward: tuple[str, ...] = (STEADY,)


class PreNorm(nn.Module):
    """A residual block as transformers have them: x + f(norm(x))."""

    def __init__(self, width: int, norm: bool = True, skip: bool = True) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.inner = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(self.norm(x))
        return x + y if self.skip else y


class PostNorm(PreNorm):
    """A residual block as BERT has them: norm(x + f(x))."""

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.inner(x))


class FrozenNorms(nn.Sequential):
    """A network whose BatchNorms are kept in eval mode while it trains."""

    def train(self, mode: bool = True) -> FrozenNorms:
        super().train(mode)
        for child in self:
            if isinstance(child, nn.BatchNorm2d):
                child.eval()
        return self


def filled(module: nn.Module, fill: Fill | None) -> nn.Module:
    for parameter in module.parameters():
        if fill is not None and parameter.dim() > 1:
            fill(parameter)
    return module


def normal(std: float) -> Fill:
    return lambda weight: nn.init.normal_(weight, std=std)


def xavier(gain: float) -> Fill:
    return lambda weight: nn.init.xavier_normal_(weight, gain=gain)


def dense(depth: int, activation: type[nn.Module] = nn.ReLU, fill: Fill | None = None) -> Callable[[], nn.Module]:
    layers = lambda: [layer for _ in range(depth) for layer in (nn.Linear(128, 128), activation())]  # noqa: E731 - a new one each time
    return lambda: filled(nn.Sequential(*layers(), nn.Linear(128, 10)), fill)


def stack(block: type[PreNorm], count: int, fill: Fill | None = None, **how: bool) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        blocks = (block(64, **how) for _ in range(count))
        return filled(nn.Sequential(nn.Linear(32, 64), *blocks, nn.LayerNorm(64), nn.Linear(64, 10)), fill)

    return build


def conv(depth: int, norm: bool, fill: Fill | None = None, gain: float | None = None) -> Callable[[], nn.Module]:
    """Return a plain convolutional network; with a `gain`, one whose BatchNorms are frozen with that weight."""

    def build() -> nn.Module:
        layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1)]
        for _ in range(depth):
            layers += [nn.BatchNorm2d(16)] if norm else []
            layers += [nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)]
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)]
        module = filled((nn.Sequential if gain is None else FrozenNorms)(*layers, *head), fill)
        for child in module.modules():
            if gain is not None and isinstance(child, nn.BatchNorm2d):
                nn.init.constant_(child.weight, gain)
        return module.train()

    return build


def in_eval_mode(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: build().eval()


HE: Fill = nn.init.kaiming_normal_
IMAGES, TOKENS, ROWS = (16, 3, 16, 16), (8, 12, 32), (32, 128)

HEALTHY = {
    "He ReLU, 20 dense layers": Case(dense(20, fill=HE), ROWS),
    "He ReLU, 100 dense layers": Case(dense(100, fill=HE), ROWS),
    "Xavier tanh, 10 dense layers": Case(dense(10, nn.Tanh, xavier(1.0)), ROWS),
    "LeCun SELU, 20 dense layers": Case(dense(20, nn.SELU, lambda w: nn.init.normal_(w, std=w.shape[1] ** -0.5)), ROWS),
    "torch's default, 4 dense layers": Case(dense(4), ROWS, (UNKNOWN,), (UNKNOWN,)),
    "pre-norm, 12 blocks": Case(stack(PreNorm, 12), TOKENS),
    "pre-norm, 12 blocks, std .02": Case(stack(PreNorm, 12, normal(0.02)), TOKENS),
    "pre-norm, 48 blocks": Case(stack(PreNorm, 48), TOKENS),
    "post-norm, 12 blocks": Case(stack(PostNorm, 12), TOKENS),
    "post-norm, 12 blocks, std .02": Case(stack(PostNorm, 12, normal(0.02)), TOKENS),
    "conv, BatchNorm, 10 deep": Case(conv(10, norm=True), IMAGES),
    "conv, BatchNorm, 30 deep": Case(conv(30, norm=True), IMAGES),
    "conv, BatchNorm, in eval mode before any batch": Case(
        in_eval_mode(conv(20, norm=True)), IMAGES, (UNKNOWN,), (UNKNOWN,)
    ),
    "conv, BatchNorm, a batch of one pixel": Case(conv(4, norm=True), (2, 3, 1, 1), (UNKNOWN,), (UNKNOWN,)),
    "conv, He, 20 deep": Case(conv(20, norm=False, fill=HE), IMAGES),
    "conv, torch's default, 3 deep": Case(conv(3, norm=False), IMAGES),
}

BROKEN = {
    "std 1, 10 dense layers": Case(dense(10, fill=normal(1.0)), ROWS, (EXPLODING,), (EXPLODING,)),
    "std 1e-3, 10 dense layers": Case(dense(10, fill=normal(1e-3)), ROWS, (VANISHING,), (VANISHING,)),
    "torch's default ReLU, 100 dense layers": Case(dense(100), ROWS, (STEADY, VANISHING), (VANISHING,)),
    "Xavier ReLU, 100 dense layers": Case(dense(100, fill=xavier(1.0)), ROWS, (VANISHING,), (VANISHING,)),
    "ReLU of gain 2, 100 dense layers": Case(dense(100, fill=xavier(2.0)), ROWS, (EXPLODING,), (EXPLODING,)),
    "tanh of gain ½, 100 dense layers": Case(dense(100, nn.Tanh, xavier(0.5)), ROWS, (VANISHING,), (VANISHING,)),
    "tanh of gain 2, 100 dense layers": Case(dense(100, nn.Tanh, xavier(2.0)), ROWS, (STEADY,), (EXPLODING,)),
    "sigmoid, 20 dense layers": Case(dense(20, nn.Sigmoid, xavier(1.0)), ROWS, (STEADY,), (VANISHING,)),
    "blocks without skip and norm": Case(
        stack(PreNorm, 30, norm=False, skip=False), TOKENS, (STEADY, VANISHING), (VANISHING,)
    ),
    "blocks without norm, std .3": Case(
        stack(PreNorm, 12, normal(0.3), norm=False), TOKENS, (EXPLODING,), (EXPLODING,)
    ),
    "conv, std 1, 12 deep": Case(conv(12, norm=False, fill=normal(1.0)), IMAGES, (EXPLODING,), (EXPLODING,)),
    "conv, std 1e-3, 12 deep": Case(conv(12, norm=False, fill=normal(1e-3)), IMAGES, (STEADY, VANISHING), (VANISHING,)),
    "conv, torch's default, 30 deep": Case(conv(30, norm=False), IMAGES, (STEADY, VANISHING), (VANISHING,)),
    "conv, BatchNorms frozen with gain .1": Case(
        conv(20, norm=True, gain=0.1), IMAGES, (STEADY, VANISHING), (VANISHING,)
    ),
    "conv, BatchNorms frozen, std 1": Case(
        conv(12, norm=True, fill=normal(1.0), gain=1.0), IMAGES, (EXPLODING,), (EXPLODING,)
    ),
}


def input_of(case: Case) -> Tensor:
    return torch.randn(*case.shape)
