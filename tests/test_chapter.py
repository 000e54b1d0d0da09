"""The textbook chapter, row by row: what the command line says, beside the same thing in plain PyTorch, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.cases import each
from tests.conftest import CONFIGS, Ran

Run = Callable[..., Ran]
SEED = 1  # what configs/mlp.yaml says


def chapter_net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))


def rows(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in report["parameters"]}


def same_bits(data: Any, tensor: torch.Tensor) -> bool:
    return torch.equal(torch.tensor(data, dtype=tensor.dtype), tensor.detach())


def test_a_the_whole_network(run: Run) -> None:
    report = run("show", CONFIGS / "mlp.yaml", "--values", "--json").report
    torch.manual_seed(SEED)
    net = chapter_net()
    x = torch.rand(2, 4)
    y = net(x)
    loss = y.sum()
    loss.backward()
    assert report["model"] == {"type": "Sequential", "repr": repr(net), "prefix": ""}
    assert [(r["name"], tuple(r["shape"]), r["dtype"], r["kind"]) for r in report["parameters"]] == [
        (name, tuple(p.shape), "float32", "parameter") for name, p in net.named_parameters()
    ]
    assert same_bits(report["forward"]["input"][0]["data"], x)
    assert same_bits(report["forward"]["output"][0]["data"], y)
    assert report["forward"]["loss"] == loss.item()
    for name, parameter in net.named_parameters():
        assert same_bits(rows(report)[name]["data"], parameter)
        assert same_bits(rows(report)[name]["gradient"]["data"], parameter.grad)
    assert report["totals"]["parameters"] == sum(p.numel() for p in net.parameters()) == 19


def test_a_without_a_source_it_is_the_same_network(run: Run) -> None:
    ran = run("show", "--json")
    assert ran.code == 0
    assert ran.err == "note: no SOURCE given: using the built-in spec 'mlp'\n"
    named = run("show", CONFIGS / "mlp.yaml", "--json").report
    assert {**ran.report, "source": None} == {**named, "source": None}


def test_b_one_layer_by_glob_keeps_its_names(run: Run) -> None:
    report = run("show", CONFIGS / "mlp.yaml", "--params", "0.*", "--json").report
    assert [row["name"] for row in report["parameters"]] == ["0.weight", "0.bias"]
    assert report["totals"]["parameters"] == 19
    assert report["totals"]["shown"] == 15


def test_b_one_layer_alone_has_names_relative_to_it(run: Run) -> None:
    report = run("show", CONFIGS / "mlp.yaml", "--layer", "0", "--values", "--json").report
    torch.manual_seed(SEED)
    net = chapter_net()
    net(torch.rand(2, 4)).sum().backward()
    assert [row["name"] for row in report["parameters"]] == [name for name, _ in net[0].named_parameters()]
    assert report["model"]["repr"] == repr(net[0])
    assert report["totals"]["parameters"] == sum(p.numel() for p in net[0].parameters()) == 15
    for name, parameter in net[0].named_parameters():
        assert same_bits(rows(report)[name]["gradient"]["data"], parameter.grad)


def test_c_a_plain_tensor_is_not_a_parameter(run: Run) -> None:
    report = run("show", CONFIGS / "plain-tensor.yaml", "--json").report
    assert {name: row["kind"] for name, row in rows(report).items()} == {
        "0.weight": "parameter",
        "2.weight": "parameter",
        "2.bias": "parameter",
        "0.bias": "unregistered",
    }
    assert report["totals"]["parameters"] == 12 + 3 + 1
    assert report["totals"]["unregistered"] == 3
    assert rows(report)["0.bias"]["note"].startswith("a plain tensor attribute: not in parameters()")


def test_d_before_the_backward_every_grad_is_none(run: Run) -> None:
    ran = run("show", CONFIGS / "mlp.yaml", "--params", "2.bias", "--values", "--before-backward", "-f", "plain")
    torch.manual_seed(SEED)
    net = chapter_net()
    assert net[2].bias.grad is None
    block = ran.out.partition("2.bias  Parameter of Linear")[2]
    assert block == (f", shape (1,), requires_grad=True\n  {'data:':<22}{net[2].bias.data}\n  {'grad:':<22}None\n")


def test_d_after_the_backward_grad_is_a_tensor(run: Run) -> None:
    ran = run("show", CONFIGS / "mlp.yaml", "--params", "2.bias", "--values", "-f", "plain")
    assert "grad before backward: None\n" in ran.out
    assert "grad after backward:  tensor([2.])\n" in ran.out


def test_e_normal_weights_and_constant_biases(run: Run) -> None:
    flags = ("--scheme", "normal:mean=0,std=0.01", "--bias", "constant:val=0")
    report = run("init", CONFIGS / "mlp.yaml", *flags, "--values", "--json").report
    torch.manual_seed(SEED)
    net = chapter_net()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for layer in (net[0], net[2]):
        nn.init.normal_(layer.weight, mean=0, std=0.01)
    for layer in (net[0], net[2]):
        nn.init.zeros_(layer.bias)
    for name, parameter in net.named_parameters():
        row = rows(report)[name]
        assert same_bits(row["data"], parameter)
        assert row["before"]["mean"] == pytest.approx(before[name].double().mean().item(), rel=1e-14)
        assert row["values"]["std"] == pytest.approx(parameter.double().std(correction=0).item(), rel=1e-14)
    assert rows(report)["0.weight"]["init"]["expected_std"] == 0.01
    assert rows(report)["0.bias"]["init"]["expected_std"] == 0.0
    assert {v["verdict"] for v in report["verdicts"]} == {"mean as expected", "std as expected", "bounds as expected"}


def test_e_the_config_says_the_same_as_the_flags(run: Run) -> None:
    flags = ("--scheme", "normal:mean=0,std=0.01", "--bias", "constant:val=0", "--seed", "0")
    by_flag = run("init", CONFIGS / "mlp.yaml", *flags, "--values", "--json").report
    by_spec = run("init", CONFIGS / "normal.yaml", "--values", "--json").report
    assert [row["data"] for row in by_flag["parameters"]] == [row["data"] for row in by_spec["parameters"]]


def textbook_(weight: torch.Tensor) -> None:
    nn.init.uniform_(weight, -10, 10)
    weight.data *= weight.data.abs() >= 5


def test_f_the_chapters_own_scheme(run: Run) -> None:
    report = run("init", CONFIGS / "textbook.yaml", "--values", "--json").report
    torch.manual_seed(0)
    net = chapter_net()
    textbook_(net[0].weight)
    textbook_(net[2].weight)
    for name in ("0.weight", "2.weight"):
        assert same_bits(rows(report)[name]["data"], net.get_parameter(name))
    assert rows(report)["0.weight"]["init"]["expected_std"] ** 2 == pytest.approx(29.1667, rel=1e-5)


def test_f_a_function_of_the_users(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def init_weight_(weight):\n    print('working')\n    weight.uniform_(-1, 1)\n")
    ran = run("init", CONFIGS / "mlp.yaml", "--scheme", f"{file}:init_weight_", "--values", "--json")
    torch.manual_seed(SEED)
    net = chapter_net()
    nn.init.uniform_(net[0].weight, -1, 1)
    assert ran.code == 0
    assert same_bits(rows(ran.report)["0.weight"]["data"], net[0].weight)
    assert "working" in ran.err  # what it prints never mixes with the answer


def test_g_an_edit_leaves_gradients_and_graph_alone(run: Run) -> None:
    report = run("edit", CONFIGS / "mlp.yaml", "--params", "*.bias", "--add", 1, "--values", "--json").report
    torch.manual_seed(SEED)
    net = chapter_net()
    x = torch.rand(2, 4)
    first = net(x)
    first.sum().backward()
    with torch.no_grad():
        net[0].bias += 1
        net[2].bias += 1
        second = net(x)
    edit = report["edit"]
    assert edit["parameters"] == ["0.bias", "2.bias"]
    assert edit["gradients_unchanged"] is True
    assert edit["graph_unchanged"] is True
    assert same_bits(edit["output_before"]["data"], first)
    assert same_bits(edit["output_after"]["data"], second)
    for name in ("0.bias", "2.bias"):
        assert same_bits(rows(report)[name]["data"], net.get_parameter(name))
        assert same_bits(rows(report)[name]["gradient"]["data"], net.get_parameter(name).grad)


def test_h_one_layer_twice_adds_its_gradients(run: Run) -> None:
    report = run("show", CONFIGS / "shared.yaml", "--json").report
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 3)
    net = nn.Sequential(layer, layer)
    net(torch.ones(1, 1)).sum().backward()
    (row,) = report["parameters"]
    assert (row["name"], row["aliases"]) == ("0.weight", ["1.weight"])
    assert row["gradient"]["mean"] == layer.weight.grad.item() == 6
    assert [use["gradient"]["mean"] for use in report["uses"]] == [3, 3]
    assert [(s["kind"], s["names"]) for s in report["sharing"]] == [("same-parameter", ["0.weight", "1.weight"])]
    assert report["totals"]["parameters"] == 1
    assert report["totals"]["as_named"] == 2


def test_h_said_in_one_line(run: Run) -> None:
    line = "0.weight = 1.weight: one Parameter, used 2 times: gradient 3 + 3 = 6\n"
    assert line in run("show", CONFIGS / "shared.yaml").out


def test_h_share_prints_the_identities(run: Run) -> None:
    out = run("share", CONFIGS / "shared.yaml", "-f", "plain").out
    assert "module    one Linear object: 0 is 1\n" in out
    assert "tensor    one Parameter of shape (1, 1), 1 element, 4 bytes, counted once; identity 1, storage 1\n" in out
    assert "gradient  3 + 3 = 6\n" in out


@each(
    "name", ["constant", "normal", "uniform", "eye", "xavier_uniform", "xavier_normal", "kaiming_uniform", "orthogonal"]
)
def test_i_deprecated_names_are_scheme_names_and_never_called(
    run: Run, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Warnings are errors here, so that torch's deprecated functions could not be called unnoticed."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError(f"torch.nn.init.{name} is deprecated")

    if hasattr(nn.init, name):
        monkeypatch.setattr(nn.init, name, refuse)
    given = f"{name}:val=2" if name == "constant" else name
    ran = run("init", CONFIGS / "mlp.yaml", "--scheme", given, "--json")
    assert ran.code == 0
    assert rows(ran.report)["0.weight"]["init"]["scheme"] == name
