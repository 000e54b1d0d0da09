"""Networks of every scheme that the facts name, over widths, depths and seeds: verdicts, regimes, known values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paraminspect.analysis.signal import signal_over_seeds
from paraminspect.report import Signal
from tests.analysis.signal.following import draw, layer, mlp, signal, traced
from tests.cases import each

Initialise = Callable[[nn.Module], Any]
SIZES = [(64, 10), (64, 20), (256, 20), (64, 50)]


def _fill(fill: Callable[[Tensor], Any], bias: float = 0.0) -> Initialise:
    def initialise(module: nn.Module) -> None:
        for parameter in module.parameters():
            if parameter.dim() > 1:
                fill(parameter)
            else:
                nn.init.normal_(parameter, 0.0, math.sqrt(bias))

    return initialise


def _variance(gain: float) -> Callable[[Tensor], Any]:
    return lambda weight: nn.init.normal_(weight, 0.0, math.sqrt(gain / weight.shape[1]))


INIT = nn.init
SCHEMES: dict[str, tuple[type[nn.Module], Initialise]] = {
    "default": (nn.ReLU, lambda _: None),
    "xavier": (nn.ReLU, _fill(INIT.xavier_normal_)),
    "he": (nn.ReLU, _fill(lambda weight: INIT.kaiming_normal_(weight, nonlinearity="relu"))),
    "small": (nn.ReLU, _fill(lambda weight: INIT.normal_(weight, 0, 0.01))),
    "large": (nn.ReLU, _fill(lambda weight: INIT.normal_(weight, 0, 1.0))),
    "tanh, critical": (nn.Tanh, _fill(_variance(1.0))),
    "tanh, critical with biases": (nn.Tanh, _fill(_variance(1.760955), 0.05)),
    "tanh, gain 5/3": (nn.Tanh, _fill(_variance(25 / 9))),
    "tanh, ordered": (nn.Tanh, _fill(_variance(1.3), 0.05)),
    "tanh, chaotic": (nn.Tanh, _fill(_variance(2.5), 0.05)),
    "gelu, critical": (nn.GELU, _fill(_variance(1.98305826), 0.17292239)),
    "selu, lecun": (nn.SELU, _fill(_variance(1.0))),
    "linear": (nn.Identity, _fill(_variance(1.0))),
    "orthogonal": (nn.Identity, _fill(INIT.orthogonal_)),
}


def course(name: str, width: int, depth: int, seed: int = 0, **kwargs: Any) -> Signal:
    activation, initialise = SCHEMES[name]
    torch.manual_seed(seed)
    module = mlp([width] * (depth + 1) + [10], activation)
    initialise(module)
    return signal(module, torch.randn(32, width), **kwargs)


@each(("width", "depth", "seed"), [*((*size, 0) for size in SIZES), *((*size, 1) for size in SIZES[:2])])
@each(
    ("name", "forward", "backward", "law", "regime"),
    [
        ("default", "vanishing", "vanishing", "exponential", "ordered"),
        ("xavier", "vanishing", "vanishing", "exponential", "ordered"),
        ("he", "steady", "steady", "constant", "critical"),
        ("large", "exploding", "exploding", "exponential", "chaotic"),
        ("tanh, critical", "steady", "steady", "power law", "critical"),
        ("tanh, critical with biases", "steady", "steady", "constant", "critical"),
        ("gelu, critical", "steady", "steady", "constant", "critical"),
        ("linear", "steady", "steady", "constant", None),
        ("orthogonal", "steady", "steady", "constant", None),
    ],
)
def test_the_verdict_holds_for_every_size_and_seed(
    name: str, width: int, depth: int, forward: str, backward: str, law: str, regime: str | None, seed: int
) -> None:
    found = course(name, width, depth, seed, thorough=False)
    assert (found.forward.verdict, found.backward.verdict) == (forward, backward)
    assert (found.backward.law, found.regime) == (law, regime)


@pytest.mark.parametrize(("width", "depth"), SIZES)
def test_small_weights_vanish_at_once(width: int, depth: int) -> None:
    found = course("small", width, depth, thorough=False)
    assert (found.forward.verdict, found.forward.law) == ("vanishing", "exponential")
    assert found.forward.leaves in (4, 5, 6)
    assert found.backward.verdict in (("vanishing",) if depth < 50 else ("dead",))  # the forward has come to 0


@pytest.mark.parametrize(
    ("name", "factor", "chi", "regime"),
    [
        ("he", 1.0, 1.0, "critical"),
        ("xavier", 0.5, 0.5, "ordered"),
        ("default", 1 / 6, 1 / 6, "ordered"),
        ("tanh, gain 5/3", 1.20983, 1.20983, "chaotic"),
        ("tanh, ordered", 0.880164, 0.880164, "ordered"),
        ("tanh, chaotic", 1.133516, 1.133516, "chaotic"),
        ("selu, lecun", 1.071575, 1.071575, "chaotic"),
    ],
)
def test_the_factor_of_the_gradient(name: str, factor: float, chi: float, regime: str) -> None:
    activation, initialise = SCHEMES[name]
    traces = []
    for seed in range(3):
        torch.manual_seed(seed)
        module = mlp([256] * 21 + [10], activation)
        initialise(module)
        traces.append(traced(module, torch.randn(32, 256), thorough=False))
    found = signal_over_seeds(traces)
    assert found.backward.factor == pytest.approx(factor, rel=0.12)
    assert found.backward.expected == pytest.approx(factor, rel=0.06)
    assert (found.chi1, found.regime) == (pytest.approx(chi, rel=0.01), regime)


def test_known_values_of_the_forward() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 256)
    x = x / x.square().mean().sqrt()
    module = mlp([256] * 11 + [10], nn.ReLU)
    drawn = draw(module)
    found = signal(module, x, drawn=drawn)
    hidden = found.layers[:-1]
    assert [one.expected.pre.rms**2 for one in hidden] == pytest.approx([2.0] * 10)
    assert [one.expected.out.rms for one in hidden] == pytest.approx([1.0] * 10)
    assert [one.expected.forward for one in hidden[1:]] == pytest.approx([1.0] * 9)
    assert [one.expected.backward for one in hidden[:-1]] == pytest.approx([1.0] * 9)
    assert (found.chi1, found.xi_q, found.regime) == (pytest.approx(1.0), None, "critical")
    assert found.fluctuation == pytest.approx(10 / 256)
    cosines = [one.expected.cosine for one in hidden]
    assert [cosines[at] for at in (0, 1, 2, 4, 9)] == pytest.approx([0.3183, 0.4937, 0.6048, 0.7359, 0.8715], abs=2e-3)
    assert [hidden[at].expected.dead for at in (2, 4, 9)] == pytest.approx([0.0145, 0.0622, 0.1711], rel=0.05)


@pytest.mark.parametrize(
    ("gain", "expected"),
    [(1.0, [0.62793, 0.48626, 0.40824, 0.32162, 0.22847]), (25 / 9, [None, None, None, None, 0.65135])],
)
def test_known_values_of_tanh(gain: float, expected: list[float | None]) -> None:
    x = torch.randn(64, 128)
    module = mlp([128] * 11 + [10], nn.Tanh)
    found = signal(module, x / x.square().mean().sqrt(), drawn=draw(module, gain))
    hidden = [found.layers[at].expected.out.rms for at in (0, 1, 2, 4, 9)]
    assert [one for one, wanted in zip(hidden, expected, strict=True) if wanted] == pytest.approx(
        [one for one in expected if one], abs=2e-3
    )


def test_the_default_levels_off_at_its_biases() -> None:
    torch.manual_seed(0)
    module = mlp([256] * 21 + [10], nn.ReLU)
    found = signal(module, torch.randn(64, 256), thorough=False)
    assert found.layers[-2].expected.pre.rms ** 2 * 256 == pytest.approx(0.4, rel=0.1)
    assert found.layers[-2].pre.rms ** 2 * 256 == pytest.approx(0.4, rel=0.5)


def test_the_tolerance_is_that_of_the_widths_and_seeds() -> None:
    traces = [traced(mlp([16] * 21 + [10], nn.ReLU), torch.randn(8, 16))]
    assert signal_over_seeds(traces).forward.high == pytest.approx(math.exp(4 * math.sqrt(5 / (16 * 19))))
    traces = [traced(mlp([64] * 21 + [10], nn.ReLU), torch.randn(8, 64)) for _ in range(3)]
    found = signal_over_seeds(traces)
    assert found.forward.high == pytest.approx(math.exp(math.log(20) / 19))  # 4.5 in rms, at the least
    assert found.layers[3].tolerance == pytest.approx(4 * math.sqrt(5 / (64 * 3)))
    assert (found.seeds, found.samples) == (3, 8)


class Residual(nn.Module):
    def __init__(self, width: int, norm: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.inner = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(self.norm(x))


@pytest.mark.parametrize(
    ("norm", "verdict", "law"), [(True, "steady", "power law"), (False, "exploding", "exponential")]
)
def test_a_residual_stream_grows_as_a_power_of_the_depth_if_it_is_normalised(
    norm: bool, verdict: str, law: str
) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(*(Residual(128, norm) for _ in range(24)), nn.LayerNorm(128), nn.Linear(128, 10))
    found = signal(module, torch.randn(16, 128), drawn=draw(module), thorough=False)
    assert (found.forward.verdict, found.forward.law) == (verdict, law)
    assert (found.backward.verdict, found.backward.law) == (verdict, law)
    if norm:
        assert found.forward.exponent == pytest.approx(1.0, abs=0.15)


def test_a_pyramid_is_judged_by_its_norms() -> None:
    torch.manual_seed(0)
    widths = [1024, 512, 512, 256, 256, 128, 128, 64, 10]
    module = mlp(widths, nn.ReLU)
    found = signal(module, torch.randn(16, 1024), drawn=draw(module), thorough=False)
    assert (found.forward.verdict, found.backward.verdict) == ("steady", "steady")
    assert found.backward.expected == pytest.approx(1.0)


def test_a_readout_of_zeros_stops_the_gradient_and_that_is_said() -> None:
    torch.manual_seed(0)
    module = mlp([64] * 8 + [10], nn.ReLU)
    nn.init.zeros_(module[-1].weight)
    found = signal(module, torch.randn(16, 64))
    assert (found.forward.verdict, found.backward.verdict) == ("vanishing", "unknown")
    assert (
        f"the weights of {len(module) - 1} are 0: no gradient comes back through it until it has learnt" in found.notes
    )
    assert layer(found, str(len(module) - 1)).symmetric is None


@pytest.mark.parametrize(("value", "verdict", "symmetric"), [(0.0, "dead", 63), (0.01, "vanishing", 63)])
def test_constant_weights(value: float, verdict: str, symmetric: int) -> None:
    module = mlp([64] * 8 + [10], nn.ReLU)
    for parameter in module.parameters():
        nn.init.constant_(parameter, value if parameter.dim() > 1 else 0.0)
    found = signal(module, torch.rand(16, 64))
    assert found.forward.verdict == verdict
    assert [one.symmetric for one in found.layers[:-1]] == [symmetric] * 7


def test_widths_of_one_are_no_more_than_unknown() -> None:
    torch.manual_seed(0)
    found = signal(mlp([1] * 6, nn.Tanh), torch.randn(4, 1))
    assert [one.width for one in found.layers] == [1] * 5
    assert found.forward.verdict in ("steady", "vanishing")


def test_seeds_that_went_another_way_are_left_out() -> None:
    torch.manual_seed(0)
    short, long = mlp([16] * 4, nn.ReLU), mlp([16] * 5, nn.ReLU)
    x = torch.randn(4, 16)

    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("on purpose")

    traces = [traced(long, x), traced(short, x), traced(long, x), traced(Broken(), x)]
    found = signal_over_seeds(traces)
    assert (found.seeds, len(found.layers)) == (2, 4)
    assert "1 of 4 seeds took another way through the model: left out" in found.notes
    assert "the forward failed in 1 of 4 seeds: Broken got (4, 16) float32: on purpose" in found.notes


def test_nothing_to_combine() -> None:
    with pytest.raises(ValueError, match="no trace"):
        signal_over_seeds([])


def test_seeds_that_died_are_counted() -> None:
    torch.manual_seed(0)
    x = torch.randn(16, 8)
    living, dying = mlp([8] * 6, nn.ReLU), mlp([8] * 6, nn.ReLU)
    nn.init.zeros_(dying[2].weight)
    nn.init.zeros_(dying[2].bias)
    found = signal_over_seeds([traced(living, x), traced(dying, x)])
    assert "in 1 of 2 seeds the signal came to exactly 0: the others were judged" in found.notes
    assert found.forward.verdict != "dead"
