"""Models of every kind that people have, each with an input; some of them misbehave."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True)
class Specimen:
    """A model and the arguments of its forward."""

    module: nn.Module
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 4)
        self.head = nn.Linear(4, 20, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.embedding(ids))


class Bare(nn.Module):
    """Parameters of its own, on the root, under names of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.randn(10, 10))
        self.c = nn.Parameter(torch.zeros(10))
        self.rest = nn.ParameterList([nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2))])
        self.named = nn.ParameterDict({"a": nn.Parameter(torch.ones(4))})

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.W.T + self.c + self.named["a"].sum()


class Hidden(nn.Module):
    """Layers in a plain list: they run, but nobody trains or saves them. One has statistics to move."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.blocks = [nn.Linear(4, 4), nn.Sequential(nn.BatchNorm1d(4), nn.Dropout())]
        self.heads = {"a": (nn.Linear(4, 2),)}
        self.scale = torch.ones(4, requires_grad=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x) * self.scale
        for block in self.blocks:
            x = block(x)
        return self.heads["a"][0](x)


class Loop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = torch.tanh(self.step(x))
        return x


class Recomputed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.block = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.Tanh())
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.block, self.first(x), use_reentrant=self.reentrant)


class Structured(nn.Module):
    """Several inputs, some by keyword; an output of nested containers."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 2), nn.Linear(3, 2)

    def forward(self, left: Tensor, *, right: Tensor) -> dict[str, Any]:
        return {"sum": self.left(left) + self.right(right), "parts": (self.left(left), [self.right(right)]), "n": 3}


class Magnitude(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.abs()


def _complex() -> Specimen:
    module = nn.Sequential(nn.Linear(3, 2, dtype=torch.complex64), Magnitude())
    return Specimen(module, (torch.randn(2, 3, dtype=torch.complex64),))


def _optimizer_in_the_backward() -> Specimen:
    module = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)

    def step(_: Tensor) -> None:
        optimizer.step()
        optimizer.zero_grad()

    for parameter in module.parameters():
        parameter.register_post_accumulate_grad_hook(step)
    return Specimen(module, (torch.randn(2, 4),))


def _mixed_modes() -> Specimen:
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.BatchNorm1d(4))
    module[1].eval()
    return Specimen(module, (torch.randn(6, 4),))


def _with_gradients() -> Specimen:
    module, x = nn.Linear(4, 4), torch.randn(2, 4)
    module(x).square().sum().backward()
    module.bias.requires_grad_(False)
    return Specimen(module, (x,))


def _with_hooks() -> Specimen:
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    module[0].register_forward_hook(lambda _m, _a, output: output * 2)
    module[2].register_forward_pre_hook(lambda _m, args: (args[0] + 1,))
    module[2].register_full_backward_hook(lambda _m, _i, _o: None)
    module[0].weight.register_hook(lambda grad: grad * 3)
    return Specimen(module, (torch.randn(2, 4),))


def _pruned() -> Specimen:
    module = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2))
    prune.l1_unstructured(module[0], "weight", 0.5)
    return Specimen(module, (torch.randn(3, 8),))


def _old_norms() -> Specimen:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are deprecated, and still in use
        weight = torch.nn.utils.weight_norm(nn.Linear(4, 4))
    return Specimen(nn.Sequential(weight, torch.nn.utils.spectral_norm(nn.Linear(4, 4))), (torch.randn(2, 4),))


def _new_norms() -> Specimen:
    layers = (
        parametrizations.weight_norm(nn.Linear(4, 4)),
        parametrizations.spectral_norm(nn.Linear(4, 4)),
        parametrizations.orthogonal(nn.Linear(4, 4)),
    )
    return Specimen(nn.Sequential(*layers), (torch.randn(2, 4),))


def _transformer() -> Specimen:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return Specimen(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), (torch.randn(2, 3, 8),))


HEALTHY: dict[str, Callable[[], Specimen]] = {
    "mlp": lambda: Specimen(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1)), (torch.randn(2, 4),)),
    "convolutions": lambda: Specimen(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)),
        (torch.randn(2, 3, 6, 6),),
    ),
    "lazy": lambda: Specimen(nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d()), (torch.randn(4, 5),)),
    "tied": lambda: Specimen(Tied(), (torch.tensor([[1, 2, 3]]),)),
    "twice": lambda: Specimen(nn.Sequential(*[nn.Linear(4, 4)] * 2), (torch.randn(2, 4),)),
    "bare": lambda: Specimen(Bare(), (torch.randn(2, 10),)),
    "hidden": lambda: Specimen(Hidden(), (torch.randn(5, 4),)),
    "loop": lambda: Specimen(Loop(), (torch.randn(2, 4),)),
    "lstm": lambda: Specimen(nn.LSTM(4, 3, num_layers=2, dropout=0.1), (torch.randn(5, 2, 4),)),
    "attention": lambda: Specimen(nn.MultiheadAttention(16, 4), (torch.randn(3, 2, 16),) * 3),
    "transformer": _transformer,
    "checkpointed": lambda: Specimen(Recomputed(reentrant=False), (torch.randn(2, 4),)),
    "checkpointed reentrant": lambda: Specimen(Recomputed(reentrant=True), (torch.randn(2, 4),)),
    "structured": lambda: Specimen(Structured(), (torch.randn(2, 4),), {"right": torch.randn(2, 3)}),
    "mixed modes": _mixed_modes,
    "with gradients": _with_gradients,
    "with hooks": _with_hooks,
    "optimizer in the backward": _optimizer_in_the_backward,
    "pruned": _pruned,
    "old norms": _old_norms,
    "new norms": _new_norms,
    "sparse embedding": lambda: Specimen(nn.EmbeddingBag(10, 3, sparse=True), (torch.tensor([[1, 2], [2, 3]]),)),
    "renormalised embedding": lambda: Specimen(nn.Embedding(10, 3, max_norm=0.1), (torch.tensor([1, 2]),)),
    "complex": _complex,
    "half": lambda: Specimen(nn.Linear(4, 4).to(torch.bfloat16), (torch.randn(2, 4, dtype=torch.bfloat16),)),
    "meta": lambda: Specimen(nn.Linear(4, 4, device="meta"), (torch.randn(2, 4, device="meta"),)),
    "frozen": lambda: Specimen(nn.Linear(4, 4).requires_grad_(False), (torch.randn(2, 4),)),
}
"""Ordinary models."""


