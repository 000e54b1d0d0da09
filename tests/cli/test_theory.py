"""`paraminspect theory`: the page, the object, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest

from paraminspect import theory
from paraminspect.page.theory import theory as page_of
from paraminspect.render.table import draw
from paraminspect.text.escape import ASCII, View
from paraminspect.theory.summary import summarise
from tests.cases import each
from tests.cli.conftest import Tool
from tests.conftest import Ran

Run = Callable[..., Ran]

PAGE = """\
tanh

gain: draw weights with std gain / √fan_in, and the next layer has
  second moment  1.59254  the same second moment; 1/√E φ²
  gradient       1.46741  the same squared gradients; 1/√E φ'²
  torch          1.66667  torch.nn.init.calculate_gain

moments under z ~ N(0, 1)
  E φ            0  mean of the activation
  E φ²    0.394294  its second moment
  E φ'    0.605706  mean slope
  E φ'²   0.464403  its second moment: a factor on squared gradients
  E φ·φ'         0  mean of activation times slope

critical point with σb² = 0.05: χ₁ = 1, gradients keep their size
  σw²   1.76095  weights of variance σw²/fan_in
  σb²      0.05  variance of the biases
  q    0.570048  second moment of pre-activations there

many wide layers, σw² = 1.3 and σb² = 0.05
  q    0.315316  second moment that pre-activations come to
  χ₁   0.880164  factor on squared gradients, from a layer to the one before
  c           1  cosine that two different inputs come to
  ξ_q   1.78524  layers in which q comes e times nearer to that
  ξ_c   7.83407  layers in which the cosine does

  ordered: gradients vanish exponentially; squared, they halve every 5.43
  layers.
  Different inputs become alike: beyond some 6 ξ_c = 47 layers nothing tells
  them apart, and training fails (Schoenholz et al. 2017).

layers 1 to 4, q0 = 1: two orthogonal inputs; gradient² is 1 at the last
  q           █▄▃▃  1.350 → 0.3872
  cosine      ▂▄▆█  0.03704 → 0.3002
  gradient²   ▃▅▇█  0.3024 → 1

  layer         q     cosine  gradient²
      1   1.35000  0.0370370   0.302403
      2  0.633815   0.110016   0.564117
      3  0.457312   0.202849   0.791811
      4  0.387182   0.300203          1
