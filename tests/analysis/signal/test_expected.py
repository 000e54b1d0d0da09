"""What is expected, beside the mean over many random networks: forward and gradient, for every effect."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from paraminspect.analysis.signal import signal_over_seeds
from paraminspect.report import SignalLayer
from tests.analysis.signal.following import draw, mlp, traced

WIDTH = 96
SEEDS = 10
SIGMAS = 5.0  # over all the figures of all cases, less than one false alarm in a thousand runs; the seeds are fixed

Build = Callable[[], nn.Module]


class Block(nn.Module):
    """A residual block before or after a norm."""

    def __init__(self, norm: type[nn.Module], activation: type[nn.Module], first: bool) -> None:
        super().__init__()
        self.norm, self.first = norm(WIDTH), first
        self.inner = nn.Sequential(nn.Linear(WIDTH, WIDTH), activation(), nn.Linear(WIDTH, WIDTH), nn.Dropout(0.2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(self.norm(x)) if self.first else self.norm(x + self.inner(x))


class Arithmetic(nn.Module):
    """Sums of independent parts, one of them weighed; a gain, a shift, numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.shift = nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.sub(functional.relu(self.a(x)), torch.tanh(self.b(x)), alpha=2)
        return self.c(-(h + self.shift) * 0.5 / torch.tensor(2.0))


class Case(NamedTuple):
    build: Build
    options: dict[str, Any]
    image: bool = False
    allowance: float = 0.0  # in layers over width: what a finite width may add to a mean, where theory is its limit


