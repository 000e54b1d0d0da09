"""The commands on the user's own modules, end to end, against plain PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.conftest import Ran

Run = Callable[..., Ran]
MODEL = """\
import torch
from torch import nn

class Tied(nn.Module):
    def __init__(self, vocab: int = 7, dim: int = 4):
        super().__init__()
        self.encoder = nn.Embedding(vocab, dim)
        self.norm = nn.LayerNorm(dim)
        self.decoder = nn.Linear(dim, vocab, bias=False)
        self.decoder.weight = self.encoder.weight

    def forward(self, ids, scale=None):
        y = self.decoder(self.norm(self.encoder(ids)))
        return {"logits": y if scale is None else y * scale, "ids": ids}

class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        return self.layer(x).softmax(-1)

class Guess(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.wide = nn.Linear(3, 2), nn.Linear(4, 2)

    def forward(self, x): return self.wide(self.layer(x))

class Example(Guess):
    example_input_array = torch.ones(2, 3)

built = Tied()

def nll(output):
    return nn.functional.cross_entropy(output["logits"].flatten(0, 1), output["ids"].flatten())

def wrong(output):
    return output["logits"]
"""


@pytest.fixture(autouse=True)
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL, encoding="utf-8")


def plain(vocab: int = 7, dim: int = 4) -> tuple[nn.Embedding, nn.LayerNorm, torch.Tensor]:
    """Return what the same calls in the same order give: embedding, norm, and the loss after its backward."""
    torch.manual_seed(0)
    encoder, norm = nn.Embedding(vocab, dim), nn.LayerNorm(dim)
    nn.Linear(dim, vocab, bias=False)
    ids = torch.randint(0, vocab, (2, 4))
    logits = norm(encoder(ids)) @ encoder.weight.t()
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), ids.flatten())
    loss.backward()
    return encoder, norm, loss


@pytest.mark.parametrize(("args", "vocab"), [((), 7), (("--arg", "vocab=5"), 5)])
def test_show_gives_the_numbers_of_plain_torch(run: Run, args: tuple[str, ...], vocab: int) -> None:
    ran = run("show", "model.py:Tied", *args, "--loss", "model.py:nll", "--json")
    assert (ran.code, ran.err) == (0, "")
    report, (encoder, norm, loss) = ran.report, plain(vocab)
    rows = {row["name"]: row for row in report["parameters"]}
    assert report["totals"]["parameters"] == vocab * 4 + 8
    assert rows["encoder.weight"]["aliases"] == ["decoder.weight"]
    assert report["forward"]["loss"] == pytest.approx(loss.item(), rel=1e-6)
    assert (report["forward"]["loss_name"], report["forward"]["origin"]) == ("model.py:nll", "inferred")
    for name, parameter in (("encoder.weight", encoder.weight), ("norm.bias", norm.bias)):
        assert parameter.grad is not None
        assert rows[name]["values"]["l2"] == pytest.approx(parameter.detach().double().norm().item(), rel=1e-12)
        assert rows[name]["gradient"]["l2"] == pytest.approx(parameter.grad.double().norm().item(), rel=1e-5)


def test_grad_follows_every_parameter_use_by_use(run: Run) -> None:
    ran = run("grad", "model.py:Tied", "--loss", "model.py:nll", "--json")
    assert (ran.code, ran.err) == (0, "")
    uses = {(use["parameter"], use["module"], use["op"]) for use in ran.report["uses"]}
    assert uses == {
        ("encoder.weight", "encoder", "embedding"),
        ("encoder.weight", "decoder", "linear"),
        ("norm.weight", "norm", "layer_norm"),
        ("norm.bias", "norm", "layer_norm"),
    }


def test_share_needs_no_forward(run: Run) -> None:
    ran = run("share", "model.py:Tied", "--no-forward", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.report["forward"] is None
    (group,) = ran.report["sharing"]
    assert (group["kind"], group["names"]) == ("same-parameter", ["encoder.weight", "decoder.weight"])


@pytest.mark.parametrize("source", ["model.py:Tied", "model.py:built"])
def test_on_meta_a_tie_is_a_tie_and_nothing_is_known(run: Run, source: str) -> None:
    ran = run("show", source, "--device", "meta", "--json")
    assert (ran.code, ran.err) == (0, "")
    row = ran.report["parameters"][0]
    assert (row["name"], row["aliases"], row["device"]) == ("encoder.weight", ["decoder.weight"], "meta")
    assert (row["values"], row["gradient"]["status"]) == (None, "unknown")


def test_edit_and_init_take_modules_too(run: Run) -> None:
    ran = run("edit", "model.py:Tied", "--params", "norm.bias", "--add", "1", "--json")
    assert (ran.code, ran.report["edit"]["graph_unchanged"]) == (0, True)
    ran = run("init", "model.py:Tied", "--scheme", "constant:val=2", "--json")
    assert ran.code == 0
    means = {row["name"]: row["values"]["mean"] for row in ran.report["parameters"] if "weight" in row["name"]}
    assert means == {"encoder.weight": 2.0, "norm.weight": 1.0}


@pytest.mark.parametrize(
    ("sort", "wanted"), [("numel", "encoder.weight"), ("name", "encoder.weight"), ("mean", "norm.weight")]
)
def test_rows_are_sorted_and_cut(run: Run, sort: str, wanted: str) -> None:
    ran = run("show", "model.py:Tied", "--sort", sort, "--top", "1", "--json")
    assert [row["name"] for row in ran.report["parameters"]] == [wanted]
    assert ran.report["totals"]["parameters"] == 36


def test_inputs_by_name(run: Run) -> None:
    flags = ("--input", "ids=3,2:int64:1..1", "--input", "scale=scalar:ones", "--json")
    report = run("show", "model.py:Tied", *flags).report
    found = [(one["name"], one["shape"], one["dtype"], one["sample"]) for one in report["forward"]["input"]]
    assert found == [("ids", [3, 2], "int64", "1..1"), ("scale", [], "float32", "ones")]
    assert [one["shape"] for one in report["forward"]["output"]] == [[3, 2, 7], [3, 2]]
    assert report["forward"]["origin"] == "--input"


def test_the_loss_random_is_repeatable_and_reaches_everything(run: Run) -> None:
    first, again = (run("show", "model.py:Head", "--loss", "random", "--json").report for _ in range(2))
    assert first == again
    assert all(row["gradient"]["rms"] > 1e-4 for row in first["parameters"])
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    y = layer(torch.rand(2, 3)).softmax(-1)
    c = torch.randn(2, 2)
    (c / c.norm() * y).sum().backward()
    assert layer.weight.grad is not None
    wanted = layer.weight.grad.double().square().mean().sqrt().item()
    assert math.isclose(first["parameters"][0]["gradient"]["rms"], wanted, rel_tol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--loss", "model.py:wrong"),
            "loss: the loss failed: model.py:wrong returned a tensor of shape (2, 4, 7), a loss is one number; "
            "write it as def loss(output): return output.square().mean()",
        ),
        (("--loss", "math:sqrt"), "loss: the loss failed: math:sqrt raised TypeError: must be real number, not dict"),
    ],
)
def test_a_loss_that_fails_leaves_the_table(run: Run, options: tuple[str, ...], message: str) -> None:
    ran = run("show", "model.py:Tied", *options, "--json")
    assert (ran.code, ran.err.splitlines()[0]) == (2, f"error: {message}")
    assert len(ran.report["parameters"]) == 3


def test_no_input_known_is_a_note_and_no_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text("from torch import nn\nbilinear = lambda: nn.Bilinear(2, 3, 4)\n")
    ran = run("show", "two.py:bilinear", "--json")
    note = (
        "no forward: forward(input1: Tensor, input2: Tensor) needs 2 inputs; "
        "pass --input input1=SHAPE --input input2=SHAPE"
    )
    assert (ran.code, ran.err) == (0, f"note: {note}\n")
    assert (ran.report["forward"], ran.report["notes"]) == (None, [note])
    ran = run("show", "two.py:bilinear", "--input", "5,2", "--input", "input2=5,3", "--json")
    assert (ran.code, ran.err, ran.report["forward"]["output"][0]["shape"]) == (0, "", [5, 4])


MISBEHAVING = """
import torch; from torch import nn
from torch.func import grad

class Late(nn.Module):
    '''Builds a layer in its first forward, and drops another.'''
    def __init__(self):
        super().__init__()
        self.first, self.spare, self.last = nn.Linear(2, 3), nn.Linear(2, 2), None
    def forward(self, x):
        if self.last is None:
            self.last = nn.Linear(3, 2)
            del self.spare
        return self.last(self.first(x))

class Detached(nn.Linear):
    def forward(self, x):
        return super().forward(x).argmax(-1)

class Parent(nn.Module):
    def __init__(self):
        super().__init__()
        self.child = nn.Linear(2, 2)
        self.child.parent = self
    def forward(self, x):
        return self.child(x)

class Inner(nn.Linear):
    def forward(self, x):
        return grad(lambda v: super(Inner, self).forward(v).square().sum())(x)

class NoGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x * 2
    @staticmethod
    def backward(ctx, grad): return None

class Returns(nn.Linear):
    def forward(self, x):
        return NoGradient.apply(super().forward(x))

def traced():
    return torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2))
