"""A model broken on purpose for each rule that looks at a module: the rule must find it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tests.analysis.signal.networks import dense, normal, xavier


class Branches(nn.Module):
    """Run `run` on the module itself and its input; `parts` become its attributes."""

    def __init__(self, run: Callable[[Any, Tensor], Tensor], **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def _mlp(change: Callable[[Any], object]) -> nn.Module:
    module = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
    with torch.no_grad():
        change(module)
    return module


def _constant_beside_a_list() -> nn.Module:
    module = Branches(
        lambda self, x: self.hidden[0](self.layer(x)),
        layer=nn.Linear(8, 8),
        hidden=[nn.Linear(8, 2)],
    )
    nn.init.constant_(module.layer.weight, 0.1)
    return module


def _average() -> nn.Module:
    def run(self: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.mean.lerp_(x.mean(0), 0.1)
        return self.layer(x - self.mean)

    module = Branches(run, layer=nn.Linear(8, 2))
    module.register_buffer("mean", torch.zeros(8), persistent=False)
    return module


def _on_meta() -> nn.Module:
    module = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2))
    module[1].to("meta")
    return module


def _half_tied() -> nn.Module:
    module = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    module[1].weight = nn.Parameter(module[0].weight.data)
    return module


def _overlapping() -> nn.Module:
    base = torch.randn(100)
    parts = {"a": nn.Parameter(base[10:42]), "b": nn.Parameter(base[30:62])}
    return Branches(lambda self, x: self.layer(x) * (self.a * self.b).sum(), layer=nn.Linear(8, 2), **parts)


def _foreign() -> nn.Module:
    base = torch.randn(100).numpy()
    parts = {"a": nn.Parameter(torch.from_numpy(base[:32])), "b": nn.Parameter(torch.from_numpy(base[16:48]))}
    return Branches(lambda self, x: self.layer(x) * (self.a * self.b).sum(), layer=nn.Linear(8, 2), **parts)


def _untied() -> nn.Module:
    module = Branches(lambda self, x: self.head(self.emb.weight[:4] * x.mean()), emb=nn.Embedding(20, 4))
    module.head = nn.Linear(4, 20, bias=False)
    module._tied_weights_keys = {"head.weight": "emb.weight"}  # type: ignore[assignment]  # as transformers has it
    return module


def _copied() -> nn.Module:
    module = Branches(lambda self, x: self.head(self.emb.weight[:4] * x.mean()), emb=nn.Embedding(20, 4))
    module.head = nn.Linear(4, 20, bias=False)
    module.head.weight = nn.Parameter(module.emb.weight.detach().clone())
    return module


def _tied() -> nn.Module:
    module = _copied()
    module.head.weight = module.emb.weight  # type: ignore[union-attr,assignment]
    return module


BROKEN_MODELS: dict[str, Callable[[], nn.Module]] = {
    "PI101": lambda: Branches(
        lambda self, x: self.layer(x) * self.scale, layer=nn.Linear(8, 2), scale=torch.ones(2, requires_grad=True)
    ),
    "PI102": lambda: Branches(
        lambda self, x: self.blocks[1](self.blocks[0](x)), blocks=[nn.Linear(8, 8), nn.Linear(8, 2)]
    ),
    "PI103": lambda: Branches(
        lambda self, x: self.layer(x) * self.scales[0], layer=nn.Linear(8, 2), scales=[nn.Parameter(torch.ones(2))]
    ),
    "PI104": _average,
    "PI105": _on_meta,
    "PI201": lambda: _mlp(lambda m: m[0].weight[0].fill_(torch.nan)),
    "PI202": lambda: _mlp(lambda m: m[0].weight.fill_(1e-38)),
    "PI203": lambda: _mlp(lambda m: [p.zero_() for p in m.parameters()]),
    "PI204": _constant_beside_a_list,
    "PI205": lambda: _mlp(lambda m: [nn.init.constant_(p, 0.1) for p in m.parameters()]),
    "PI207": lambda: _mlp(lambda m: m[2].weight[::2].fill_(1e-40)),
    "PI208": lambda: Branches(
        lambda self, x: self.layer(x) * self.scale,
        layer=nn.Linear(8, 2),
        scale=nn.Parameter(torch.ones(2, dtype=torch.float64)),
    ),
    "PI209": lambda: _mlp(lambda m: m.register_buffer("mask", torch.full((2, 2), -1e9))),
    "PI301": lambda: Branches(lambda self, x: self.layer(x), layer=nn.Linear(8, 2), extra=nn.Linear(8, 8)),
    "PI302": lambda: Branches(lambda self, x: self.b(self.a(x).detach()), a=nn.Linear(8, 8), b=nn.Linear(8, 2)),
    "PI303": lambda: Branches(
        lambda self, x: self.b(x) + self.a(x).clamp(max=0).relu(), a=nn.Linear(8, 2), b=nn.Linear(8, 2)
    ),
    "PI304": lambda: Branches(lambda self, x: (self.a(x) * 0).sqrt(), a=nn.Linear(8, 2)),
    "PI305": lambda: _mlp(lambda m: m[2].bias.requires_grad_(False)),
    "PI306": lambda: nn.Sequential(nn.Linear(8, 4), nn.Softmax(-1)),
    "PI307": lambda: nn.Linear(8, 2).requires_grad_(False),
    "PI308": lambda: BROKEN_MODELS["PI301"]().eval(),
    "PI401": _half_tied,
    "PI402": _overlapping,
    "PI403": _foreign,
    "PI404": _untied,
    "PI405": _copied,
    "PI406": lambda: Branches(
        lambda self, x: self.norm(self.a(x)) + self.norm(100 * self.b(x)),
        norm=nn.BatchNorm1d(4),
        a=nn.Linear(8, 4),
        b=nn.Linear(8, 4),
    ),
    "PI407": _tied,
    "PI501": dense(20, nn.Tanh, normal(0.02)),
    "PI502": dense(20, nn.ReLU, normal(1.0)),
    "PI503": lambda: _mlp(lambda m: m[2].bias.fill_(-100.0)),
    "PI504": lambda: nn.Sequential(_scaled(nn.Linear(8, 16), 1e4), nn.Tanh(), nn.Linear(16, 16), nn.Tanh()),
    "PI505": dense(40, nn.Tanh, xavier(0.7)),
    "PI506": lambda: nn.Sequential(
        *[layer for _ in range(4) for layer in (nn.Linear(8, 8), nn.Threshold(100.0, 0.0))], nn.Linear(8, 2)
    ),
}


def _scaled(layer: nn.Linear, factor: float) -> nn.Linear:
    layer.weight.data.mul_(factor)
    return layer


def input_of(module: nn.Module) -> Tensor:
    """Return 16 samples of as many features as the first layer takes."""
    first = next((layer for layer in module.modules() if isinstance(layer, nn.Linear)), None)
    return torch.randn(16, first.in_features if first is not None and isinstance(module, nn.Sequential) else 8)
