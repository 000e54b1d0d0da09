"""The public function: a module in hand gives the Report that the commands give, and shows itself."""

from __future__ import annotations

import gc
import random
import re
from collections import OrderedDict, UserDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import paraminspect
from paraminspect.api import Inspection

X = torch.tensor([[1.0, 2.0]])


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(2, 3), nn.Linear(2, 3)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.left(a) + self.right(b)


class Narrow(Pair):
    """A model that is wrong itself, whatever it is given."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.right(self.left(a)) + b


def twice() -> nn.Module:
    """The textbook's case: one layer of weight 3 used twice on the input 1."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 3.0)
    return nn.Sequential(layer, layer)


def test_the_textbooks_sharing() -> None:
    report = paraminspect.inspect(twice(), torch.ones(1, 1))
    (row,) = report.parameters
    assert (row.name, row.aliases, row.gradient.mean) == ("0.weight", ("1.weight",), 6.0)
    assert [(use.module, use.op, use.gradient.mean) for use in report.uses] == [
        ("0", "linear", 3.0),
        ("1", "linear", 3.0),
    ]
    assert report.totals.parameters == 1
    assert isinstance(report, paraminspect.Report)
    assert "used 2 times: gradient 3 + 3 = 6" in repr(report)


@pytest.mark.parametrize(
    "inputs",
    [(X, 2 * X), [X, 2 * X], {"a": X, "b": 2 * X}, OrderedDict(b=2 * X, a=X), UserDict({"a": X, "b": 2 * X})],
    ids=["tuple", "list", "dict", "ordered", "mapping"],
)
def test_inputs_by_position_and_by_name(inputs: Any) -> None:
    torch.manual_seed(0)
    net = Pair()
    report = paraminspect.inspect(net, inputs)
    net(X, 2 * X).sum().backward()
    for row in report.parameters:
        grad = net.get_parameter(row.name).grad
        assert row.gradient.rms == pytest.approx(grad.square().mean().sqrt().item())


def test_without_inputs_the_first_layer_says_what_fits() -> None:
    report = paraminspect.inspect(nn.Sequential(nn.Linear(5, 2), nn.ReLU()))
    assert [(one.shape, one.dtype) for one in report.forward.input] == [((2, 5), "float32")]
    assert report.forward.origin == "inferred"


def test_without_inputs_a_note_says_what_to_pass() -> None:
    report = paraminspect.inspect(Narrow())
    (note,) = report.notes
    assert re.fullmatch(
        r"no forward: the first of \d+ inputs that were tried, a \(2, 2\) float32 uniform, b \(2, 2\) float32 uniform, "
        r"fails in layer 'right': Linear expects \(…, 2\) of float32, got \(2, 3\) float32 .*; "
        r"forward\(a: Tensor, b: Tensor\) needs 2 inputs; pass inputs=\{'a': …, 'b': …\}",
        note,
    )
    assert (report.errors, report.forward) == ((), None)
    first = report.to_dict()["attempts"][0]
    assert first["error"]["module"] == "right"
    assert [one["shape"] for one in first["input"]] == [[2, 2], [2, 2]]
    assert {row.gradient.status for row in report.parameters} == {"not-run"}
    assert str(report).endswith(f"note: {note}")


def test_a_forward_that_raises_is_part_of_the_report() -> None:
    report = paraminspect.inspect(nn.Sequential(nn.Linear(3, 2), nn.Linear(5, 1)), torch.ones(2, 3))
    assert report.totals.parameters == 14
    (error,) = report.errors
    assert (error.code, error.where) == ("forward-failed", "layer '1'")
    assert "Linear expects (…, 5) of float32, got (2, 2) float32" in error.message
    assert re.search(r"error: layer '1': the forward failed: Linear expects", str(report))


