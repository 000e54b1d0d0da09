"""The signal of a run: its own module, input and random numbers first, then later seeds."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.conftest import Ran

Run = Callable[..., Ran]
NET = """
name: net
seed: 3
layers:
  - MLP: {sizes: [16, 24, 24, 24, 24, 5], activation: ReLU}
input: {shape: [32, 16], sample: normal}
"""
MODULE = """
import torch
from torch import nn

def net():
    return nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 5))

built = net()

class Random(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(16, 16), nn.Linear(16, 16)
    def forward(self, x):
        x = self.a(x)
        return self.b(torch.relu(x)) if float(torch.rand(())) < 0.5 else x

def normed():
    return nn.Sequential(nn.Linear(16, 24), nn.LayerNorm(24))

class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Linear(16, 24), nn.Linear(24, 5)
        self.body = nn.Sequential(*(layer for _ in range(4) for layer in (nn.Linear(24, 24), nn.ReLU())))
    def forward(self, x):
        return self.head(self.body(torch.relu(self.stem(x))).cumsum(1))
"""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODULE, encoding="utf-8")
    return lambda name: f"model.py:{name}"


def _by_hand(seed: int) -> tuple[list[float], list[float]]:
    """Return the second moments of pre-activations and of the gradients at them, in plain torch."""
    torch.manual_seed(seed)
    sizes = [16, 24, 24, 24, 24, 5]
    layers = [nn.Linear(one, other) for one, other in pairwise(sizes)]
    h = torch.randn(32, 16)
    seen = []
    for at, one in enumerate(layers):
        z = one(h)
        z.retain_grad()
        seen.append(z)
        h = torch.relu(z) if at < 4 else z
    cotangent = torch.randn(h.shape)
    h.backward(cotangent / torch.linalg.vector_norm(cotangent))
    return [float(z.detach().square().mean()) for z in seen], [float(z.grad.square().mean()) for z in seen]


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_seeds_are_those_of_hand_written_torch(run: Run, spec: Callable[..., Path], seeds: int) -> None:
    found = run("grad", spec(NET), "--seeds", seeds, "--json").report["signal"]
    pre, grad = zip(*(_by_hand(3 + later) for later in range(seeds)), strict=True)
    for at, layer in enumerate(found["layers"]):
        assert layer["pre"]["rms"] ** 2 == pytest.approx(sum(one[at] for one in pre) / seeds, rel=1e-5)
        assert layer["grad_rms"] ** 2 == pytest.approx(sum(one[at] for one in grad) / seeds, rel=1e-4)
    logs = [math.log(one[3] / one[0]) / 3 for one in pre]
    assert found["forward"]["factor"] == pytest.approx(math.exp(sum(logs) / seeds), rel=1e-5)
    assert found["seeds"] == seeds


def test_the_layers_have_what_theory_expects_on_the_scale_of_the_loss(run: Run, spec: Callable[..., Path]) -> None:
    report = run(
        "grad",
        spec(NET.replace("seed: 3", "init: [{params: '*.weight', scheme: kaiming_normal, nonlinearity: relu}]")),
        "--json",
    ).report
    for layer in report["layers"]:
        assert layer["expected"]["out_rms"] == pytest.approx(layer["out"]["rms"], rel=0.4)
        assert layer["expected"]["grad_rms"] == pytest.approx(layer["grad"]["rms"], rel=0.6)
    assert [layer["dead"] is None for layer in report["layers"]] == [
        layer["type"] == "Linear" for layer in report["layers"]
    ]
    verdicts = {
        one["about"]: (one["verdict"], one["tolerance"]) for one in report["verdicts"] if one["about"] != "scheme"
    }
    band = pytest.approx(math.exp(max(4 * math.sqrt(5 / (24 * 3)), math.log(20) / 3)) - 1)
    assert verdicts == {"forward": ("steady", band), "backward": ("steady", band)}


def test_a_norm_at_the_end_leaves_the_gradient_of_a_sum_without_an_expectation(
    run: Run, model: Callable[[str], str]
) -> None:
    report = run("grad", model("normed"), "--input", "8,16:float32:normal", "--json").report
    assert [layer["expected"]["grad_rms"] for layer in report["layers"]] == [None, None]
    assert [layer["expected"]["out_rms"] is None for layer in report["layers"]] == [False, False]


def test_a_module_that_is_built_already_is_said_to_be(run: Run, model: Callable[[str], str]) -> None:
    note = "the model is built already: only the input, and what a rule draws, differ from seed to seed"
    once = run("grad", model("built"), "--input", "8,16", "--json").report["signal"]
    twice = run("grad", model("built"), "--input", "8,16", "--seeds", 2, "--json").report["signal"]
    assert (note in once["notes"], note in twice["notes"]) == (False, True)
    made = run("grad", model("net"), "--input", "8,16", "--seeds", 2, "--json").report["signal"]
    assert note not in made["notes"]


def test_seeds_that_go_another_way_are_counted(run: Run, model: Callable[[str], str]) -> None:
    found = run("grad", model("Random"), "--input", "8,16:float32:normal", "--seeds", 8, "--json").report["signal"]
    left = 8 - found["seeds"]
    assert 0 < left < 8
    assert f"{left} of 8 seeds took another way through the model: left out" in found["notes"]


def test_no_signal_on_the_meta_device(run: Run, spec: Callable[..., Path]) -> None:
    report = run("grad", spec(NET), "--device", "meta", "--json").report
    assert report["signal"] is None
    assert "no signal: tensors on the meta device hold no numbers" in report["notes"]


def test_no_signal_without_a_forward(run: Run, model: Callable[[str], str]) -> None:
    ran = run("grad", model("built"), "--input", "8,15", "--json")
    assert (ran.code, ran.report["signal"]) == (2, None)


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_layer_alone_has_its_own_rows_and_verdicts(run: Run, model: Callable[[str], str], seeds: int) -> None:
    """The figures are those of the whole model's run; what theory does not know lies outside of it."""
    asked = ("grad", model("Deep"), "--input", "32,16:float32:normal", "--seeds", seeds, "--json")
    whole, found = run(*asked).report, run(*asked, "--layer", "body").report
    inside = [one for one in whole["signal"]["layers"] if one["module"].startswith("body.")]
    rows = found["signal"]["layers"]
    assert [(one["module"], one["parameter"]) for one in rows] == [(f"{at}", f"{at}.weight") for at in (0, 2, 4, 6)]
    assert [one["depth"] for one in rows] == [1, 2, 3, 4]
    for key in ("pre", "out", "grad_norm", "cosine", "rank", "dead"):
        assert [one[key] for one in rows] == [one[key] for one in inside]
    assert found["signal"]["forward"]["depths"] == [1, 4]
    assert whole["signal"]["forward"]["depths"] == [1, 5]
    assert [verdict["about"] for verdict in found["verdicts"]] == ["forward", "backward"]
    assert any("cumsum in the model" in note for note in whole["signal"]["notes"])
    assert not any("cumsum" in note for note in found["signal"]["notes"])
    expected = [one["expected"]["out_rms"] for one in whole["layers"] if one["module"].startswith("body.")]
    assert [one["expected"]["out_rms"] for one in found["layers"]] == expected
    assert None not in expected
