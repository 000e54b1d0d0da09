"""A frozen script has its weights in its graph: they are counted as what they are, and never as 0 parameters."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import nn

from paraminspect import inspect
from paraminspect.modules.script_constants import FROZEN

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of TorchScript as a whole


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)))


def loaded(script: Any) -> Any:
    file = io.BytesIO()
    torch.jit.save(script, file)
    file.seek(0)
    return torch.jit.load(file)


X = torch.ones(2, 4)
FREEZE = {
    "scripted": lambda net: torch.jit.freeze(torch.jit.script(net)),
    "traced": lambda net: torch.jit.freeze(torch.jit.trace(net, X)),
    "loaded": lambda net: loaded(torch.jit.freeze(torch.jit.script(net))),
}


@pytest.mark.parametrize("freeze", FREEZE.values(), ids=FREEZE)
def test_the_weights_of_a_frozen_script_are_counted(freeze: Any) -> None:
    net = Net().eval()
    found = inspect(freeze(net), X)
    weights = [row for row in found.parameters if row.kind == "graph-constant"]
    sizes = sorted(weight.numel() for weight in net.parameters())
    assert sorted(row.numel for row in weights) == sizes
    assert {row.note for row in weights} == {FROZEN}
    assert (found.totals.parameters, found.totals.constants) == (0, sum(sizes))
    largest = next(row for row in weights if row.numel == 12)
    assert largest.values.l2 == pytest.approx(net.a.weight.detach().double().norm().item())
    assert str(found).startswith(
        "RecursiveScriptModule: RecursiveScriptModule, nothing in parameters(), 23 weights in 4 "
    )


def test_a_script_that_is_not_frozen_has_parameters() -> None:
    for script in (torch.jit.script(Net()), torch.jit.trace(Net(), X)):
        found = inspect(script, X)
        assert found.totals.parameters == 23
        assert [row for row in found.parameters if row.kind == "graph-constant"] == []


def test_a_shared_parameter_of_a_script_is_not_used_0_times() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    found = str(inspect(torch.jit.script(net), torch.ones(2, 3)))
    assert "shared    0.weight = 1.weight: one Parameter, used out of sight" in found
    assert "0 times" not in found
