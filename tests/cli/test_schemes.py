"""`schemes NAME --shape`: what a scheme gives a tensor, beside torch's own numbers; and what it refuses."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.cases import each
from tests.conftest import Ran

Run = Callable[..., Ran]


def row(ran: Ran) -> list[str]:
    """Return the cells of the one line under the heads of the figures."""
    lines = ran.out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("    shape"))
    assert lines[at + 2] == ""
    return lines[at].split() + lines[at + 1].split()


def test_the_page_says_what_a_shape_gets(run: Run) -> None:
    ran = run("schemes", "kaiming_normal:nonlinearity=relu", "--shape", "256,784")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("kaiming_normal(a=0.0, mode=fan_in, nonlinearity=leaky_relu)\n")
    assert "\n  expected of kaiming_normal:nonlinearity=relu\n" in ran.out
    assert row(ran) == [
        *("shape", "fan_in", "fan_out", "mean", "std", "low", "high"),
        *("256×784", "784", "256", "0", "0.05050763", "none", "none"),
    ]


def test_a_gain_stands_beside_what_follows_from_it(run: Run) -> None:
    found = row(run("schemes", "gain_uniform:nonlinearity=gelu", "--shape", "64,3,3,3"))
    assert found[:8] == ["shape", "fan_in", "fan_out", "gain", "mean", "std", "low", "high"]
    assert found[8:12] == ["64×3×3×3", "27", "576", "1.533530"]
    assert [float(cell) for cell in found[12:]] == pytest.approx(
        [0, 1.5335304 / math.sqrt(27), -1.5335304 / 3, 1.5335304 / 3], abs=1e-6
    )


def test_so_do_the_variances_of_a_critical_point(run: Run) -> None:
    found = row(run("schemes", "critical:nonlinearity=tanh,sigma_b2=0.05", "--shape", "10"))
    assert found[:6] == ["shape", "sigma_w2", "sigma_b2", "mean", "std", "low"]
    assert found[7:10] == ["10", "1.760955", "0.05000000"]


def test_several_shapes_as_json(run: Run) -> None:
    ran = run("schemes", "lecun_normal", "--shape", "10,64", "--shape", "20, 5,2", "--json")
    (page,) = json.loads(ran.out)["schemes"]
    first, second = page["shapes"]
    std = 1 / 8
    assert first.pop("std") == pytest.approx(std, rel=1e-12)
    assert first.pop("high") == pytest.approx(2 * std / 0.87962566103423978)
    assert first.pop("low") == pytest.approx(-2 * std / 0.87962566103423978)
    assert first == {"shape": [10, 64], "fan_in": 64, "fan_out": 10, "mean": 0.0}
    assert (second["shape"], second["fan_in"], second["fan_out"]) == ([20, 5, 2], 10, 40)
    assert page["given"] == {}


def test_the_json_of_one_scheme_has_its_gains(run: Run) -> None:
    (page,) = json.loads(run("schemes", "gain_normal", "--json").out)["schemes"]
    gains = {one.pop("nonlinearity"): one for one in page["gains"]}
    assert gains["tanh"] == pytest.approx({"second_moment": 1.592537, "gradient": 1.467414, "torch": 5 / 3}, abs=1e-6)
    assert gains["gelu"]["torch"] is None
    assert "shapes" not in page


DRAWN = {
    "xavier_uniform:gain=2": lambda w: nn.init.xavier_uniform_(w, 2.0),
    "kaiming_uniform:mode=fan_out,nonlinearity=tanh": lambda w: nn.init.kaiming_uniform_(
        w, mode="fan_out", nonlinearity="tanh"
    ),
    "uniform:a=-1,b=3": lambda w: nn.init.uniform_(w, -1.0, 3.0),
    "trunc_normal:std=2,a=-1,b=3": lambda w: nn.init.trunc_normal_(w, 0.0, 2.0, -1.0, 3.0),
    "orthogonal": nn.init.orthogonal_,
}


@pytest.mark.parametrize(("text", "fill"), DRAWN.items(), ids=DRAWN)
def test_the_figures_are_those_of_torchs_draws(text: str, fill: Callable[[torch.Tensor], object], run: Run) -> None:
    torch.manual_seed(0)
    weight = torch.empty(300, 400)
    fill(weight)
    ((found,),) = (
        page["shapes"] for page in json.loads(run("schemes", text, "--shape", "300,400", "--json").out)["schemes"]
    )
    assert found["std"] == pytest.approx(weight.std().item(), rel=0.01)
    assert found["mean"] == pytest.approx(weight.mean().item(), abs=0.01)
    assert found["low"] <= weight.min() and weight.max() <= found["high"]


EXAMPLE = "  write its sizes with commas between them, e.g. --shape 256,784\n"


@each(
    ("argv", "err"),
    [
        (
            ["xavier_normal", "--shape", "3"],
            "--shape 3: xavier_normal needs at least 2 dimensions; got (3,)\n" + EXAMPLE,
        ),
        (["eye", "--shape", "3,3,3"], "--shape 3,3,3: eye needs 2 dimensions; got (3, 3, 3)\n" + EXAMPLE),
        (
            ["lecun_normal", "--shape", "0,3"],
            "--shape 0,3: lecun_normal needs at least one element; got (0, 3)\n" + EXAMPLE,
        ),
        (["normal", "--shape", "3x4"], "--shape 3x4: '3x4' is not a shape\n" + EXAMPLE),
        (["normal", "--shape", "-3"], "--shape -3: '-3' is not a shape\n" + EXAMPLE),
        (["normal", "--shape", ""], "--shape : '' is not a shape\n" + EXAMPLE),
        (["normal", "--shape", "²"], "--shape ²: '²' is not a shape\n" + EXAMPLE),
        (
            ["--shape", "3"],
            "--shape: it is for one scheme\n  name one: paraminspect schemes kaiming_normal --shape 256,784\n",
        ),
        (
            ["constant", "--shape", "3"],
            "schemes: constant needs val\n  val is the value to fill with, e.g. constant:val=0.5\n",
        ),
        (["normal:std=-1"], "schemes: std of normal must be at least 0; got -1\n"),
        (
            ["critical", "--shape", "3,4"],
            "nonlinearity=auto is read off a model, and there is none\n  name the activation, e.g. nonlinearity=tanh\n",
        ),
    ],
)
def test_refuses(argv: list[str], err: str, run: Run) -> None:
    ran = run("schemes", *argv)
    assert (ran.code, ran.out, ran.err) == (2, "", f"error: {err}")


@pytest.mark.parametrize("argv", [["schemes"], ["schemes", "--json"], ["schemes", "critical"], ["schemes", "--help"]])
def test_listing_imports_neither_numpy_nor_torch(argv: list[str]) -> None:
    code = (
        "import sys\nfrom paraminspect.cli.app import main\n"
        f"main({argv!r})\nprint({{'torch', 'numpy', 'rich'}} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "set()\n"


def test_a_name_completes(run: Run) -> None:
    from paraminspect.cli.completion import schemes

    assert schemes("gain") == ["gain_normal", "gain_uniform"]


@pytest.mark.parametrize(
    "rule",
    ["gain_normal", "critical", "lsuv", "truncated_normal:std=0.1", "identity:gain=2", "mup_readout:base_width=4"],
)
def test_the_command_line_and_a_spec_say_the_same(rule: str, run: Run, spec: Callable[..., object]) -> None:
    name, _, args = rule.partition(":")
    given = "".join(f", {one.replace('=', ': ')}" for one in args.split(",") if one)
    layers = "layers: [Linear: [4, 5], Tanh, Linear: [5, 3]]\ninput: {shape: [16, 4], sample: normal}\n"
    ours = run("show", spec(layers), "--rule", f"*.weight={rule}", "--values", "--json").report
    theirs = run(
        "show", spec(f"{layers}init: [{{params: '*.weight', scheme: {name}{given}}}]"), "--values", "--json"
    ).report
    keys = ("name", "values", "data", "gradient")
    assert [[one[key] for key in keys] for one in ours["parameters"]] == [
        [one[key] for key in keys] for one in theirs["parameters"]
    ]
    schemes = [(one["init"]["scheme"], one["init"]["args"]) for one in ours["parameters"]]
    assert schemes == [(one["init"]["scheme"], one["init"]["args"]) for one in theirs["parameters"]]
    assert name in dict(schemes)
