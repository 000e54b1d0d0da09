"""Which leaves a backward reaches, and that those of others keep their gradient."""

from __future__ import annotations

import torch
from torch import nn

from paraminspect.analysis.passes.leaves import leaves_of, spared


def test_the_leaves_of_a_graph() -> None:
    net, x = nn.Linear(3, 2), torch.ones(4, 3, requires_grad=True)
    found = leaves_of((net(x) * 2 + net.bias).sum())
    assert {id(leaf) for leaf in found} == {id(x), id(net.weight), id(net.bias)}
    assert len(found) == 3
    assert leaves_of(x) == [x]
    assert leaves_of(torch.ones(1)) == []


def test_only_their_own_gradients_are_kept() -> None:
    net, x, y = nn.Linear(3, 2), torch.ones(4, 3, requires_grad=True), torch.ones(2, requires_grad=True)
    before = y.grad = torch.full((2,), 5.0)
    loss = (net(x) * y).sum()
    with spared(loss, {id(p) for p in net.parameters()}):
        loss.backward()
        assert x.grad is not None
    assert x.grad is None
    assert y.grad is before
    assert before.tolist() == [5.0, 5.0]
    assert net.weight.grad is not None


def test_a_graph_of_many_layers_is_walked_without_recursion() -> None:
    x = y = torch.ones(1, requires_grad=True)
    for _ in range(20_000):
        y = y + 1
    assert leaves_of(y) == [x]
