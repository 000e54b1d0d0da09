"""The status of every parameter's gradient: each has cases of its own, and none claims what was not seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from paraminspect.analysis.passes.forward_backward import ForwardBackward, gradient_of, run_passes
from paraminspect.modules.subject import Batch, Given, Loss
from paraminspect.report import Gradient
from tests.cases import each


def passes_of(module: nn.Module, *inputs: Tensor, backward: bool = True) -> ForwardBackward:
    return run_passes(module, Batch(tuple(map(Given, inputs))), Loss(), backward=backward)


def statuses(module: nn.Module, *inputs: Tensor) -> dict[str, str]:
    passes = passes_of(module, *inputs)
    assert passes.error is None, passes.error
    return {name: gradient_of(parameter, passes).status for name, parameter in module.named_parameters()}


class Net(nn.Module):
    """A module with one parameter `w` and a layer, whose forward is a function of the case."""

    def __init__(self, run: Callable[..., object]) -> None:
        super().__init__()
        self.run = run
        self.w = nn.Parameter(torch.ones(2))
        self.layer = nn.Linear(2, 2, bias=False)

    def forward(self, a: Tensor) -> object:
        return self.run(self, a)


def under_no_grad(self: Net, a: Tensor) -> Tensor:
    with torch.no_grad():
        scale = self.w.sum()
    return self.layer(a) * scale


def caught(self: Net, a: Tensor) -> Tensor:
    try:
        self.layer(torch.ones(5))
    except RuntimeError:
        return a * self.w
    raise AssertionError("the layer should have failed")


def filled(self: Net, a: Tensor) -> Tensor:
    with torch.no_grad():
        self.w.fill_(3.0)
    return self.layer(a)


CASES: dict[str, tuple[Callable[..., object], str, str]] = {
    "both-used": (lambda self, a: self.layer(a) * self.w, "ok", "ok"),
    "never-read": (lambda self, a: self.layer(a), "unused", "ok"),
    "never-called": (lambda self, a: a * self.w, "ok", "unused"),
    "only-its-shape": (lambda self, a: self.layer(a) * self.w.numel() + torch.zeros_like(self.w), "unused", "ok"),
    "only-written": (filled, "unused", "ok"),
    "no-grad": (under_no_grad, "disconnected", "ok"),
    "detached": (lambda self, a: self.layer(a) * self.w.detach(), "disconnected", "ok"),
    "data": (lambda self, a: self.layer(a) * self.w.data, "disconnected", "ok"),
    "item": (lambda self, a: self.layer(a) * self.w[0].item(), "disconnected", "ok"),
    "numpy": (lambda self, a: self.layer(a) * float(self.w.detach().numpy()[0]), "disconnected", "ok"),
    "tolist": (lambda self, a: self.layer(a) * sum(self.w.tolist()), "disconnected", "ok"),
    "compared": (lambda self, a: torch.where(self.w > 0, self.layer(a), 0.0), "disconnected", "ok"),
    "index": (lambda self, a: self.layer(a)[:, self.w.argmax()], "disconnected", "ok"),
    "thrown-away": (lambda self, a: (a * self.w, self.layer(a))[1], "disconnected", "ok"),
    "detached-output": (lambda self, a: self.layer(a).detach() * self.w, "ok", "disconnected"),
    "times-zero": (lambda self, a: self.layer(a) + 0 * self.w, "zero", "ok"),
    "dead": (lambda self, a: self.layer(a) + torch.relu(-self.w), "zero", "ok"),
    "nan": (lambda self, a: self.layer(a) + float("nan") * self.w, "nonfinite", "ok"),
    "inf": (lambda self, a: self.layer(a) + float("inf") * self.w, "nonfinite", "ok"),
    "view-of-output": (lambda self, a: (self.layer(a) * self.w).view(-1)[::2], "ok", "ok"),
    "tuple": (lambda self, a: ({"y": [self.layer(a)]}, (self.w.T,)), "ok", "ok"),
    "itself": (lambda self, a: self.w, "ok", "unused"),
    "caught": (caught, "ok", "disconnected"),
    "called-without-hooks": (lambda self, a: self.layer.forward(a) * self.w, "ok", "ok"),
    "generator": (lambda self, a: sum(row for row in (self.layer(r) * self.w for r in a)), "ok", "ok"),
}


@each(("run", "w", "layer"), CASES.values(), ids=CASES)
@pytest.mark.filterwarnings("ignore:The use of `x.T` on tensors of dimension other than 2")
def test_status(run: Callable[..., object], w: str, layer: str) -> None:
    assert statuses(Net(run), torch.ones(3, 2)) == {"w": w, "layer.weight": layer}


def test_frozen_wins_over_read_and_unread() -> None:
    net = Net(lambda self, a: (a * self.w).requires_grad_())
    net.requires_grad_(False)
    assert statuses(net, torch.ones(3, 2)) == {"w": "frozen", "layer.weight": "frozen"}


def test_a_frozen_layer_passes_the_gradient_on() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].requires_grad_(False)
    assert statuses(net, torch.ones(1, 2)) == {
        "0.weight": "ok",
        "0.bias": "ok",
        "1.weight": "frozen",
        "1.bias": "frozen",
    }


def test_a_loss_that_depends_on_no_parameter_is_an_error_with_statuses() -> None:
    net = Net(lambda self, a: self.layer(a).detach())
    passes = passes_of(net, torch.ones(1, 2))
    assert not passes.backward
    assert passes.error is not None
    assert passes.error.phase == "backward"
    assert passes.error.message.startswith("the loss depends on no parameter; the output is float32 (1, ")
    found = {name: gradient_of(parameter, passes).status for name, parameter in net.named_parameters()}
    assert found == {"w": "unused", "layer.weight": "disconnected"}
    frozen = passes_of(net.requires_grad_(False), torch.ones(1, 2))
    assert (frozen.error, frozen.backward) == (None, False)


def test_without_passes_and_without_backward_nothing_was_run() -> None:
    net = Net(lambda self, a: self.layer(a))
    assert gradient_of(net.w, None) == Gradient("not-run")
    passes = passes_of(net, torch.ones(1, 2), backward=False)
    assert [gradient_of(p, passes).status for p in net.parameters()] == ["not-run", "not-run"]


@pytest.mark.parametrize(
    "run",
    [lambda self, a: self.layer(a.T), lambda self, a: None, lambda self, a: Explodes.apply(self.layer(a))],
    ids=["forward", "loss", "backward"],
)
def test_after_an_error_nothing_was_run(run: Callable[..., object]) -> None:
    net = Net(run)
    passes = passes_of(net, torch.ones(1, 2))
    assert passes.error is not None
    assert [gradient_of(p, passes).status for p in net.parameters()] == ["not-run", "not-run"]


class Explodes(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a: Tensor) -> Tensor:
        return a * 2

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        raise ValueError("boom")


def test_on_meta_a_gradient_that_arrives_is_unknown_not_zero() -> None:
    net = nn.Sequential(nn.Linear(2, 2, device="meta"))
    net.extra = nn.Parameter(torch.ones(2, device="meta"))
    found = statuses(net, torch.ones(1, 2, device="meta"))
    assert found == {"extra": "unused", "0.weight": "unknown", "0.bias": "unknown"}


def test_a_sparse_gradient_has_the_figures_of_a_dense_one() -> None:
    net = nn.Embedding(5, 3, sparse=True)
    passes = passes_of(net, torch.tensor([0, 2, 2]))
    found = gradient_of(net.weight, passes, wanted=True)
    assert (found.status, found.mean, found.max, found.zeros) == ("ok", 9 / 15, 2.0, 9)
    assert found.data == [[1.0] * 3, [0.0] * 3, [2.0] * 3, [0.0] * 3, [0.0] * 3]
    alone = nn.Embedding(5, 3, sparse=True)
    passes = passes_of(nn.Sequential(alone, nn.Threshold(0.0, 0.0)), torch.tensor([], dtype=torch.int64))
    assert gradient_of(alone.weight, passes).status == "zero"


class Scripted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.read, self.silent, self.unread = (nn.Linear(2, 2, bias=False) for _ in range(3))

    def forward(self, a: Tensor) -> Tensor:
        return self.read(a) + self.silent(a).detach()


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "inside"])
def test_what_torchscript_reads_is_seen(inside: bool) -> None:
    scripted = torch.jit.script(Scripted())
    net = nn.Sequential(nn.Identity(), scripted) if inside else scripted
    found = statuses(net, torch.ones(1, 2))
    assert [*found.values()] == ["ok", "disconnected", "unused"]


def test_what_is_compiled_runs_eagerly() -> None:
    def backend(*_: object) -> Callable[..., object]:
        raise AssertionError("nothing should be compiled")

    net = torch.compile(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), backend=backend)
    passes = passes_of(net, torch.ones(1, 2))
    assert passes.error is None
    assert [(layer.module, layer.type) for layer in passes.layers()] == [
        ("_orig_mod.0", "Linear"),
        ("_orig_mod.1", "ReLU"),
    ]
    assert {gradient_of(parameter, passes).status for parameter in net.parameters()} <= {"ok", "zero"}
