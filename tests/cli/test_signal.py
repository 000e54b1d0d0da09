"""The signal view of `grad`: its options, and the known values on real networks through the command line."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CONFIGS, Ran

Run = Callable[..., Ran]
NET = """
name: net
layers:
  - MLP: {{sizes: [{sizes}], activation: {activation}}}
input: {{shape: [64, 256], sample: normal}}
"""


@pytest.fixture
def grad(run: Run, spec: Callable[..., Path]) -> Callable[..., dict[str, Any]]:
    """Run `grad` on a deep net of width 256 and return its signal."""

    def call(*options: object, activation: str = "ReLU", depth: int = 12) -> dict[str, Any]:
        path = spec(NET.format(sizes=", ".join(["256"] * (depth + 1) + ["10"]), activation=activation))
        return run("grad", path, "--json", "-q", *options).report["signal"]

    return call


def critical(sigma_w2: float, sigma_b2: float) -> tuple[str, ...]:
    """Return the options that draw weights of variance σw²/256 and biases of variance σb²."""
    return "--scheme", f"normal:std={math.sqrt(sigma_w2 / 256)}", "--bias", f"normal:std={math.sqrt(sigma_b2)}"


HE = ("--scheme", "kaiming_normal:nonlinearity=relu", "--bias", "zeros")


@pytest.mark.parametrize(
    ("activation", "options", "forward", "backward", "chi", "regime"),
    [
        ("ReLU", HE, "steady", "steady", 1.0, "critical"),
        ("ReLU", ("--scheme", "xavier_normal", "--bias", "zeros"), "vanishing", "vanishing", 0.5, "ordered"),
        ("ReLU", (), "vanishing", "vanishing", 1 / 6, "ordered"),
        ("ReLU", ("--scheme", "normal:std=0.01", "--bias", "zeros"), "vanishing", "vanishing", 0.0128, "ordered"),
        ("ReLU", ("--scheme", "normal:std=1", "--bias", "zeros"), "exploding", "exploding", 128.0, "chaotic"),
        ("Tanh", critical(1.0, 0.0), "steady", "steady", 1.0, "critical"),
        ("Tanh", critical(1.424205, 0.01), "steady", "steady", 1.0, "critical"),
        ("Tanh", critical(1.760955, 0.05), "steady", "steady", 1.0, "critical"),
        ("Tanh", critical(1.986073, 0.1), "steady", "steady", 1.0, "critical"),
        ("Tanh", critical(1.3, 0.05), "steady", None, 0.880164, "ordered"),
        ("Tanh", critical(2.5, 0.05), "steady", None, 1.133516, "chaotic"),
        (
            "Tanh",
            ("--scheme", "xavier_normal:gain=1.6666666667", "--bias", "zeros"),
            "steady",
            None,
            1.20983,
            "chaotic",
        ),
        ("GELU", critical(1.98305826, 0.17292239), "steady", "steady", 1.0, "critical"),
        ("SELU", ("--scheme", "lecun_normal", "--bias", "zeros"), "steady", None, 1.071575, "chaotic"),
    ],
)
def test_verdict_and_regime_of_every_scheme(
    grad: Callable[..., Any], activation: str, options: Any, forward: str, backward: str | None, chi: float, regime: str
) -> None:
    found = grad(*options, activation=activation)
    assert (found["forward"]["verdict"], found["regime"]) == (forward, regime)
    assert found["chi1"] == pytest.approx(chi, rel=2e-6 if activation != "GELU" else 1e-2)
    assert backward in (None, found["backward"]["verdict"])
    assert found["backward"]["factor"] == pytest.approx(found["backward"]["expected"], rel=0.12)


def test_he_keeps_the_second_moment_at_2(grad: Callable[..., Any]) -> None:
    found = grad(*HE, "--seeds", 2)
    scale = found["input_rms"] ** 2
    for layer in found["layers"][:-1]:
        assert layer["expected"]["pre"]["rms"] ** 2 == pytest.approx(2 * scale, rel=2e-3)
        assert layer["expected"]["out"]["rms"] ** 2 == pytest.approx(scale, rel=2e-3)
        assert layer["pre"]["rms"] ** 2 == pytest.approx(2, rel=0.5)


def test_the_default_comes_to_what_its_biases_make(grad: Callable[..., Any]) -> None:
    layer = grad()["layers"][-2]
    assert 256 * layer["expected"]["pre"]["rms"] ** 2 == pytest.approx(0.4, rel=0.01)
    assert layer["expected"]["backward"] == pytest.approx(1 / 6, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "stds"),
    [
        (
            ("--scheme", "xavier_normal", "--bias", "zeros"),
            {0: 0.62793, 1: 0.48626, 2: 0.40824, 4: 0.32162, 9: 0.22847},
        ),
        (("--scheme", "xavier_normal:gain=1.6666666667", "--bias", "zeros"), {9: 0.65135, 11: 0.65135}),
    ],
)
def test_the_activations_of_tanh(grad: Callable[..., Any], options: Any, stds: dict[int, float]) -> None:
    found = grad(*options, activation="Tanh")
    for at, std in stds.items():
        assert found["layers"][at]["expected"]["out"]["rms"] == pytest.approx(std, rel=5e-3)
        assert found["layers"][at]["out"]["rms"] == pytest.approx(std, rel=0.1)


def test_dead_units_stand_beside_those_of_a_healthy_net(grad: Callable[..., Any]) -> None:
    layers = grad(*HE, "--seeds", 3, depth=20)["layers"]
    for depth, share in ((3, 0.0145), (5, 0.0622), (10, 0.1711), (20, 0.2871)):
        assert layers[depth - 1]["expected"]["dead"] == pytest.approx(share, rel=0.03)
        assert layers[depth - 1]["dead"] == pytest.approx(share, abs=0.08)


@pytest.mark.parametrize(
    ("name", "forward", "backward", "law"),
    [("deep-relu", "vanishing", "vanishing", "exponential"), ("deep-tanh", "steady", "steady", "power law")],
)
def test_the_specs_that_come_with_the_package(run: Run, name: str, forward: str, backward: str, law: str) -> None:
    found = run("grad", CONFIGS / f"{name}.yaml", "--json").report["signal"]
    assert (found["forward"]["verdict"], found["backward"]["verdict"], found["backward"]["law"]) == (
        forward,
        backward,
        law,
    )
    assert len(found["layers"]) == 21


def test_histograms_on_request(run: Run, spec: Callable[..., Path]) -> None:
    path = spec(NET.format(sizes="256, 8, 3", activation="Tanh"))
    plain = run("grad", path, "--json").report["signal"]["layers"]
    with_them = run("grad", path, "--json", "--histograms").report["signal"]["layers"]
    assert [one["pre_histogram"] for one in plain] == [None, None]
    assert sum(with_them[0]["out_histogram"]["counts"]) == 64 * 8


@pytest.mark.parametrize("value", ["0", "-1"])
def test_no_seeds_are_refused(run: Run, value: str) -> None:
    ran = run("grad", "mlp", "--seeds", value)
    assert (ran.code, ran.out) == (2, "")
    assert f"--seeds: at least 1 is needed, got {value}" in ran.err


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_picture_is_drawn(run: Run, tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"signal.{suffix}"
    assert run("grad", "mlp", "--plot", path).code == 0
    assert path.stat().st_size > 1000


def test_a_picture_that_cannot_be_drawn_is_refused_before_anything_runs(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    ran = run("grad", "mlp", "--plot", tmp_path / "signal.txt")
    assert (ran.code, ran.out) == (2, "")
    assert "--plot" in ran.err