"""


@pytest.fixture
def misbehaving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.py").write_text(MISBEHAVING, encoding="utf-8")


@pytest.mark.usefixtures("misbehaving")
def test_rows_are_what_was_there_before_a_forward_that_builds_layers(run: Run) -> None:
    ran = run("show", "bad.py:Late", "--input", "4,2", "--json")
    assert ran.code == 0
    assert ran.report["totals"]["parameters"] == 2 * 3 + 3 + 2 * 2 + 2
    assert ran.report["notes"] == [
        "the forward registered last.weight, last.bias: the rows are what was there before",
        "the forward removed spare.weight, spare.bias: the rows are what was there before",
    ]


@pytest.mark.usefixtures("misbehaving")
def test_an_output_without_a_graph_is_an_error(run: Run) -> None:
    ran = run("show", "bad.py:Detached", "--arg", "in_features=2", "--arg", "out_features=2", "--json")
    message = "the backward failed: the loss depends on no parameter; the output is int64 (2,), without a graph"
    assert (ran.code, ran.err) == (2, f"error: backward: {message}\n")
    assert {row["gradient"]["status"] for row in ran.report["parameters"]} == {"disconnected"}


@pytest.mark.usefixtures("misbehaving")
@pytest.mark.parametrize("command", ["show", "grad", "share", "init", "edit"])
def test_a_child_that_registers_its_parent(run: Run, command: str) -> None:
    options = {"init": ["--scheme", "ones"], "edit": ["--add", "1"]}.get(command, [])
    ran = run(command, "bad.py:Parent", *options, "--json")
    assert ran.code == 0
    assert ran.report["totals"]["parameters"] == 6


@pytest.mark.usefixtures("misbehaving")
@pytest.mark.parametrize(("attribute", "statuses"), [("Inner", ["ok", "ok"]), ("Returns", ["disconnected"] * 2)])
def test_gradients_where_autograd_is_bent(run: Run, attribute: str, statuses: list[str]) -> None:
    options = ["--arg", "in_features=2", "--arg", "out_features=2"]
    ran = run("grad", f"bad.py:{attribute}", *options, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert [row["gradient"]["status"] for row in ran.report["parameters"]] == statuses


@pytest.mark.usefixtures("misbehaving")
@pytest.mark.filterwarnings("ignore:`torch.jit.trace")
def test_a_traced_module(run: Run) -> None:
    ran = run("show", "bad.py:traced", "--input", "3,2", "--json")
    assert (ran.code, ran.report["totals"]["parameters"]) == (0, 6)


def test_an_error_before_the_module_is_there_names_its_source(run: Run) -> None:
    ran = run("show", "nowhere.mod:Net", "--json")
    source = {"kind": "module", "name": "nowhere.mod:Net", "path": None, "options": []}
    assert (ran.code, ran.report["source"]) == (2, source)


def test_a_forward_that_fails_after_an_edit_is_one_message(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    body = "        if (self.weight == 7).all(): raise ValueError('seven')\n        return super().forward(x)\n"
    text = f"from torch import nn\nclass Seven(nn.Linear):\n    def forward(self, x):\n{body}"
    (tmp_path / "seven.py").write_text(text, encoding="utf-8")
    options = ["--arg", "in_features=2", "--arg", "out_features=1", "--params", "weight", "--fill", "7"]
    ran = run("edit", "seven.py:Seven", *options)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "error: seven.py:Seven: the forward after the change failed: seven\n"