def test_the_callers_input_and_generator_are_left_alone() -> None:
    class InPlace(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mul_(2).sum() * torch.rand(())

    x, state = torch.ones(3), torch.get_rng_state()
    first, second = (paraminspect.inspect(InPlace(), x).forward for _ in range(2))
    assert x.tolist() == [1.0, 1.0, 1.0]
    assert torch.equal(torch.get_rng_state(), state)
    assert first.loss == second.loss
    assert paraminspect.inspect(InPlace(), x, seed=1).forward.loss != first.loss


def test_a_loss_of_ones_own() -> None:
    net = nn.Linear(2, 1)
    report = paraminspect.inspect(net, X, loss=lambda y: (3 * y).sum())
    assert report.parameters[1].gradient.mean == 3.0
    assert report.forward.loss_name == "<lambda>"
    assert paraminspect.inspect(net, X, loss="random").forward.loss_name == "random"


def test_rows_layers_uses_and_numbers() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    assert [row.name for row in paraminspect.inspect(net, X, params=["*.bias"]).parameters] == ["0.bias", "1.bias"]
    assert [row.name for row in paraminspect.inspect(net, X, params="1.*").parameters] == ["1.weight", "1.bias"]
    assert [row.name for row in paraminspect.inspect(net, X, layer="1").parameters] == ["weight", "bias"]
    assert len(paraminspect.inspect(net, X, uses=True).uses) == 4
    assert paraminspect.inspect(net, X, values=True).parameters[1].data == net[0].bias.tolist()
    assert all(row.values is None for row in paraminspect.inspect(net, X, statistics=False).parameters)
    assert paraminspect.inspect(net, X, backward=False).forward.backward is False
    assert paraminspect.inspect(net, X, forward=False).forward is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "summ"}, "unknown loss 'summ'"),
        ({"loss": 3}, "unknown loss 3"),
        ({"params": ["*.wait"]}, "'*.wait' matches no parameter"),
        ({"layer": "7"}, "there is no layer '7'"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(paraminspect.UserError) as caught:
        paraminspect.inspect(nn.Sequential(nn.Linear(2, 1)), X, **arguments)
    assert caught.value.message == message
    assert caught.value.hint


def test_only_modules_are_inspected() -> None:
    with pytest.raises(TypeError, match=r"inspect takes a torch\.nn\.Module, got OrderedDict"):
        paraminspect.inspect(nn.Linear(2, 1).state_dict())


def test_how_it_shows_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    report = paraminspect.inspect(nn.Sequential(nn.Linear(2, 1)), X)
    assert isinstance(report, Inspection)
    assert max(map(len, repr(report).splitlines())) <= 60
    assert "left out:" in repr(report)
    assert "left out:" not in str(report)
    page = report._repr_html_()
    assert page.startswith("<")
    assert "0.weight" in page


def test_a_hostile_name_stays_text() -> None:
    net = nn.Module()
    net.add_module("<script>\x1b[31m", nn.Linear(2, 1))
    report = paraminspect.inspect(net, forward=False)
    assert "\x1b" not in repr(report) + report._repr_html_()
    assert "<script>" not in report._repr_html_()
    assert report.parameters[0].name == "<script>\x1b[31m.weight"


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_the_garbage_collector_rests_only_while_it_looks(enabled: bool, fails: bool) -> None:
    seen = []

    class Asks(nn.Module):
        def forward(self, a: Tensor) -> Tensor:
            seen.append(gc.isenabled())
            if fails:
                raise ValueError("no")
            return a

    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        paraminspect.inspect(Asks(), X)
        assert (seen, gc.isenabled()) == ([False], enabled)
    finally:
        (gc.enable if before else gc.disable)()


def test_the_example_of_the_model_itself_draws_nothing_that_is_missed_later() -> None:
    class Drawing(nn.Linear):
        @property
        def example_input_array(self) -> Tensor:
            return torch.rand(2, 2) + random.random()

    net, state = Drawing(2, 1), random.getstate()
    assert paraminspect.inspect(net).forward.origin == "example_input_array"
    assert random.getstate() == state
    assert paraminspect.inspect(net, forward=False).notes == ()
