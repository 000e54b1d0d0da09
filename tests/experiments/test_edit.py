"""`edit`: values change in place; gradients, graph and identity do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.conftest import CONFIGS, Ran

Run = Callable[..., Ran]
Write = Callable[..., Path]


@pytest.mark.parametrize(
    ("flag", "by_hand"),
    [("--add", lambda p: p.add_(2.5)), ("--mul", lambda p: p.mul_(2.5)), ("--fill", lambda p: p.fill_(2.5))],
)
def test_each_operation_as_torch_does_it(run: Run, flag: str, by_hand: Callable[[torch.Tensor], torch.Tensor]) -> None:
    report = run("edit", CONFIGS / "mlp.yaml", flag, 2.5, "--values", "--json").report
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    x = torch.rand(2, 4)
    net(x).sum().backward()
    with torch.no_grad():
        for parameter in net.parameters():
            by_hand(parameter)
    assert [row["data"] for row in report["parameters"]] == [p.tolist() for p in net.parameters()]
    assert report["edit"]["output_after"]["data"] == net(x).tolist()
    assert report["edit"]["loss_after"] == net(x).sum().item()


def test_the_second_forward_draws_the_dropout_of_the_first(run: Run, spec: Write) -> None:
    path = spec("layers: [Linear: [4, 50], Dropout: 0.5]\ninput: [2, 4]")
    edit = run("edit", path, "--add", 0, "--json").report["edit"]
    assert edit["output_before"]["data"] == edit["output_after"]["data"]


def test_a_shared_parameter_is_changed_once(run: Run) -> None:
    report = run("edit", CONFIGS / "shared.yaml", "--add", 1, "--values", "--json").report
    assert report["parameters"][0]["data"] == [[4.0]]
    assert report["edit"]["output_after"]["data"] == [[16.0]]


def test_without_a_forward_there_is_no_gradient_to_compare(run: Run, spec: Write) -> None:
    path = spec("layers: [Conv1d: [3, 4, 2]]")
    ran = run("edit", path, "--fill", 1, "--json")
    assert ran.code == 0
    assert ran.report["edit"]["gradients_unchanged"] is None
    assert ran.report["edit"]["output_after"] is None
    assert ran.err == "note: no forward: the input is not known; pass --input, e.g. --input 2,4\n"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            (),
            "error: edit: one of --add, --mul and --fill is needed, got 0\n  for example: edit --params '*.bias' --add 1\n",
        ),
        (("--add", "1", "--mul", "2"), "error: edit: one of --add, --mul and --fill is needed, got 2\n"),
        (("--add", "1", "--params", "*.bais"), "error: --params: '*.bais' matches no parameter\n  did you mean "),
    ],
)
def test_what_edit_refuses(run: Run, flags: tuple[str, ...], message: str) -> None:
    ran = run("edit", CONFIGS / "mlp.yaml", *flags)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(message)
