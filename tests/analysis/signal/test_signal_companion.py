"""What is followed in the forward of the passes is what a forward of its own would tell; elsewhere nothing is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from paraminspect.analysis.passes.forward_backward import run_passes
from paraminspect.analysis.signal import SignalBeside, Trace, calls_of, signal_over_seeds
from paraminspect.modules.subject import Batch, Given, Loss
from tests.analysis.signal.following import traced
from tests.cases import each


class Of(nn.Module):
    """A network around a function of it and the input."""

    def __init__(self, function: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.function = function
        self.one, self.other = nn.Linear(6, 6), nn.Linear(6, 6)
        self.norm, self.lookup = nn.BatchNorm1d(6), nn.Embedding(9, 6)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


class Doubled(torch.autograd.Function):
    """A Function of a user's: its backward may be one that runs only once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return 2 * grads[0]


def hooked(net: Any, x: Tensor) -> Tensor:
    hidden = net.one(x)
    hidden.register_hook(lambda grad: 2 * grad)
    return net.other(hidden)


ALIKE: dict[str, Callable[[Any, Tensor], Any]] = {
    "layers": lambda net, x: net.other(net.norm(net.one(x)).relu()),
    "a residual sum, dropout": lambda net, x: (h := net.one(x)) + torch.dropout(net.other(h.tanh()), 0.5, True),
    "a scaled input": lambda net, x: net.one((2 * (x / 3) - 1).reshape(-1, 6)),
    "a tied weight": lambda net, x: net.one(net.one(x).relu()) @ net.one.weight.t(),
    "whole numbers": lambda net, x: net.other(net.lookup(x)).relu(),
    "a checkpoint": lambda net, x: net.other(
        checkpoint(nn.Sequential(net.norm, nn.ReLU()), net.one(x), use_reentrant=False)
    ),
    "several outputs": lambda net, x: {"first": net.one(x), "second": net.other(x).sigmoid()},
    "cut on the way": lambda net, x: net.other(net.one(x).detach().relu()),
}
APART: dict[str, Callable[[Any, Tensor], Any]] = {
    "a Function of the user's": lambda net, x: net.other(Doubled.apply(net.one(x))),
    "a reentrant checkpoint": lambda net, x: net.other(checkpoint(net.norm, net.one(x), use_reentrant=True)),
    "a hook of the user's": hooked,
    "cut before the first weight": lambda net, x: net.one(x.detach()),
    "a layer without weights first": lambda net, x: net.one(x.relu()),
    "recorded by nobody": lambda net, x: net.one(torch.no_grad()(torch.mul)(x, 2)),
    "a forward that fails": lambda net, x: net.one(x[:, :3]),
}


def run(function: Callable[[Any, Tensor], Any], x: Tensor, companion: bool) -> tuple[Trace | None, Trace, list[Any]]:
    """Return the trace of the passes' forward, of its own, and what the passes found."""
    torch.manual_seed(1)
    net = Of(function)
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    beside = SignalBeside(net, {}, histograms=True) if companion else None
    torch.manual_seed(2)
    passes = run_passes(net, Batch((Given(x),)), Loss("random"), follow=tuple(net.parameters()), companion=beside)
    after = torch.rand(())
    found = [passes.error, passes.loss, passes.layers(), [*passes.gradients.values()], after]
    found += [(one.op, one.module, one.gradient) for one in (passes.ledger.records if passes.ledger else ())]
    net.zero_grad()
    net.load_state_dict(state)
    torch.manual_seed(2)
    return beside.trace() if beside else None, traced(net, x, histograms=True), found


@each("name", ALIKE)
def test_it_tells_what_a_forward_of_its_own_tells(name: str) -> None:
    x = torch.randint(0, 9, (5, 7)) if name == "whole numbers" else torch.randn(5, 6)
    beside, own, found = run(ALIKE[name], x, companion=True)
    assert beside is not None
    assert signal_over_seeds([beside]) == signal_over_seeds([own])
    assert calls_of(beside) == calls_of(own)
    assert (beside.notes, beside.doubt, beside.names) == (own.notes, own.doubt, own.names)
    assert found == run(ALIKE[name], x, companion=False)[2]


@pytest.mark.parametrize("name", APART)
def test_where_it_would_not_nothing_is_told(name: str) -> None:
    x = torch.randn(5, 6)
    beside, _, found = run(APART[name], x, companion=True)
    assert beside is None
    assert str(found) == str(run(APART[name], x, companion=False)[2])


def test_an_input_that_wants_a_gradient_itself() -> None:
    x = torch.randn(5, 6, requires_grad=True)
    assert run(ALIKE["layers"], x, companion=True)[0] is None
    assert x.grad is None
