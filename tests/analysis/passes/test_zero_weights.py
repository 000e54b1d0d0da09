"""A zero is behind a zero weight if training lifts it; what is dead, frozen or stuck stays a plain zero."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear as weighted

from paraminspect import inspect
from tests.cases import each

BEHIND = "behind a zero weight"


class Net(nn.Module):
    """A trunk, a branch of two layers and what joins them, as a function says."""

    def __init__(self, forward: Callable[[Net, Tensor], Tensor]) -> None:
        super().__init__()
        self.stem, self.a, self.b, self.head = (nn.Linear(4, 4) for _ in range(4))
        self.norm = nn.BatchNorm1d(4)
        self.gate = nn.Parameter(torch.zeros(4))
        self._forward = forward

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self, x)


def zeroed(*names: str, frozen: bool = False, dead: str = "") -> Callable[[nn.Module], None]:
    def change(net: nn.Module) -> None:
        with torch.no_grad():
            for name in names:
                net.get_parameter(name).zero_()
                net.get_parameter(name).requires_grad_(not frozen)
            if dead:
                net.get_parameter(dead).fill_(-1e3)

    return change


def branch(net: Net, x: Tensor) -> Tensor:
    return net.b(torch.relu(net.a(x)))


def gated(net: Net, x: Tensor) -> Tensor:
    h = net.stem(x)
    return net.head(h + net.gate * branch(net, h))


def normed(net: Net, x: Tensor) -> Tensor:
    h = net.stem(x)
    return net.head(h + net.norm(branch(net, h)))


def linear(net: Net, x: Tensor) -> Tensor:
    h = net.stem(x)
    return net.head(h + branch(net, h))


def cast(net: Net, x: Tensor) -> Tensor:
    h = net.stem(x)
    return net.head(h + (branch(net, h).double() * net.gate.double().expand(8, 4)).float())


def two_gates(net: Net, x: Tensor) -> Tensor:
    h = net.stem(x)
    return net.head(h + net.gate * (net.a(h) + weighted(torch.tanh(net.a(h)), net.b.weight, net.b.bias)))


def alone(net: Net, x: Tensor) -> Tensor:
    return net.head(torch.relu(net.b(torch.relu(net.a(net.stem(x))))))


class Doubled(torch.autograd.Function):
    """What must not run on its own: the whole backward has to tell."""

    @staticmethod
    def forward(_ctx: object, x: Tensor) -> Tensor:  # type: ignore[override]  # torch's has no types
        return x * 2

    @staticmethod
    def backward(_ctx: object, grad: Tensor) -> Tensor:  # type: ignore[override]  # as above
        return grad * 2


def own(net: Net, x: Tensor) -> Tensor:
    h = net.stem(x)
    return net.head(h + net.gate * Doubled.apply(branch(net, h)))


def tanh(net: Net, x: Tensor) -> Tensor:
    return net.head(torch.tanh(net.b(torch.tanh(net.a(torch.tanh(net.stem(x)))))))


def beside_a_dead_relu(net: Net, x: Tensor) -> Tensor:
    """The layer `a` has one path through the gate, and one through a ReLU that is off."""
    h = net.a(x)
    return net.head(x + net.gate * h + torch.relu(net.b(h)))


def drawn(net: Net, x: Tensor) -> Tensor:
    h = net.stem(x)
    return net.head(h + net.gate * dropout(branch(net, h), 0.5))


def squeezed(net: Net, x: Tensor) -> Tensor:
    """Squeeze and excitation behind a norm of gain 0: its input, and what it multiplies, are 0."""
    out = net.norm(torch.relu(net.stem(x)))
    return net.head(x + out * torch.sigmoid(net.b(torch.tanh(net.a(out.mean(0, keepdim=True))))))


def squeezed_off(net: Net, x: Tensor) -> Tensor:
    """The same with a ReLU, which is off for an input of 0."""
    out = net.norm(torch.relu(net.stem(x)))
    return net.head(x + out * torch.sigmoid(net.b(torch.relu(net.a(out.mean(0, keepdim=True))))))


BRANCH = {"a.weight", "a.bias", "b.weight", "b.bias"}
CASES = {
    "a gate": (gated, zeroed(), BRANCH, set()),
    "a norm at the end": (normed, zeroed("norm.weight"), BRANCH, set()),
    "the last layer": (linear, zeroed("b.weight"), {"a.weight", "a.bias"}, set()),
    "a copy in another dtype": (cast, zeroed(), BRANCH, set()),
    "squeeze and excitation": (squeezed, zeroed("norm.weight"), BRANCH | {"stem.weight", "stem.bias"}, set()),
    "squeeze and excitation whose input is 0 by itself": (
        squeezed,
        zeroed("norm.weight", dead="stem.bias"),
        set(),
        {"norm.weight", "stem.weight", "stem.bias", *BRANCH},
    ),
    "squeeze and excitation with a ReLU that is off": (
        squeezed_off,
        zeroed("norm.weight", "a.bias"),
        {"stem.weight", "stem.bias", "b.bias"},
        {"a.weight", "a.bias", "b.weight"},
    ),
    "a Function of the user's": (own, zeroed(), BRANCH, set()),
    "dropout": (drawn, zeroed(), BRANCH, set()),
    "one zero behind another": (two_gates, zeroed("b.weight"), BRANCH, set()),
    "a head of zeros": (alone, zeroed("head.weight"), {"stem.weight", "stem.bias", *BRANCH}, set()),
    "a ReLU that is off in the branch": (gated, zeroed(dead="a.bias"), {"b.bias"}, {"a.weight", "a.bias", "b.weight"}),
    "a ReLU that is off": (
        alone,
        zeroed("head.weight", dead="a.bias"),
        {"b.bias"},
        {"stem.weight", "stem.bias", "a.weight", "a.bias", "b.weight"},
    ),
    "a ReLU that is off beside the gate": (
        beside_a_dead_relu,
        zeroed(dead="b.bias"),
        set(),
        {"a.weight", "a.bias", "b.weight", "b.bias"},
    ),
    "a frozen zero": (linear, zeroed("b.weight", frozen=True), set(), {"a.weight", "a.bias"}),
    "two zeros in a row, both stuck": (
        tanh,
        zeroed("b.weight", "b.bias", "head.weight"),
        set(),
        {"stem.weight", "stem.bias", "a.weight", "a.bias", "b.weight", "head.weight"},
    ),
}


@each("name", CASES)
def test_what_a_zero_weight_explains(name: str) -> None:
    forward, change, behind, zero = CASES[name]
    torch.manual_seed(0)
    net = Net(forward)
    change(net)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    found = {row.name: row.gradient for row in inspect(net, torch.randn(8, 4), loss="random").parameters}
    told = {key: (one.status, one.reason) for key, one in found.items() if one and one.status == "zero"}
    assert {key for key, said in told.items() if said == ("zero", BEHIND)} == behind
    assert {key for key, said in told.items() if said == ("zero", None)} >= zero
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize(
    "name", ["a gate", "a norm at the end", "the last layer", "a head of zeros", "squeeze and excitation"]
)
def test_training_lifts_what_is_behind_a_zero_weight(name: str) -> None:
    """Plain torch: some steps of SGD, and every gradient that was said to be behind a zero weight is there."""
    forward, change, behind, _ = CASES[name]
    torch.manual_seed(0)
    net, x = Net(forward), torch.randn(8, 4)
    change(net)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (net(x) * torch.randn(8, 4)).sum().backward()
        optimizer.step()
    assert all(net.get_parameter(name).grad.any() for name in behind)
