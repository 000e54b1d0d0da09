"""One forward, one backward: what is recorded, and what a failure says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks

from paraminspect.analysis.gradients import gradient_of, uses_of
from paraminspect.analysis.inventory import count, take_inventory
from paraminspect.analysis.losses import compute_loss, tensors_in
from paraminspect.analysis.passes import Passes, _rms, loss_value, run_passes
from paraminspect.analysis.statistics import measure
from paraminspect.errors import UserError
from paraminspect.sources.subject import Batch, Given, Loss


def passes_of(module: nn.Module, *inputs: Tensor, loss: str = "sum", follow: bool = False) -> Passes:
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


@pytest.mark.parametrize(
    "grad",
    [
        torch.randn(7, 5),
        torch.zeros(4),
        torch.full((3,), 3e38),
        torch.full((3,), 1e-45),
        torch.tensor([1.0, float("nan"), 2.0]),
        torch.tensor([1.0, float("inf"), 2.0]),
        torch.full((3,), 1e200, dtype=torch.float64),
        torch.randn(200, 200),
        torch.randn(9).to(torch.bfloat16),
    ],
    ids=["normal", "zero", "large", "subnormal", "nan", "inf", "float64", "long", "bfloat16"],
)
def test_the_short_way_to_an_rms_is_as_exact(grad: Tensor) -> None:
    assert _rms(grad) == pytest.approx(measure(grad).rms, rel=1e-13, abs=0.0)


def test_no_hook_is_left_behind_also_when_the_forward_raises() -> None:
    before = (len(module_hooks._global_forward_hooks), len(module_hooks._global_forward_pre_hooks))
    passes_of(nn.Linear(3, 3), torch.randn(2, 3))
    passes_of(nn.Linear(3, 3), torch.randn(2, 4))
    assert (len(module_hooks._global_forward_hooks), len(module_hooks._global_forward_pre_hooks)) == before


def test_status_of_every_kind() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.never, self.lost = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
            self.frozen, self.dead = nn.Linear(2, 2), nn.Parameter(torch.zeros(2))
            self.broken = nn.Parameter(torch.ones(2))
            self.frozen.requires_grad_(False)

        def forward(self, x: Tensor) -> Tensor:
            self.lost(x).detach()
            return self.used(self.frozen(x)) + self.dead * 0 + self.broken * torch.tensor(float("nan"))

    net = Net()
    passes = passes_of(net, torch.ones(1, 2))
    found = {name: gradient_of(p, passes) for name, p in net.named_parameters()}
    assert {name: gradient.status for name, gradient in found.items() if gradient} == {
        "dead": "zero",
        "broken": "nonfinite",
        "used.weight": "ok",
        "used.bias": "ok",
        "never.weight": "unused",
        "never.bias": "unused",
        "lost.weight": "disconnected",
        "lost.bias": "disconnected",
        "frozen.weight": "frozen",
        "frozen.bias": "frozen",
    }


def test_a_loss_that_depends_on_nothing_is_no_error() -> None:
    class Net(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).detach()

    net = Net(2, 2)
    passes = passes_of(net, torch.ones(1, 2))
    assert passes.error is None
    assert not passes.backward
    assert [gradient_of(p, passes).status for p in net.parameters()] == ["disconnected", "disconnected"]


def test_on_meta_a_gradient_that_arrives_is_unknown_not_zero() -> None:
    net = nn.Linear(2, 2, device="meta")
    passes = passes_of(net, torch.ones(1, 2, device="meta"))
    assert loss_value(passes.loss) is None
    assert gradient_of(net.weight, passes).status == "unknown"
    assert gradient_of(net.weight, passes).rms is None


FAILURES = [
    (
        nn.Sequential(nn.Linear(4, 3), nn.Linear(5, 1)),
        torch.ones(2, 4),
        "1",
        "Linear expects (…, 5) of float32, got (2, 3) float32 (mat1 and mat2 shapes cannot be multiplied (2x3 and 5x1))",
    ),
    (
        nn.Sequential(nn.Linear(4, 3)),
        torch.ones(2, 4, dtype=torch.float64),
        "0",
        "Linear expects (…, 4) of float32, got (2, 4) float64 (",
    ),
    (
        nn.Sequential(nn.Embedding(10, 4)),
        torch.ones(2, 4),
        "0",
        "Embedding expects integers from 0 to 9, got (2, 4) float32 (",
    ),
    (
        nn.Sequential(nn.Embedding(10, 4)),
        torch.tensor([99]),
        "0",
        "Embedding expects integers from 0 to 9, got (1,) int64 (",
    ),
    (
        nn.Sequential(nn.Conv2d(3, 4, 3)),
        torch.ones(1, 5, 8, 8),
        "0",
        "Conv2d expects (N, 3, …) of float32, got (1, 5, 8, 8) float32 (",
    ),
    (
        nn.Sequential(nn.BatchNorm1d(3)),
        torch.ones(2, 4),
        "0",
        "BatchNorm1d expects (N, 3, …) of float32, got (2, 4) float32 (",
    ),
    (
        nn.Sequential(nn.Sequential(nn.LayerNorm(3))),
        torch.ones(2, 4),
        "0.0",
        "LayerNorm expects (…, 3) of float32, got (2, 4) float32 (",
    ),
    (nn.Sequential(nn.Unflatten(1, (3, 3))), torch.ones(2, 4), "0", "Unflatten got (2, 4) float32: "),
    (
        nn.Sequential(nn.LSTM(4, 3), nn.ReLU()),
        torch.ones(2, 4),
        "1",
        "ReLU got (2, 3) float32, (1, 3) float32, (1, 3) float32: ",
    ),
]


@pytest.mark.parametrize(("net", "x", "layer", "message"), FAILURES)
def test_a_failing_forward_names_the_layer_and_both_sides(net: nn.Module, x: Tensor, layer: str, message: str) -> None:
    error = passes_of(net, x).error
    assert error is not None
    assert error.module == layer
    assert error.message.startswith(message)


def test_the_ledger_adds_up_for_a_layer_called_in_a_loop() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(4):
                x = torch.tanh(self.cell(x))
            return x @ self.cell.weight

    torch.manual_seed(0)
    net, x = Loop(), torch.randn(2, 3)
    net(x).sum().backward()
    bare = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    passes = passes_of(net, x, follow=True)
    assert all(torch.equal(p.grad, g) for p, g in zip(net.parameters(), bare, strict=True))
    records = passes.ledger.records
    assert [(r.op, r.module) for r in records if r.parameter is net.cell.weight] == [("linear", "cell")] * 4 + [
        ("matmul", "")
    ]
    parts = torch.stack([r.view.grad.double() for r in records if r.parameter is net.cell.weight])
    torch.testing.assert_close(parts.sum(0), net.cell.weight.grad.double(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("net", [nn.LSTM(4, 3, 2), nn.MultiheadAttention(4, 2), nn.GRU(4, 3)])
def test_the_ledger_adds_up_where_parameters_travel_in_lists(net: nn.Module) -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 2, 4)
    inputs = (x, x, x) if isinstance(net, nn.MultiheadAttention) else (x,)
    passes = passes_of(net, *inputs, follow=True)
    assert passes.error is None
    for parameter in net.parameters():
        parts = [
            r.view.grad.double() for r in passes.ledger.records if r.parameter is parameter and r.view.grad is not None
        ]
        torch.testing.assert_close(sum(parts), parameter.grad.double(), rtol=1e-6, atol=1e-7)


def test_uses_name_the_parameter_they_are_asked_for() -> None:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 3)
    passes = passes_of(nn.Sequential(layer, layer), torch.ones(1, 1), follow=True)
    uses = uses_of(passes, {id(layer.weight): "0.weight"})
    assert [(u.parameter, u.module, u.op, u.index, u.gradient.mean, u.gradient.data) for u in uses] == [
        ("0.weight", "0", "linear", 0, 3.0, [[3.0]]),
        ("0.weight", "1", "linear", 1, 3.0, [[3.0]]),
    ]


def test_thirty_thousand_layers_are_freed_without_overflowing_the_stack() -> None:
    """Autograd frees a chain of hooked nodes recursively; the crash would take the whole test run with it."""
    layer = nn.Linear(1, 1)
    passes = passes_of(nn.Sequential(*[layer] * 30_000), torch.zeros(1, 1))
    assert passes.backward
    del passes


def test_losses() -> None:
    y = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    assert compute_loss(Loss("sum"), y).item() == 11
    assert compute_loss(Loss("mean"), (y, [y])).item() == 5.5
    assert compute_loss(Loss("mse"), y).item() == (1 + 4 + 9 + 25) / 4
    zeros = torch.zeros(6, 10)
    assert compute_loss(Loss("cross_entropy"), zeros).item() == pytest.approx(torch.tensor(10.0).log().item())
    assert [t.shape for t in tensors_in({"a": y, "b": (y, [zeros]), "c": 3})] == [(2, 2), (2, 2), (6, 10)]
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
    assert (totals.buffers, totals.buffer_bytes, totals.unregistered) == (7, 32, 5)


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
    assert entry.note.startswith("requires grad, but no module registers it")