"""


def test_the_page(run: Run) -> None:
    ran = run("theory", "tanh", "--sigma-w2", "1.3", "--sigma-b2", "0.05", "--depth", "4")
    assert (ran.code, ran.out, ran.err) == (0, PAGE, "")


def test_without_variances_the_page_ends_at_the_critical_point(run: Run) -> None:
    ran = run("theory", "gelu")
    blocks = ran.out.split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == [
        "gelu(approximate=none)",
        "gain: draw weights with std gain / √fan_in, and the next layer has",
        "moments under z ~ N(0, 1)",
        "critical point: χ₁ = 1, gradients keep their size",
    ]
    assert blocks[3].splitlines()[1:] == [
        "  σw²   1.98306  weights of variance σw²/fan_in",
        "  σb²  0.172922  variance of the biases",
        "  q     3.56155  second moment of pre-activations there",
    ]
    assert "  torch                –  torch.nn.init.calculate_gain" in blocks[1].splitlines()


OUTCOMES = {
    ("relu", 2.0, 0.0): [
        "critical: gradients keep their size, or change as a power of depth.",
        "Different inputs become alike, slower than exponentially.",
    ],
    ("relu", 1.0, 0.0): [
        "ordered: gradients vanish exponentially; squared, they halve every layer.",
        "The signal dies out: q goes to 0.",
        "Different inputs become alike, slower than exponentially.",
    ],
    ("relu", 3.0, 0.0): [
        "chaotic: gradients explode exponentially; squared, they double every 1.71 layers.",
        "The signal grows without end: q goes to infinity.",
        "Different inputs become alike, slower than exponentially.",
    ],
    ("tanh", 2.5, 0.05): [
        "chaotic: gradients explode exponentially; squared, they double every 5.53 layers.",
        "Inputs that differ ever so little end at a cosine of 0.447: nearby inputs are torn apart.",
    ],
    ("tanh", 1.0, 0.0): [
        "critical: gradients keep their size, or change as a power of depth.",
        "The signal dies out: q goes to 0.",
    ],
    ("tanh", 0.0, 0.0): ["ordered: no gradient passes a layer.", "The signal dies out: q goes to 0."],
}


@pytest.mark.parametrize("case", OUTCOMES, ids=lambda case: "-".join(map(str, case)))
def test_the_outcome_in_words(case: tuple[str, float, float], run: Run) -> None:
    name, weight, bias = case
    ran = run("theory", name, "--sigma-w2", weight, "--sigma-b2", bias, "--json")
    notes = ran.report["notes"]
    assert notes[-len(OUTCOMES[case]) :] == OUTCOMES[case]


def test_the_object_says_what_python_says(run: Run) -> None:
    ran = run(
        "theory", "leaky_relu:negative_slope=0.1", "--sigma-w2", "1.5", "--sigma-b2", "0.2", "--depth", "3", "--q0", "2",
        "--json",
    )  # fmt: skip
    found, slope = ran.report, {"negative_slope": 0.1}
    point = theory.fixed_point("leaky_relu", sigma_w2=1.5, sigma_b2=0.2, q0=2.0, **slope)
    variances = {"sigma_w2": 1.5, "sigma_b2": 0.2, "q0": 2.0, "depth": 3}
    factors = theory.gradient_factors("leaky_relu", **variances, **slope)
    assert found == {
        "schema": "paraminspect.theory",
        "version": 1,
        "activation": "leaky_relu",
        "params": slope,
        "moments": {
            "mean": theory.mean(theory.activation("leaky_relu", **slope), 1.0),
            "second_moment": pytest.approx(0.505),
            "mean_slope": pytest.approx(0.55),
            "slope_moment": pytest.approx(0.505),
            "cross_moment": pytest.approx(0.99 / math.sqrt(2 * math.pi)),
        },
        "gains": {
            "second_moment": theory.gain("leaky_relu", **slope),
            "gradient": theory.gain("leaky_relu", "gradient", **slope),
            "torch": theory.torch_gain("leaky_relu", **slope),
        },
        "critical": None,
        "sigma_w2": 1.5,
        "sigma_b2": 0.2,
        "q": point.q,
        "chi1": point.chi1,
        "c": point.c,
        "xi_q": point.xi_q,
        "xi_c": point.xi_c,
        "regime": "ordered",
        "q0": 2.0,
        "propagate": theory.propagate("leaky_relu", **variances, **slope).tolist(),
        "cosines": theory.cosines("leaky_relu", **variances, **slope).tolist(),
        "gradients": pytest.approx([factors[0] * factors[1], factors[1], 1.0]),
        "notes": found["notes"],
    }
    assert found["notes"][0] == (
        "leaky_relu has no critical point with σb² = 0.2: where gradients keep their size, q does not settle; "
        "it has one with sigma_b2=0"
    )


def test_the_object_without_variances(run: Run) -> None:
    found = run("theory", "Tanh", "--json").report
    absent = (
        "sigma_w2",
        "sigma_b2",
        "q",
        "chi1",
        "c",
        "xi_q",
        "xi_c",
        "regime",
        "q0",
        "propagate",
        "cosines",
        "gradients",
    )
    assert {key: found[key] for key in absent} == dict.fromkeys(absent)
    assert (found["activation"], found["critical"]) == ("tanh", {"sigma_w2": 1.0, "sigma_b2": 0.0, "q": 0.0})


def test_what_is_infinite_is_null(run: Run) -> None:
    ran = run("theory", "relu", "--sigma-w2", "1e200", "--depth", "4", "--json")
    found = json.loads(ran.out, parse_constant=lambda text: pytest.fail(text))
    assert (found["q"], found["xi_c"], found["regime"]) == (None, None, "chaotic")
    assert found["propagate"][2:] == [None, None]


@each("name", [name for name in theory.NAMES if name != "threshold"])
@each("weight", [0.0, 0.01, 2.0, 1e6])
def test_every_activation_has_a_page(name: str, weight: float) -> None:
    for view in (View(), View(glyphs=ASCII), View(width=80)):
        text = "".join(draw(page_of(summarise(name, sigma_w2=weight, sigma_b2=0.1, depth=12), view), view))
        lines = text.splitlines()
        assert max(map(len, lines)) <= 80
        assert not [line for line in lines if line != line.rstrip()]
        assert not view.glyphs.ascii or text.isascii()
        assert "nan" not in text.replace("–", "").lower().split()


def test_pictures_of_many_layers_are_no_wider_than_a_page() -> None:
    for depth in (1, 59, 61, 1000):
        page = page_of(summarise("relu", sigma_w2=1.9, depth=depth), View())
        lines = "".join(draw(page, View())).splitlines()
        assert max(map(len, lines)) <= 80
        assert len(lines) > depth


REFUSED = {
    "theory tahn": "error: theory: unknown activation 'tahn'\n  did you mean 'tanh'?\n",
    "theory tanh:slope=1": "error: theory: tanh has no parameter 'slope'\n  tanh takes no parameters\n",
    "theory leaky_relu:0.1": (
        "error: theory: '0.1' has no '='\n"
        "  write NAME or NAME:parameter=value, e.g. tanh or leaky_relu:negative_slope=0.1\n"
    ),
    "theory :x=1": (
        "error: theory: no activation is named\n"
        "  write NAME or NAME:parameter=value, e.g. tanh or leaky_relu:negative_slope=0.1\n"
    ),
    "theory elu:alpha=x": "error: theory: elu: alpha must be a number, got 'x'\n",
    "theory tanh --sigma-w2 -1": "error: --sigma-w2: is a variance and must be at least 0, got -1\n",
    "theory tanh --sigma-w2 nan": "error: --sigma-w2: must be a number, got NaN\n",
    "theory tanh --sigma-b2 inf": "error: --sigma-b2: must be finite, got inf\n",
    "theory tanh --sigma-w2 1 --q0 -1": "error: --q0: is a variance and must be at least 0, got -1\n",
    "theory tanh --depth 3": (
        "error: --depth: needs the variance of the weights\n  for example: --sigma-w2 2 --depth 3\n"
    ),
    "theory tanh --q0 3": "error: --q0: needs the variance of the weights\n  for example: --sigma-w2 2 --q0 3.0\n",
    "theory tanh --sigma-w2 1 --depth 0": (
        "error: --depth: from 1 to 10,000 layers, got 0\n  for example: --depth 20\n"
    ),
    "theory tanh --sigma-w2 x": (
        "error: theory: Invalid value for '--sigma-w2': 'x' is not a number\n  see: paraminspect theory --help\n"
    ),
}


@each("line", REFUSED)
def test_what_is_refused(line: str, run: Run) -> None:
    ran = run(*line.split())
    assert (ran.code, ran.out, ran.err) == (2, "", REFUSED[line])


def test_torch_is_not_imported(tool: Tool) -> None:
    ran = tool("theory", "gelu", "--sigma-w2", "2", "--depth", "5", env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert ran.returncode == 0
    imported = {line.rpartition(b"|")[2].strip() for line in ran.stderr.splitlines()}
    assert {b"paraminspect.theory.summary", b"numpy"} <= imported
    assert b"torch" not in imported
