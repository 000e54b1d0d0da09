"""`init` from the command line: digests, files, batches, and a stream of random numbers for each parameter."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, load_model
from torch import nn

from paraminspect import files
from paraminspect.experiments import state_dict_file
from tests.cases import each
from tests.conftest import CONFIGS, Ran

Run = Callable[..., Ran]
Write = Callable[..., Path]

MODELS = """
import torch
from torch import nn

def net():
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
    net[2].weight = net[0].weight
    return net

class Views(nn.Module):
    def __init__(self):
        super().__init__()
        self.whole = nn.Parameter(torch.zeros(4, 4))
        self.part = nn.Parameter(self.whole.detach()[:2])

class Slices(nn.Module):
    def __init__(self):
        super().__init__()
        flat = torch.zeros(12)
        self.one = nn.Parameter(flat[:4])
        self.two = nn.Parameter(flat[4:10].view(2, 3).t())
        self.again = nn.Parameter(flat[:4])

class Extra(nn.Linear):
    def get_extra_state(self):
        return {"a": 1}

class Failing(nn.Linear):
    def state_dict(self, *args, **kwargs):
        raise ValueError("not now")

def extra():
    return Extra(2, 2)

def failing():
    return Failing(2, 2)

def complex():
    return nn.Linear(2, 2, dtype=torch.complex128)

def lazy():
    return nn.Sequential(nn.Linear(2, 2), nn.LazyLinear(2))

def silent():
    class Silent(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2, 2))
        def forward(self, a, b, c):
            return a
    return Silent()
"""


@pytest.fixture
def models(tmp_path: Path) -> str:
    path = tmp_path / "models.py"
    path.write_text(MODELS)
    return str(path)


# --- digests ----------------------------------------------------------------------------------------------------------


def test_digests_are_those_of_the_bytes_by_hand(run: Run) -> None:
    report = run("init", CONFIGS / "mlp.yaml", "--scheme", "normal", "--seed", 7, "--json").report
    torch.manual_seed(7)
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    for layer in (net[0], net[2]):
        nn.init.normal_(layer.weight)
    heads = {"0.weight": "3x4", "0.bias": "3", "2.weight": "1x3", "2.bias": "1"}
    full = {
        name: hashlib.sha256(f"float32 {heads[name]}\n".encode() + p.detach().numpy().tobytes()).hexdigest()
        for name, p in net.named_parameters()
    }
    assert {row["name"]: row["digest"] for row in report["parameters"]} == {n: d[:16] for n, d in full.items()}
    lines = "".join(f"{name} {found}\n" for name, found in full.items())
    assert report["initialisation"]["digest"] == hashlib.sha256(lines.encode()).hexdigest()[:16]


def test_the_digest_stands_beside_the_version_and_the_seed(run: Run) -> None:
    flags = ("init", "mlp", "--scheme", "zeros", "--bias", "zeros", "--seed", 3)
    found = run(*flags, "--json").report["initialisation"]["digest"]
    line = f"digest     {found} (torch {torch.__version__}, seed 3)"
    assert run(*flags).out.splitlines()[-1] == line
    apart = run(*flags, "--seed-per-parameter").out
    assert apart.splitlines()[-1] == line.replace("seed 3", "seed 3, each parameter its own")
    assert f"- digest: `{found}` (torch `{torch.__version__}`, seed 3)\n" in run(*flags, "-f", "markdown").out
    shown = [row["digest"] for row in csv.DictReader(run(*flags, "-f", "csv").out.splitlines())]
    assert shown == [row["digest"] for row in run(*flags, "--json").report["parameters"]]


def test_the_digest_is_of_the_whole_model_whatever_is_shown(run: Run) -> None:
    def found(*words: str) -> str:
        report = run("init", "mlp", "--scheme", "normal", "--json", *words).report
        return report["initialisation"]["digest"]

    assert found() == found("--params", "0.bias") == found("--layer", "2")
    assert found() != found("--seed", "9")


def test_where_values_are_unknown_so_are_the_digests(run: Run) -> None:
    report = run("init", "mlp", "--scheme", "normal", "--device", "meta", "--json").report
    assert report["initialisation"]["digest"] is None
    assert {row["digest"] for row in report["parameters"]} == {None}


def test_other_commands_take_none(run: Run) -> None:
    report = run("show", "mlp", "--scheme", "normal", "--json").report
    assert report["initialisation"] == {
        "rules": [
            {
                "rule": "*weight*=normal",
                "where": "--scheme",
                "matched": 2,
                "kept": 2,
                "meta": 0,
                "norms": [],
                "others": [],
            }
        ],
        "seed_per_parameter": False,
        "digest": None,
        "saved": None,
    }
    assert run("show", "mlp", "--json").report["initialisation"] is None


# --- what is said -----------------------------------------------------------------------------------------------------


EMBEDDING = """
layers: [Embedding: {num_embeddings: 60, embedding_dim: 8, padding_idx: 3}, Linear: [8, 60]]
ties: [[1.weight, 0.weight]]
init:
  - {params: 0.weight, scheme: normal, std: 0.02}
  - {params: 1.weight, scheme: uniform, a: -1, b: 1}