class _Disturbing(nn.Module):
    """A forward that changes whatever `act` changes, then works, or raises."""

    def __init__(self, act: Callable[[_Disturbing, Tensor], Any], then_raise: bool = False) -> None:
        super().__init__()
        self.layer, self.norm, self.other = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)
        self.register_buffer("calls", torch.zeros(()))
        self.seen: list[int] = []
        self.cache: dict[str, Any] = {}
        self.count = 0
        self.nested: dict[str, Any] = {"list": [], "deep": {"set": {1, 2}}}
        self.generator, self.dice, self.bits = torch.Generator(), random.Random(1), np.random.default_rng(1)
        self._act, self._then_raise = act, then_raise

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.layer(x))
        self._act(self, x)
        if self._then_raise:
            raise RuntimeError("on purpose")
        return x


def _write_without_gradient(module: _Disturbing, _: Tensor) -> None:
    with torch.no_grad():
        module.layer.weight.mul_(0.5)
        module.other.weight[0] = 7.0
        torch.add(module.other.bias, 1, out=module.other.bias)


def _write_through_data(module: _Disturbing, _: Tensor) -> None:
    module.layer.weight.data.view(-1)[:3].fill_(9.0)
    module.other.bias.data += 1
    nn.init.ones_(module.other.weight)


def _replace_data(module: _Disturbing, _: Tensor) -> None:
    module.other.weight.data = torch.zeros(2, 2)
    module.calls.data = torch.ones(3)


def _replace_modules(module: _Disturbing, _: Tensor) -> None:
    module.other = nn.Linear(4, 5)
    module.fresh = nn.Linear(1, 1)
    module.register_buffer("late", torch.ones(2))
    module.register_parameter("bare", nn.Parameter(torch.ones(1)))
    del module.norm


def _change_attributes(module: _Disturbing, x: Tensor) -> None:
    module.seen.append(1)
    module.cache["x"] = x
    module.count += 1
    module.calls += 1
    module.late = "new"
    del module.seen


def _change_modes(module: _Disturbing, _: Tensor) -> None:
    module.eval()
    module.other.train()
    module.other.requires_grad_(False)
    module.layer.bias.grad = torch.ones(4)


def _install_hooks(module: _Disturbing, _: Tensor) -> None:
    module.register_forward_hook(lambda *_: None)
    module.other.register_full_backward_hook(lambda *_: None)
    module.register_state_dict_post_hook(lambda *_: None)


def _draw_numbers(_m: _Disturbing, _x: Tensor) -> None:
    random.random()
    np.random.rand(2)
    torch.rand(3)
    torch.manual_seed(7)
    random.seed(3)
    np.random.seed(4)


def _change_settings(_m: _Disturbing, _x: Tensor) -> None:
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("medium")
    torch.autograd.set_detect_anomaly(True, check_nan=False)
    torch.backends.cudnn.benchmark = True
    torch.set_printoptions(precision=2)
    os.environ["PARAMINSPECT_ZOO"] = "1"
    sys.path.append("zoo")


def _hook_and_mark_a_parameter(module: _Disturbing, _: Tensor) -> None:
    module.layer.weight.register_hook(lambda grad: grad)
    module.other.weight.register_hook(lambda grad: grad * 0)
    module.other.weight.mark = "seen"


def _change_what_is_inside(module: _Disturbing, _: Tensor) -> None:
    module.nested["list"].append([1])
    module.nested["deep"]["set"].add(3)


def _draw_from_its_own(module: _Disturbing, _: Tensor) -> None:
    torch.rand(2, generator=module.generator)
    module.dice.random()
    module.bits.random()


def _work_in_place(module: _Disturbing, _: Tensor) -> None:
    with torch.no_grad():
        functional.relu(module.other.weight.data, inplace=True)
        torch.ops.aten.add_.Tensor(module.other.bias.data, torch.ones(4))


ACTS = {
    "hooks and marks a parameter": _hook_and_mark_a_parameter,
    "changes what is inside": _change_what_is_inside,
    "draws from its own": _draw_from_its_own,
    "works in place": _work_in_place,
    "writes without gradient": _write_without_gradient,
    "writes through data": _write_through_data,
    "replaces data": _replace_data,
    "replaces modules": _replace_modules,
    "changes attributes": _change_attributes,
    "changes modes": _change_modes,
    "installs hooks": _install_hooks,
    "draws numbers": _draw_numbers,
    "changes settings": _change_settings,
    "uses a weight": lambda module, x: functional.linear(x, module.other.weight),
}

DISTURBING: dict[str, Callable[[], Specimen]] = {
    f"{name}{', raises' * raises}": lambda act=act, raises=raises: Specimen(  # type: ignore[misc]
        _Disturbing(act, then_raise=raises), (torch.randn(5, 4),)
    )
    for name, act in ACTS.items()
    for raises in (False, True)
}
"""Models whose forward changes what it should not, and the same that then raise."""

ZOO = {**HEALTHY, **DISTURBING}