def sequential(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


def pictures(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(10))


def _mlp(activation: str) -> Case:
    return Case(lambda: mlp([WIDTH] * 4, getattr(nn, activation)), {"bias": 0.1}, allowance=3.0)


ACTIVATIONS = ("Tanh", "Sigmoid", "GELU", "SiLU", "SELU", "ELU", "Mish", "Softplus", "Softsign", "Hardtanh", "ReLU6")
ACTIVATIONS += ("CELU", "LogSigmoid", "Hardswish", "Hardsigmoid", "Softshrink")

CASES: dict[str, Case] = {
    "relu": Case(lambda: mlp([WIDTH, 64, 128, WIDTH, 32], nn.ReLU), {"bias": 0.1}),
    "leaky relu": Case(lambda: mlp([WIDTH] * 4, lambda: nn.LeakyReLU(0.2)), {"bias": 0.1}),
    "prelu": Case(lambda: mlp([WIDTH] * 4, nn.PReLU), {"bias": 0.1, "shift": 0.25}, allowance=3.0),
    **{name: _mlp(name) for name in ACTIVATIONS},
    "biases with a mean": Case(lambda: mlp([WIDTH] * 4, nn.ReLU), {"bias": 0.1, "shift": 0.3}, allowance=3.0),
    "tanh, biases with a mean": Case(lambda: mlp([WIDTH] * 4, nn.Tanh), {"shift": -0.5}, allowance=3.0),
    "uniform weights": Case(lambda: mlp([WIDTH] * 4, nn.ReLU), {"gain": 1 / 3, "bias": 0.003, "flat": True}),
    "tanh, uniform biases": Case(
        lambda: mlp([WIDTH] * 4, nn.Tanh), {"gain": 0.3, "bias": 1.5, "flat": True}, allowance=3.0
    ),
    "gelu, uniform biases with a mean": Case(
        lambda: mlp([WIDTH] * 4, nn.GELU), {"gain": 0.3, "bias": 1.0, "shift": 0.2, "flat": True}, allowance=3.0
    ),
    "dropout": Case(
        lambda: sequential(
            *mlp([WIDTH] * 2, nn.ReLU, False), nn.Dropout(0.3), *mlp([WIDTH] * 2, nn.ReLU, False), nn.Linear(WIDTH, 9)
        ),
        {"bias": 0.1},
    ),
    "norm before": Case(lambda: sequential(*(Block(nn.LayerNorm, nn.ReLU, True) for _ in range(3))), {}, allowance=6.0),
    "rms norm before": Case(
        lambda: sequential(*(Block(nn.RMSNorm, nn.GELU, True) for _ in range(3))), {}, allowance=6.0
    ),
    "norm after": Case(lambda: sequential(*(Block(nn.LayerNorm, nn.GELU, False) for _ in range(3))), {}, allowance=6.0),
    "arithmetic": Case(
        lambda: sequential(Arithmetic(), Arithmetic(), nn.Linear(WIDTH, 9)), {"bias": 0.1}, allowance=6.0
    ),
    "padding": Case(
        lambda: pictures(*(k for c in (8, 24, 24) for k in (nn.Conv2d(c, 24, 3, padding=1), nn.ReLU()))),
        {"bias": 0.1},
        True,
    ),
    "padding, tanh": Case(
        lambda: pictures(*(k for c in (8, 24, 24) for k in (nn.Conv2d(c, 24, 3, padding=1), nn.Tanh()))), {}, True, 1.5
    ),
    "stride, dilation, groups": Case(
        lambda: pictures(
            nn.Conv2d(8, 24, 3, stride=2, padding=1, groups=4),
            nn.ReLU(),
            nn.Conv2d(24, 24, (3, 1), padding="same", dilation=2),
            nn.ReLU(),
        ),
        {"bias": 0.05},
        True,
    ),
    "transposed": Case(
        lambda: pictures(
            nn.ConvTranspose2d(8, 24, 3, stride=2),
            nn.ReLU(),
            nn.ConvTranspose2d(24, 16, 4, stride=2, padding=1, output_padding=1, groups=2),
            nn.ReLU(),
        ),
        {"bias": 0.05},
        True,
    ),
}

PICKS: dict[str, Callable[[SignalLayer], tuple[float | None, float | None]]] = {
    "pre": lambda one: (_square(one.pre.rms), _square(one.expected.pre.rms)),
    "mean": lambda one: (one.pre.mean, one.expected.pre.mean),
    "out": lambda one: (_square(one.out.rms), _square(one.expected.out.rms)),
    "mean out": lambda one: (one.out.mean, one.expected.out.mean),
    "gradient": lambda one: (_square(one.grad_rms), _square(one.expected.grad_rms)),
    "dead": lambda one: (one.dead, one.expected.dead),
    "saturated": lambda one: (one.saturated, one.expected.saturated),
    "cosine": lambda one: (one.cosine, one.expected.cosine),
}


def _square(value: float | None) -> float | None:
    return None if value is None else value**2


@pytest.mark.parametrize("name", CASES)
def test_the_mean_over_random_networks_is_what_theory_expects(name: str) -> None:
    case = CASES[name]
    torch.manual_seed(0)
    x = torch.randn(4, 8, 9, 10) if case.image else torch.randn(16, WIDTH)
    runs: list[tuple[SignalLayer, ...]] = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        module = case.build()
        module(x)
        found = signal_over_seeds([traced(module, x, drawn=draw(module, **case.options))])
        runs.append(found.layers)
    compared = 0
    for at, layers in enumerate(zip(*runs, strict=True)):
        for figure, pick in PICKS.items():
            measured, expected = zip(*map(pick, layers), strict=True)
            if None in measured:
                continue
            if expected[0] is None and figure in ("dead", "saturated"):
                continue  # which theory knows of plain layers alone, see below
            assert expected[0] is not None, (figure, layers[0])
            compared += 1
            away = len(runs[0]) - at if figure == "gradient" else 1 + at
            _agree(f"{figure} of layer {at}", measured, expected[0], case.allowance * away / WIDTH)
    assert compared >= 15


def _agree(what: str, measured: tuple[float, ...], expected: float, allowance: float) -> None:
    mean = math.fsum(measured) / len(measured)
    variance = math.fsum((one - mean) ** 2 for one in measured) / (len(measured) - 1)
    error = math.sqrt(variance / len(measured))
    scale = max(abs(expected), 0.25 if "mean" in what else 0.0)  # a mean is judged by what it is the mean of
    bound = SIGMAS * error + allowance * scale + 1e-6 * abs(expected)
    if "cosine" in what:
        bound += 4.0 / WIDTH  # a mean of quotients is no quotient of means
    if "dead" in what or "saturated" in what:
        bound += SIGMAS * math.sqrt(expected / (WIDTH / 2 * len(measured)))  # some units in all, or none
    assert abs(mean - expected) <= bound, f"{what}: {mean:.4g} +- {error:.2g}, expected {expected:.4g}"


def test_theory_gives_dead_and_saturated_shares_of_plain_layers() -> None:
    x = torch.randn(16, WIDTH)
    module = mlp([WIDTH] * 4, nn.ReLU)
    found = signal_over_seeds([traced(module, x, drawn=draw(module))])
    assert [one.expected.dead is None for one in found.layers] == [False, False, True]
    module = mlp([WIDTH] * 4, nn.Tanh)
    found = signal_over_seeds([traced(module, x, drawn=draw(module))])
    assert [one.expected.saturated is None for one in found.layers] == [False, False, True]
