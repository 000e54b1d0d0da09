"""One forward, one backward: the gradients are torch's own, every layer is recorded, and nothing is left behind."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks

from paraminspect.analysis.inventory import count, take_inventory
from paraminspect.analysis.passes.forward_backward import (
    ForwardBackward,
    grads_put_aside,
    loss_value,
    run_passes,
)
from paraminspect.analysis.passes.losses import compute_loss
from paraminspect.errors import UserError
from paraminspect.modules.nested_tensors import leaves_of, tensors_in
from paraminspect.modules.subject import Batch, Given, Loss


def passes_of(module: nn.Module, *inputs: Tensor, loss: str = "sum", follow: bool = False) -> ForwardBackward:
    batch = Batch(tuple(map(Given, inputs)))
    return run_passes(module, batch, Loss(loss), follow=tuple(module.parameters()) if follow else ())


def test_gradients_are_those_of_a_bare_backward() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    x = torch.randn(5, 4)
    net(x).sum().backward()
    bare = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    passes = passes_of(net, x, follow=True)
    assert passes.backward
    assert loss_value(passes.loss) == net(x).sum().item()
    assert all(torch.equal(p.grad, g) for p, g in zip(net.parameters(), bare, strict=True))


def test_layers_are_recorded_in_order_of_execution() -> None:
    layer = nn.Linear(3, 3)
    net = nn.Sequential(layer, nn.ReLU(inplace=True), layer)
    x = torch.randn(2, 3)
    found = passes_of(net, x).layers()
    assert [(one.index, one.module, one.type) for one in found] == [
        (0, "0", "Linear"),
        (1, "1", "ReLU"),
        (2, "2", "Linear"),
    ]
    first = layer(x)
    last = layer(torch.relu(first))
    assert found[0].out.rms == pytest.approx(first.double().square().mean().sqrt().item(), rel=1e-12)
    assert found[0].out.min == first.min().item()
    assert found[2].out.mean == pytest.approx(last.double().mean().item(), rel=1e-12)
    assert found[2].grad.rms == 1.0


def test_no_hook_is_left_behind_also_when_the_forward_raises() -> None:
    before = (len(module_hooks._global_forward_hooks), len(module_hooks._global_forward_pre_hooks))
    passes_of(nn.Linear(3, 3), torch.randn(2, 3))
    passes_of(nn.Linear(3, 3), torch.randn(2, 4))
    assert (len(module_hooks._global_forward_hooks), len(module_hooks._global_forward_pre_hooks)) == before


def test_thousands_of_layers_are_freed_without_overflowing_the_stack() -> None:
    """Autograd frees a chain of hooked nodes recursively; the crash would take the whole test run with it.

    In a thread whose stack is a sixteenth of the usual one: it overflows at 1,250 nodes, the usual one at 20,000.
    """
    freed = []

    def work() -> None:
        layers = [nn.Tanh(), nn.Linear(1, 1)]  # the operations of the one are looked through for rounding errors too
        passes = passes_of(nn.Sequential(*layers * 2_000), torch.ones(1, 1, requires_grad=True))
        backward = passes.backward
        del passes
        freed.append(backward)

    before = threading.stack_size(512 * 1024)
    try:
        thread = threading.Thread(target=work)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert freed == [True]


def test_losses() -> None:
    y = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    assert compute_loss(Loss("sum"), y).item() == 11
    assert compute_loss(Loss("mean"), (y, [y.clone()])).item() == 5.5
    assert compute_loss(Loss("mse"), y).item() == (1 + 4 + 9 + 25) / 4
    zeros = torch.zeros(6, 10)
    assert compute_loss(Loss("cross_entropy"), zeros).item() == pytest.approx(torch.tensor(10.0).log().item())
    assert [t.shape for t in tensors_in({"a": y, "b": (y, [zeros]), "c": 3})] == [(2, 2), (6, 10)]
    assert compute_loss(Loss("sum"), torch.tensor([1, 2])).item() == 3
    with pytest.raises(UserError, match="the mean needs a floating-point output, got int64"):
        compute_loss(Loss("mean"), torch.ones(3, dtype=torch.int64))


def test_totals_of_an_inventory() -> None:
    net = nn.Sequential(nn.Embedding(1000, 16), nn.Linear(16, 1000, bias=False), nn.BatchNorm1d(3), nn.LazyLinear(2))
    net[1].weight = net[0].weight
    net[2].bias.requires_grad_(False)
    net[0].extra = torch.ones(5)
    totals = count(take_inventory(net))
    assert (totals.parameters, totals.trainable, totals.frozen) == (16_006, 16_003, 3)
    assert (totals.as_named, totals.bytes, totals.unknown) == (32_006, 64_024, 2)
    assert (totals.buffers, totals.buffer_bytes, totals.constants) == (7, 32, 5)


def test_meta_and_empty_tensors_have_storages_of_their_own() -> None:
    net = nn.Sequential(nn.Linear(2, 2, device="meta"), nn.Linear(2, 2, device="meta"))
    inventory = take_inventory(net)
    assert [inventory.storage(entry.tensor) for entry in inventory.entries] == [1, 2, 3, 4]
    assert [inventory.identity(entry.tensor) for entry in inventory.entries] == [1, 2, 3, 4]
    assert count(inventory).parameters == 12


def test_a_requires_grad_attribute_is_called_forgotten() -> None:
    net = nn.Sequential(nn.Linear(2, 2))
    net[0].scale = torch.ones(2, requires_grad=True)
    (entry,) = take_inventory(net).of_kind("unregistered")
    assert entry.name == "0.scale"
    assert entry.note.startswith("requires grad, but is no Parameter")


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
    own = {id(p) for p in net.parameters()}
    with grads_put_aside(leaf for leaf in leaves_of(loss) if id(leaf) not in own):
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
