"""Where the value of a parameter leaves the graph, against plain torch's own `.grad is None`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from paraminspect.analysis.passes.lost_graph import retrace
from paraminspect.modules.subject import Loss
from paraminspect.report import Cause
from paraminspect.sources.examples import batch_of
from tests.cases import each

X = torch.linspace(-1, 1, 6).reshape(2, 3)


class Net(nn.Module):
    """Two layers; what a subclass does `between` them loses the graph of the first."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 3)

    def between(self, h: Tensor) -> Any:
        return h

    def forward(self, x: Tensor) -> Any:
        return self.last(self.between(self.first(x)))


class Gate(nn.Module):
    """A module of its own between the two."""

    def forward(self, h: Tensor) -> Tensor:
        return h.detach()


class Detached(Net):
    def between(self, h: Tensor) -> Tensor:
        return h.detach()


class Data(Net):
    def between(self, h: Tensor) -> Tensor:
        return h.data * 2


class InGate(Net):
    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate()

    def between(self, h: Tensor) -> Tensor:
        h.detach().mean()  # logging: not the cause
        return self.gate(h)


class NoGrad(Net):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            h = self.first(x)
        return self.last(h)


class Inference(Net):
    def forward(self, x: Tensor) -> Tensor:
        with torch.inference_mode():
            h = self.first(x)
        return self.last(h.clone())


class Argmax(Net):
    def between(self, h: Tensor) -> Tensor:
        return nn.functional.one_hot(h.argmax(1), 3).float()


class Compared(Net):
    def between(self, h: Tensor) -> Tensor:
        return torch.where(h > 0, 1.0, 0.0)


class Rounded(Net):
    def between(self, h: Tensor) -> Tensor:
        return h.to(torch.int64) / 2


class Ranked(Net):
    def between(self, h: Tensor) -> Tensor:
        return h.topk(3).indices.float()


class Sampled(Net):
    def between(self, h: Tensor) -> Tensor:
        return torch.distributions.Normal(h, 1.0).sample()


class Spiking(Net):
    def between(self, h: Tensor) -> Tensor:
        return torch.bernoulli(h.sigmoid())


class Numpy(Net):
    def between(self, h: Tensor) -> Tensor:
        return torch.from_numpy(h.detach().numpy() * 2)


class Copied(Net):
    def between(self, h: Tensor) -> Tensor:
        return torch.tensor([[value.item() for value in row] for row in h])


class Reentrant(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(checkpoint(self.first, x, use_reentrant=True))


class ReentrantThenDetached(Net):
    def __init__(self) -> None:
        super().__init__()
        self.middle = nn.Linear(3, 3)

    def between(self, h: Tensor) -> Tensor:
        return checkpoint(self.middle, h, use_reentrant=True).detach()


class NoneBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, scale: float) -> Tensor:
        return h * scale

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None]:
        return None, None


class Function(Net):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Module()
        self.gate.forward = lambda h: NoneBack.apply(h, 2.0)

    def between(self, h: Tensor) -> Tensor:
        return self.gate(h) + 1


class Straight(torch.autograd.Function):
    """A Function in good order: its output has a graph though its forward ran without."""

    @staticmethod
    def forward(ctx: Any, h: Tensor) -> Tensor:
        return (h.detach() > 0).float() * h

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


class StraightThenDetached(Net):
    def between(self, h: Tensor) -> Tensor:
        return Straight.apply(h).detach()


class Scripted(Net):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.jit.script(self.first)

    def between(self, h: Tensor) -> Tensor:
        return h.detach()


class Overwritten(Net):
    def between(self, h: Tensor) -> Tensor:
        h.zero_()
        return h


class CopiedOver(Net):
    def between(self, h: Tensor) -> Tensor:
        return h.copy_(X[:, :3])


class AssignedOver(Net):
    def between(self, h: Tensor) -> Tensor:
        h[:] = 1
        return h


class WrittenWithoutGraph(Net):
    def between(self, h: Tensor) -> Tensor:
        room = torch.zeros(2, 3)
        with torch.no_grad():
            room[:] = h
        return room


class Unused(Net):
    def forward(self, x: Tensor) -> Tensor:
        self.first(x)
        return self.last(x)


class OnlyIntegers(Net):
    def forward(self, x: Tensor) -> Any:
        return {"y": self.last(x), "class": self.first(x).argmax(1)}


class OfIntegers(Net):
    def forward(self, x: Tensor) -> Any:
        return self.last(self.first(x)).argmax(1)


class Floored(Net):
    def between(self, h: Tensor) -> Tensor:
        return (h * 255).round() / 255


