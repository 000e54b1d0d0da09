"""Gradients that are rounding, held against the same model in float64: 0 there, 1e-8 in float32."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 — as everybody calls it

from paraminspect.analysis.passes.forward_backward import ForwardBackward, gradient_of, run_passes, uses_of
from paraminspect.modules.subject import Batch, Given, Loss
from tests.cases import each

Weighted = Callable[[Tensor], Tensor]


def total(y: Tensor) -> Tensor:
    return y.sum()


def weighted(y: Tensor) -> Tensor:
    """Add up with random weights, of which nothing cancels."""
    generator = torch.Generator().manual_seed(3)
    return (y * torch.randn(y.shape, generator=generator).to(y.dtype)).sum()


class Attention(nn.Module):
    """Attention by hand, or by torch's own function: its softmax does not see the bias of the keys."""

    def __init__(self, by_hand: bool) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(16, 16) for _ in range(3))
        self.by_hand = by_hand

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.q(x), self.k(x), self.v(x)
        if self.by_hand:
            return (q @ k.mT / 4).softmax(-1) @ v
        return F.scaled_dot_product_attention(q, k, v)


class Normalised(nn.Module):
    """A scale that the division by the norm takes out again."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(20, 30)
        self.scale = nn.Parameter(torch.ones(()))
        self.last = nn.Linear(30, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.normalize(self.scale * self.first(x), dim=-1))


class Cancelling(nn.Module):
    """Three uses of one weight that add up to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(20, 30)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * 0.3 - self.layer(x) * 0.1 - self.layer(x) * 0.2


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(32), nn.Linear(32, 64), nn.Linear(64, 32)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(F.gelu(self.up(self.norm(x))))


def scaled(factor: float, *layers: nn.Module) -> nn.Module:
    """Return the layers with small or large weights of mean 0."""
    for layer in layers:
        if isinstance(layer, nn.Linear):
            layer.weight.data.mul_(factor)
    return nn.Sequential(*layers)


def deep(activation: type[nn.Module], depth: int, std: float) -> nn.Module:
    layers = [layer for _ in range(depth) for layer in (nn.Linear(20, 20), activation())]
    for layer in layers[::2]:
        nn.init.normal_(layer.weight, std=std)
    return nn.Sequential(*layers)


def conv(norm: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), norm, nn.ReLU(), nn.Conv2d(8, 8, 3))


def mlp(*ends: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 10), *ends)


Case = tuple[Callable[[], nn.Module], tuple[int, ...], Weighted, set[str]]
MLP = {"0.weight", "0.bias", "2.weight", "2.bias"}
BEFORE_SUM = {f"self_attn.{part}" for part in ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")}
CASES: dict[str, Case] = {
    "sum after softmax": (lambda: mlp(nn.Softmax(-1)), (16, 20), total, MLP),
    "mean after softmax": (lambda: mlp(nn.Softmax(-1)), (16, 20), Tensor.mean, MLP),
    "sum after LayerNorm": (lambda: mlp(nn.LayerNorm(10)), (16, 20), total, MLP),
    "sum after BatchNorm": (lambda: mlp(nn.BatchNorm1d(10)), (16, 20), total, MLP | {"3.weight"}),
    "sum after softmax, behind what adds nothing up": (
        lambda: mlp(nn.Tanh(), nn.Unflatten(1, (2, 5)), nn.Flatten(), nn.Softmax(-1)),
        (16, 20),
        total,
        MLP,
    ),
    "softmax, weighted": (lambda: mlp(nn.Softmax(-1)), (16, 20), weighted, set()),
    "bias before BatchNorm2d": (lambda: conv(nn.BatchNorm2d(8)), (16, 3, 20, 20), weighted, {"0.bias"}),
    "bias before InstanceNorm": (lambda: conv(nn.InstanceNorm2d(8)), (4, 3, 12, 12), weighted, {"0.bias"}),
    "bias before GroupNorm of channels": (lambda: conv(nn.GroupNorm(8, 8)), (4, 3, 12, 12), weighted, {"0.bias"}),
    "bias before GroupNorm of pairs": (lambda: conv(nn.GroupNorm(4, 8)), (4, 3, 12, 12), weighted, set()),
    "bias before BatchNorm1d": (
        lambda: nn.Sequential(nn.Linear(20, 30), nn.BatchNorm1d(30), nn.ReLU(), nn.Linear(30, 5)),
        (16, 20),
        weighted,
        {"0.bias"},
    ),
    "keys' bias": (lambda: Attention(True), (4, 10, 16), weighted, {"k.bias"}),
    "keys' bias, fused": (lambda: Attention(False), (4, 10, 16), weighted, {"k.bias"}),
    "norm at the end of a transformer": (
        lambda: nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, dropout=0.0),
        (4, 10, 16),
        total,
        {
            *BEFORE_SUM,
            *(f"linear{i}.{part}" for i in (1, 2) for part in ("weight", "bias")),
            "norm1.weight",
            "norm1.bias",
        },
    ),
    "transformer, weighted": (
        lambda: nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, dropout=0.0),
        (4, 10, 16),
        weighted,
        set(),
    ),
    "scale that is normalised": (Normalised, (16, 20), weighted, {"scale"}),
    "uses that cancel": (Cancelling, (16, 20), weighted, {"layer.weight", "layer.bias"}),
    "vanishing sigmoids": (lambda: deep(nn.Sigmoid, 14, 0.13), (16, 20), weighted, set()),
    "vanishing tanh": (lambda: deep(nn.Tanh, 30, 0.02), (16, 20), weighted, set()),
    "tiny weights": (lambda: scaled(1e-7, nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 5)), (16, 20), weighted, set()),
    "saturated": (lambda: scaled(60, nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 5)), (16, 20), weighted, set()),
    "60 blocks": (lambda: nn.Sequential(*[Block() for _ in range(60)], nn.LayerNorm(32)), (16, 32), weighted, set()),
}


