"""What cuts a signal off: clamp, hardtanh and their like, bounds that no signal reaches, and theory without an answer."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from paraminspect.analysis.signal import figures
from paraminspect.report import Signal
from tests.analysis.signal.following import draw, signal
from tests.cases import each

INF = math.inf


class Cut(nn.Module):
    """Three layers with a function after each but the last."""

    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.c, self.act = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 8), act

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.act(self.b(self.act(self.a(x)))))  # type: ignore[no-any-return]  # a module returns Any


def found(act: Callable[[Tensor], Tensor]) -> Signal:
    torch.manual_seed(0)
    module = Cut(act)
    drawn = draw(module)
    return signal(module, torch.randn(16, 64), drawn=drawn)


SAME = {
    "relu": (
        torch.relu,
        [
            lambda x: x.clamp(0, INF),
            lambda x: x.clamp(min=0),
            lambda x: torch.clamp_min(x, 0),
            lambda x: x.clip(0.0, 1e30),
            lambda x: functional.hardtanh(x, 0.0, 1e10),
            lambda x: x.clamp_(0, torch.finfo(torch.float32).max),
        ],
    ),
    "linear": (
        lambda x: x,
        [
            lambda x: x.clamp(-INF, INF),
            lambda x: x.clamp(-1e10, 1e10),
            lambda x: functional.hardtanh(x, -1e38, INF),
            lambda x: x.clamp(max=INF),
        ],
    ),
    "hardtanh": (
        functional.hardtanh,
        [lambda x: x.clamp(-1, 1), lambda x: torch.clip(x, max=1.0, min=-1.0)],
    ),
    "relu6": (lambda x: functional.hardtanh(x, 0.0, 6.0), [lambda x: x.clamp(0, 6)]),
    "one bound": (
        lambda x: functional.hardtanh(x, -0.5, INF),
        [lambda x: x.clamp(min=-0.5), lambda x: x.clamp_min(-0.5), lambda x: x.clamp(-0.5, 1e12)],
    ),
}


@each(("kind", "number"), [(kind, i) for kind, (_, others) in SAME.items() for i in range(len(others))])
def test_one_function_however_it_is_written(kind: str, number: int) -> None:
    one, others = SAME[kind]
    assert found(others[number]) == found(one)


def test_a_layer_that_is_cut_off_on_one_side_is_expected_and_not_saturated() -> None:
    first = found(lambda x: x.clamp(min=-0.5)).layers[0]
    assert first.activation == "hardtanh:min_val=-0.5,max_val=inf"
    assert first.saturated is None
    assert first.expected.out.rms == pytest.approx(first.out.rms, rel=0.1)


@pytest.mark.parametrize("cut", [nn.ReLU6(), nn.Hardtanh(0.0, 2.0), lambda x: x.clamp(0.0, 6.0)])
def test_below_0_a_cut_at_0_is_off_and_not_saturated(cut: Callable[[Tensor], Tensor]) -> None:
    first = found(cut).layers[0]
    high = 2.0 if isinstance(cut, nn.Hardtanh) and not isinstance(cut, nn.ReLU6) else 6.0
    assert first.pre.rms is not None and first.saturated is not None and first.dead is not None
    above = (1.0 - math.erf(high / first.pre.rms / math.sqrt(2.0))) / 2.0
    assert first.saturated == pytest.approx(above, abs=0.02)
    assert first.expected.saturated == pytest.approx(above, abs=0.02)
    assert first.expected.dead is not None


def test_above_its_bound_a_relu6_is_saturated_and_below_0_dead() -> None:
    y = torch.tensor([[-1.0, 7.0, 1.0, 0.0], [-2.0, 1.0, 9.0, 0.5]]).clamp(0.0, 6.0)
    assert figures.saturated_share(y, "hardtanh", {"min_val": 0.0, "max_val": 6.0}) == 2 / 8
    assert figures.saturated_share(y, "hardtanh", {"min_val": 0.5, "max_val": 6.0}) == (2 + 4) / 8
    assert figures.dead_share(y, 1) == 1 / 4


NO_ANSWER = {
    "a slope": lambda x: functional.leaky_relu(x, 1e12),
    "an infinite slope": lambda x: functional.leaky_relu(x, INF),
    "a scale": lambda x: functional.elu(x, 1e12),
    "a negative beta": lambda x: functional.softplus(x, -1.0),
    "a negative lambda": lambda x: functional.hardshrink(x, -1.0),
    "bounds of tensors": lambda x: x.clamp(torch.zeros(64), torch.ones(64)),
    "no bound": lambda x: x.clamp(math.nan, 1.0),
    "crossed bounds": lambda x: x.clamp(2.0, 1.0),
    "a factor": lambda x: torch.tanh(x * 1e300),
    "an infinite factor": lambda x: torch.tanh(x * INF),
}


@each("name", NO_ANSWER)
def test_where_theory_has_no_answer_what_was_measured_is_shown(name: str) -> None:
    layers = found(NO_ANSWER[name]).layers
    assert layers[0].module == "a"
    assert layers[-1].module == "c"