class Marked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor) -> Tensor:
        out = h * 2
        ctx.mark_non_differentiable(out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


class NonDifferentiable(Net):
    def between(self, h: Tensor) -> Tensor:
        return Marked.apply(h)


class Forces(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        (force,) = torch.autograd.grad(self.first(x).square().sum(), x)
        return self.last(force)


class PickedAndDetached(Net):
    def between(self, h: Tensor) -> Tensor:
        picked = h.argmax(-1)
        return h.detach() + nn.functional.one_hot(picked, 3)


DETACHES = "it detaches its result from the graph"
OVER = "it overwrites the values in place"
CASES: list[tuple[type[Net], Cause]] = [
    (Detached, Cause("", "detach", DETACHES)),
    (Data, Cause("", "data", DETACHES)),
    (InGate, Cause("gate", "detach", DETACHES)),
    (NoGrad, Cause("first", "linear", "it ran under torch.no_grad()")),
    (Inference, Cause("first", "linear", "it ran under torch.inference_mode()")),
    (Argmax, Cause("", "argmax", "its result is int64, which has no gradient")),
    (Compared, Cause("", "gt", "its result is bool, which has no gradient")),
    (Rounded, Cause("", "to", "its result is int64, which has no gradient")),
    (Ranked, Cause("", "topk", "its result is int64, which has no gradient")),
    (Sampled, Cause("", "normal", "it ran under torch.no_grad()")),
    (Spiking, Cause("", "bernoulli", "its derivative is 0 everywhere")),
    (Numpy, Cause("", "detach", DETACHES)),
    (Copied, Cause("", "item", "its numbers leave torch, and with it the graph")),
    (
        Reentrant,
        Cause(
            "first",
            "linear",
            "it ran in a reentrant checkpoint no input of which requires grad; use_reentrant=False needs none",
        ),
    ),
    (ReentrantThenDetached, Cause("", "detach", DETACHES)),
    (Function, Cause("gate", "NoneBack", "its backward returns None for an input that requires grad")),
    (StraightThenDetached, Cause("", "detach", DETACHES)),
    (Scripted, Cause("", "detach", DETACHES)),
    (Overwritten, Cause("", "zero_", OVER)),
    (CopiedOver, Cause("", "copy_", OVER)),
    (AssignedOver, Cause("", "__setitem__", OVER)),
    (WrittenWithoutGraph, Cause("", "__setitem__", "it ran under torch.no_grad()")),
    (Floored, Cause("", "round", "its derivative is 0 everywhere")),
    (NonDifferentiable, Cause("", "mul", "it ran in the autograd Function Marked, which returned no graph")),
    (Forces, Cause("", "grad", "it was called without create_graph=True")),
    (Unused, Cause("first", "linear", "what it returned reaches no output")),
    (OnlyIntegers, Cause("", "argmax", "its result is int64, which has no gradient")),
    (OfIntegers, Cause("", "argmax", "its result is int64, which has no gradient")),
    (
        PickedAndDetached,
        Cause("", "argmax", f"its result is int64, which has no gradient; at detach in the model itself: {DETACHES}"),
    ),
]


@each(("kind", "cause"), CASES, ids=[kind.__name__ for kind, _ in CASES])
@pytest.mark.filterwarnings("ignore")  # of torch, on what these nets do
def test_the_first_operation_that_loses_the_graph_is_named(kind: type[Net], cause: Cause) -> None:
    net = kind()
    loss = sum(value.sum() for value in out.values()) if isinstance(out := net(X), dict) else out.sum()
    if loss.requires_grad:
        loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in net.first.parameters())  # plain torch
    net.zero_grad()
    lost = [net.first.weight, net.first.bias]
    found = retrace(net, batch_of(X), Loss("sum"), lost, list(net.parameters()))
    assert found.causes == {id(parameter): cause for parameter in lost}
    assert found.leaves == ()
    assert all(parameter.grad is None for parameter in net.parameters())


class StraightThrough(Net):
    def between(self, h: Tensor) -> Tensor:
        return Straight.apply(h) + (h.round() - h).detach()


class CheckpointedInside(Net):
    def between(self, h: Tensor) -> Tensor:
        return checkpoint(self.last, h, use_reentrant=True)


@pytest.mark.parametrize("kind", [Net, StraightThrough, CheckpointedInside])
def test_what_is_in_order_has_no_cause(kind: type[Net]) -> None:
    net = kind()
    net(X).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())  # plain torch
    grads = [parameter.grad for parameter in net.parameters()]
    found = retrace(net, batch_of(X), Loss("sum"), list(net.parameters()), list(net.parameters()))
    assert found.causes == {}
    assert all(parameter.grad is grad for parameter, grad in zip(net.parameters(), grads, strict=True))


class Mapped(Net):
    def between(self, h: Tensor) -> Tensor:
        return torch.vmap(lambda row: row * 2)(h).detach()


def test_what_is_out_of_sight_is_no_ground_for_a_guess() -> None:
    net = Mapped()
    found = retrace(net, batch_of(X), Loss("sum"), [net.first.weight], list(net.parameters()))
    assert found.causes == {}


class Endless(Net):
    """The weight is read 10,000 times before it is lost."""

    def between(self, h: Tensor) -> Tensor:
        for _ in range(10_000):
            h = h * 1.0
        return h.detach()


def test_a_deep_graph_is_followed_in_linear_time() -> None:
    net = Endless()
    found = retrace(net, batch_of(X), Loss("sum"), [net.first.weight], list(net.parameters()))
    assert found.causes == {id(net.first.weight): Cause("", "detach", DETACHES)}


class Raises(Detached):
    def forward(self, x: Tensor) -> Tensor:
        raise SystemExit(0)


def test_a_forward_that_raises_the_second_time_tells_nothing() -> None:
    net = Raises()
    assert retrace(net, batch_of(X), Loss("sum"), [net.first.weight], []).causes == {}