def passes_of(module: nn.Module, x: Tensor, loss: Weighted, follow: tuple[Tensor, ...] = ()) -> ForwardBackward:
    passes = run_passes(module, Batch((Given(x),)), Loss("custom", function=loss), follow=follow)
    assert passes.error is None, passes.error
    return passes


@each("followed", [False, True], ids=["show", "grad"])
@each("case", CASES)
def test_what_is_0_in_exact_arithmetic(case: str, followed: bool) -> None:
    make, shape, loss, wanted = CASES[case]
    torch.manual_seed(0)
    module, x = make(), torch.randn(shape)
    exact = copy.deepcopy(module).double()
    loss(exact(x.double())).backward()

    passes = passes_of(module, x, loss, tuple(module.parameters()) if followed else ())
    found = {name: gradient_of(parameter, passes) for name, parameter in module.named_parameters()}

    assert {name for name, one in found.items() if one.status == "zero"} == wanted
    for name, parameter in exact.named_parameters():
        one, true = found[name], float(parameter.grad.abs().max())
        if name in wanted:
            assert one.rms
            assert true < 1e-6 * one.rms  # plain torch, with more digits, says so too
            assert one.rounding is not None
            assert one.max <= one.rounding
        else:
            assert one.rounding is None
            assert true > 0.5 * one.rms


def test_a_gradient_of_1e_10_that_is_right_to_its_last_digit_is_none() -> None:
    torch.manual_seed(0)
    module = deep(nn.Sigmoid, 14, 0.13)
    passes = passes_of(module, torch.randn(16, 20), weighted)
    first = gradient_of(module[0].weight, passes)
    assert 0 < first.rms < 1e-10
    assert first.status == "ok"


def test_uses_that_cancel_are_fine_each() -> None:
    torch.manual_seed(0)
    module = Cancelling()
    weight = module.layer.weight
    passes = passes_of(module, torch.randn(16, 20), weighted, (weight,))
    assert [use.gradient.status for use in uses_of(passes, {id(weight): "layer.weight"})] == ["ok"] * 3
    assert gradient_of(weight, passes).status == "zero"


def test_the_use_of_a_bias_before_a_norm_is_rounding_too() -> None:
    torch.manual_seed(0)
    module = conv(nn.BatchNorm2d(8))
    bias = module[0].bias
    passes = passes_of(module, torch.randn(16, 3, 20, 20), weighted, (bias,))
    (use,) = uses_of(passes, {id(bias): "0.bias"})
    assert (use.gradient.status, use.gradient.rounding is not None) == ("zero", True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_each_dtype_rounds_as_coarsely_as_it_does(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    module = conv(nn.BatchNorm2d(8)).to(dtype)
    passes = passes_of(module, torch.randn(16, 3, 20, 20, dtype=dtype), weighted)
    found = {name: gradient_of(parameter, passes).status for name, parameter in module.named_parameters()}
    assert {name for name, status in found.items() if status != "ok"} == {"0.bias"}


class Twice(torch.autograd.Function):
    """A Function of the user's, which counts how often its backward runs, and returns little."""

    runs = 0

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x * 1.0

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        Twice.runs += 1
        return grad * 1e-9


def test_a_backward_of_the_users_runs_once_and_is_believed() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return Twice.apply(self.layer(x))

    module = Net()
    passes = passes_of(module, torch.randn(5, 4), weighted)
    assert Twice.runs == 1
    assert gradient_of(module.layer.weight, passes).status == "ok"


def test_no_hook_stays_and_no_random_number_is_drawn() -> None:
    module, x = mlp(nn.Softmax(-1)), torch.randn(16, 20)
    before = torch.get_rng_state()
    passes = passes_of(module, x, total)
    assert torch.equal(torch.get_rng_state(), before)
    assert not passes.rounding._handles