"""


def test_a_tied_embedding_with_two_rules(run: Run, spec: Write) -> None:
    ran = run("init", spec(EMBEDDING), "-f", "plain")
    assert ran.code == 0
    assert ran.out.split("\n\n")[3].splitlines()[:-1] == [
        "applied    1.weight=uniform:a=-1,b=1 to 1 tensor",
        "no effect  0.weight=normal:std=0.02: later rules filled the only tensor it had filled",
        "overridden 0.weight=normal:std=0.02 by 1.weight=uniform:a=-1,b=1 in 1 tensor",
        "untouched  1.bias: as torch's constructor drew it",
        "note       0.weight: padding row 3 set to zero again",
        "note       0.weight: one Parameter that two rules claim, 0.weight=normal:std=0.02 by '0.weight' and "
        "1.weight=uniform:a=-1,b=1 by '1.weight': the last one wins",
        "expected   mean and std of 2 tensors are within the tolerance for their size",
    ]


HALF = """
import torch
from torch import nn

def wide(tensor):
    tensor.fill_(60000.0).mul_(2)

def half():
    return nn.Linear(4, 4, dtype=torch.float16)
"""


def test_an_overflow_is_named(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "half.py"
    path.write_text(HALF)
    report = run("init", f"{path}:half", "--scheme", f"{path}:wide", "--json").report
    row = next(row for row in report["parameters"] if row["name"] == "weight")
    assert row["init"]["notes"] == ["16 of 16 elements overflow: the largest float16 is 65504"]


def test_a_value_out_of_bounds_is_a_verdict(run: Run, spec: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    real = nn.init.uniform_
    monkeypatch.setattr(nn.init, "uniform_", lambda tensor, a=0.0, b=1.0: real(tensor, a, 4 * b))
    ran = run("init", "mlp", "--scheme", "uniform:a=0,b=0.5")
    assert "bounds off" in ran.out
    (line,) = (line for line in ran.out.splitlines() if line.startswith("off        0.weight: a value is "))
    assert line.endswith(", its scheme should give at most 0.5000")


# --- a batch ----------------------------------------------------------------------------------------------------------


def test_init_draws_the_input_only_for_a_rule_that_needs_it(run: Run, models: str) -> None:
    assert run("init", f"{models}:silent", "--scheme", "normal").code == 0
    ran = run("init", f"{models}:silent", "--scheme", "lsuv")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "error: --scheme: lsuv needs an input to run the network on\n  pass --input, e.g. --input 64,784\n"
    )


def test_lsuv_scales_on_the_batch_that_the_forward_then_gets(run: Run, spec: Write) -> None:
    path = spec("layers: [MLP: {sizes: [30, 40, 20], activation: Tanh}]\ninit: [{params: '*.weight', scheme: lsuv}]")
    flags = ("--input", "200,30:float32:normal", "--seed", 4, "--values", "--json")
    report = run("init", path, *flags).report
    assert (report["forward"], report["layers"]) == (None, [])
    shown = run("show", path, *flags).report
    layers = {layer["module"]: layer["out"] for layer in shown["layers"]}
    assert all(abs(layers[name]["rms"] - 1) < 0.1 for name in ("0", "2"))
    assert values_of(shown) == values_of(report)


# --- a stream for each parameter --------------------------------------------------------------------------------------


def values_of(report: dict[str, Any]) -> dict[str, Any]:
    return {row["name"]: row["data"] for row in report["parameters"]}


def test_a_layer_more_leaves_the_others_alone(run: Run, spec: Write) -> None:
    few = spec("layers: [MLP: {sizes: [4, 3, 2]}]\nseed_per_parameter: true", "few.yaml")
    many = spec("layers: [MLP: {sizes: [4, 3, 2]}, ReLU, Linear: [2, 5]]\nseed_per_parameter: true", "many.yaml")
    flags = ("--scheme", "normal", "--bias", "uniform", "--seed", 11, "--values", "--json")
    one, other = (values_of(run("init", path, *flags).report) for path in (few, many))
    assert {name: other[name] for name in one} == one
    assert run("init", few, *flags).report["initialisation"]["seed_per_parameter"] is True
    plain = spec("layers: [MLP: {sizes: [4, 3, 2]}]", "plain.yaml")
    assert values_of(run("init", plain, *flags, "--seed-per-parameter").report) == one
    assert values_of(run("init", plain, *flags).report) != one


def test_in_a_spec_it_is_true_or_false(run: Run, spec: Write) -> None:
    path = spec("seed_per_parameter: 1\nlayers: [Linear: [4, 3]]")
    assert run("show", path).err == f"error: {path}:1:21: seed_per_parameter must be true or false, got the number 1\n"


@pytest.mark.parametrize("command", ["show", "init", "grad", "share"])
def test_every_command_with_rules_has_it(run: Run, command: str) -> None:
    flags = ("--scheme", "normal", "--seed-per-parameter", "--json")
    rows = run(command, "mlp", *flags).report["parameters"]
    seed = int.from_bytes(hashlib.sha256(b"1:0.weight").digest()[:8], "little")
    drawn = torch.empty(3, 4).normal_(generator=torch.Generator().manual_seed(seed))
    assert rows[0]["values"]["max"] == drawn.max().item()


def test_what_follows_draws_as_if_no_rule_had(run: Run) -> None:
    """The input is drawn after the rules: with a stream for each parameter it is that of a model without rules."""
    without = run("show", "mlp", "--values", "--json").report["forward"]["input"][0]["data"]
    apart = run("show", "mlp", "--values", "--json", "--scheme", "normal", "--seed-per-parameter").report
    assert apart["forward"]["input"][0]["data"] == without


SCRIPTS = {
    "tied": "layers: [Linear: [3, 3], Tanh, Linear: [3, 3]]\nties: [[2.weight, 0.weight]]",
    "padding": EMBEDDING + "input: {shape: [2, 3], sample: 0..59}\nloss: cross_entropy",
    "plain": "layers: [MLP: {sizes: [4, 3, 2]}]",
    "half": "layers: [MLP: {sizes: [4, 3, 2]}]\ndtype: bfloat16",
    "dropout": "layers: [Linear: [4, 8], Dropout: 0.5, Linear: [8, 2]]",
    "lsuv": "layers: [MLP: {sizes: [4, 8, 2]}]\ninput: {shape: [32, 4], sample: normal}\n"
    "init: [{params: '*.weight', scheme: lsuv}]",
}


@each("apart", [True, False])
@each("text", SCRIPTS.values(), ids=SCRIPTS)
def test_the_script_gives_the_same_bits(run: Run, spec: Write, text: str, apart: bool) -> None:
    path = spec(text + ("\nseed_per_parameter: true" if apart else ""))
    flags = () if "lsuv" in text else ("--rule", "*weight=xavier_uniform", "--bias", "normal")
    namespace: dict[str, Any] = {}
    source = run("code", path, *flags).out
    with contextlib.redirect_stdout(io.StringIO()):
        exec(source, namespace)
    shown = run("show", path, *flags, "--values", "--json").report
    found = {name: parameter.detach().tolist() for name, parameter in namespace["net"].named_parameters()}
    assert values_of(shown) == found
    assert shown["forward"]["input"][0]["data"] == namespace["X"].tolist()
    assert shown["forward"]["loss"] == namespace["loss"].item()


# --- the file ---------------------------------------------------------------------------------------------------------


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as opened:
        return opened.metadata()


def test_the_file_holds_the_state_and_how_it_came_about(run: Run, models: str, tmp_path: Path) -> None:
    path = tmp_path / "out.safetensors"
    ran = run("init", f"{models}:net", "--scheme", "normal", "--seed", 5, "--save", path, "--json")
    assert ran.report["initialisation"]["saved"] == str(path)
    torch.manual_seed(5)
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
    net[2].weight = net[0].weight
    nn.init.normal_(net[0].weight)
    state = net.state_dict()
    found = load_file(path)
    assert sorted([*found, "2.weight"]) == sorted(state)
    assert all(torch.equal(found[name], state[name]) for name in found)
    assert metadata_of(path) == {
        "format": "pt",
        "2.weight": "0.weight",
        "seed": "5",
        "torch": str(torch.__version__),
        "rules": json.dumps(["*weight*=normal"]),
        "seed_per_parameter": "false",
        "digest": ran.report["initialisation"]["digest"],
    }
    other = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
    other[2].weight = other[0].weight
    assert load_model(other, path) == (set(), [])
    assert torch.equal(other[2].weight, net[2].weight)
    assert {name for name in tmp_path.iterdir() if name.suffix == ".safetensors"} == {path}


def test_a_file_that_is_there_is_replaced_whole(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "out.safetensors"
    path.write_text("old")
    ran = run("init", "mlp", "--scheme", "ones", "--save", path)
    assert (ran.code, ran.err) == (2, f"error: --save: '{path}' is there already\n  --force overwrites it\n")
    assert path.read_text() == "old"
    assert run("init", "mlp", "--scheme", "ones", "--save", path, "--force").code == 0
    assert run("init", "mlp", "--scheme", "ones", "--weights", path, "--save", path, "--force").code == 2
    assert torch.equal(load_file(path)["0.weight"], torch.ones(3, 4))


def test_views_of_one_memory(run: Run, models: str, tmp_path: Path) -> None:
    """One that has all of it stands for the others, as safetensors does it; without one, each is written by itself."""
    path = tmp_path / "out.safetensors"
    run("init", f"{models}:Views", "--rule", "whole=normal", "--save", path)
    assert (sorted(load_file(path)), metadata_of(path)["part"]) == (["whole"], "whole")
    run("init", f"{models}:Slices", "--rule", "*=normal", "--save", path, "--force")
    found = load_file(path)
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == {"one": (4,), "two": (3, 2)}
    assert metadata_of(path)["again"] == "one"
    torch.manual_seed(0)
    flat = torch.zeros(12)
    for part in (flat[:4], flat[4:10].view(2, 3).t(), flat[:4]):
        nn.init.normal_(part)
    assert torch.equal(found["one"], flat[:4])
    assert torch.equal(found["two"], flat[4:10].view(2, 3).t())


HINT = "  a file holds tensors of numbers\n"
UNSAVED = {
    ("mlp", "--device", "meta"): f"error: --save: '0.weight' has no values: it is on the meta device\n{HINT}",
    (
        "{models}:lazy",
        "--rule",
        "0.bias=ones",
    ): f"error: --save: '1.weight' has no shape before the first forward\n{HINT}",
    ("{models}:extra",): f"error: --save: '_extra_state' is no tensor but a dict\n{HINT}",
    ("{models}:complex",): "error: --save: cannot write '{path}': safetensors has no torch.complex128\n",
    ("{models}:failing",): "error: {models}:{line}: state_dict() raised ValueError: not now\n",
}


@pytest.mark.parametrize("words", UNSAVED)
def test_what_a_file_cannot_hold_is_refused(run: Run, models: str, tmp_path: Path, words: tuple[str, ...]) -> None:
    argv = [word.format(models=models) for word in words]
    path = tmp_path / "out.safetensors"
    scheme = () if "--rule" in argv else ("--bias", "ones")
    ran = run("init", *argv, *scheme, "--save", path)
    line = 1 + MODELS.splitlines().index('        raise ValueError("not now")')
    assert (ran.code, ran.out, ran.err) == (2, "", UNSAVED[words].format(models=models, line=line, path=path))
    assert not path.exists()


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("w.pt", "'{name}' does not end in .safetensors\n  for example: --save {folder}/w.safetensors\n"),
        ("no/w.safetensors", "cannot write '{name}': there is no folder '{folder}/no'\n"),
    ],
)
def test_a_place_where_no_file_can_be_is_refused_before_the_work(
    run: Run, tmp_path: Path, name: str, error: str
) -> None:
    ran = run("init", "mlp", "--scheme", "nonsense", "--save", tmp_path / name)
    assert (ran.code, ran.err) == (2, "error: --save: " + error.format(name=tmp_path / name, folder=tmp_path))


@pytest.mark.parametrize("how", ["writing", "flushing"])
def test_a_full_disk_leaves_what_was_there(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    path = tmp_path / "out.safetensors"
    path.write_text("old")

    def full(*_: Any, **__: Any) -> None:
        raise state_dict_file.SafetensorError("I/O error: No space left on device (os error 28)")

    def flush(_path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((state_dict_file, "save_file", full) if how == "writing" else (files, "_flush", flush)))
    ran = run("init", "mlp", "--scheme", "ones", "--save", path, "--force")
    reason = "I/O error: No space left on device (os error 28)" if how == "writing" else "no space left on device"
    where = "--save: " if how == "writing" else ""
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"error: {where}cannot write '{path}': {reason}\n"
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("out.safetensors", "old")]


# --- what mixes inputs, and what does not -----------------------------------------------------------------------------


def test_kaiming_of_a_network_with_norms_is_torchs(run: Run) -> None:
    report = run("init", "cnn", "--scheme", "kaiming_normal:nonlinearity=relu", "--bias", "zeros", "--json").report
    torch.manual_seed(0)
    net = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 16, 3, padding=1, bias=False),
            bn1=nn.BatchNorm2d(16),
            conv2=nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
            bn2=nn.BatchNorm2d(32),
            fc=nn.Linear(32, 10),
        )
    )
    for layer in (net.conv1, net.conv2, net.fc):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(net.fc.bias)
    rows = [row for row in report["parameters"] if row["kind"] == "parameter"]
    assert [(row["name"], row["values"]["l2"]) for row in rows] == [
        (name, pytest.approx(p.detach().double().norm().item(), rel=1e-12)) for name, p in net.named_parameters()
    ]
    assert report["initialisation"]["rules"] == [
        {
            "rule": "*weight*=kaiming_normal:nonlinearity=relu",
            "where": "--scheme",
            "matched": 3,
            "kept": 3,
            "meta": 0,
            "norms": ["bn1.weight", "bn2.weight"],
            "others": [],
        },
        {
            "rule": "*bias*=zeros",
            "where": "--bias",
            "matched": 1,
            "kept": 1,
            "meta": 0,
            "norms": ["bn1.bias", "bn2.bias"],
            "others": [],
        },
    ]


LEFT = """\
applied    --scheme normal to 3 tensors
left       2 gains of normalisation layers (bn1.weight, bn2.weight), as built: --scheme is for weights that mix inputs; \
--rule 'bn1.weight=SCHEME' reaches one
untouched  bn1.bias, bn2.bias, fc.bias: as torch's constructor drew them
"""


def test_what_is_left_is_a_line_in_every_command(run: Run) -> None:
    flags = ("cnn", "--scheme", "normal")
    assert LEFT in run("init", *flags).out
    line = LEFT.splitlines()[1].removeprefix("left       ")
    assert (
        "- left: 2 gains of normalisation layers (`bn1.weight`, `bn2.weight`), as built: `--scheme` is for weights "
        "that mix inputs; `--rule 'bn1.weight=SCHEME'` reaches one\n"
    ) in run("init", *flags, "-f", "markdown").out
    for command in ("show", "grad"):
        assert line in run(command, *flags).out
        assert "left " not in run(command, "cnn").out.replace("left out", "")
    note = (
        "note: the schemes leave 2 gains of normalisation layers (bn1.weight, bn2.weight) as built; "
        "--rule 'bn1.weight=SCHEME' reaches one\n"
    )
    assert run("compare", *flags, "--seeds", 1).err == note


def test_a_rule_reaches_what_is_left(run: Run) -> None:
    ran = run("init", "cnn", "--scheme", "normal", "--rule", "bn1.weight=zeros")
    left = "left       1 gain of a normalisation layer (bn2.weight), as built: "
    assert ran.code == 0 and left in ran.out
    every = run("init", "cnn", "--scheme", "normal", "--rule", "bn?.weight=zeros")
    assert every.code == 0 and "\nleft " not in every.out


def test_nothing_to_fill_says_what_there_is(run: Run) -> None:
    ran = run("init", "torch.nn:LayerNorm", "--arg", "normalized_shape=[4, 4]", "--scheme", "kaiming_normal")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "error: --scheme: no parameter is a weight that mixes inputs; "
        "there is 1 gain of a normalisation layer (weight)\n  --rule 'weight=SCHEME' reaches one\n"
    )
