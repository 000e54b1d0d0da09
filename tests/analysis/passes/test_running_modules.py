"""What each layer returned and what gradient arrived there, for modules that do unusual things with their outputs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from paraminspect.analysis.passes.forward_backward import ForwardBackward, run_passes
from paraminspect.modules.subject import Batch, Given, Loss
from paraminspect.report import Layer, LayerGrad, LayerOut
from tests.cases import each


def passes_of(module: nn.Module, *inputs: Tensor) -> ForwardBackward:
    passes = run_passes(module, Batch(tuple(map(Given, inputs))), Loss())
    assert passes.error is None, passes.error
    return passes


def layers(module: nn.Module, *inputs: Tensor) -> tuple[Layer, ...]:
    return passes_of(module, *inputs).layers()


class Gives(nn.Module):
    """A childless module that returns what a function makes of its input."""

    def __init__(self, give: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.give = give

    def forward(self, a: Tensor) -> object:
        return self.give(a)


class Marked(Tensor):
    pass


class Takes(nn.Module):
    """A module with one child, whose output it turns into a tensor again."""

    def __init__(self, child: nn.Module, take: Callable[[object], Tensor]) -> None:
        super().__init__()
        self.child, self.take = child, take

    def forward(self, a: Tensor) -> Tensor:
        return self.take(self.child(a))


A = torch.tensor([[1.0, -2.0], [2.0, 3.0]])
FOUND = LayerOut(1.0, (18 / 4) ** 0.5, -2.0, 3.0, 0, 0)
OUTPUTS: dict[str, tuple[Callable[[Tensor], object], Callable[[object], Tensor], LayerOut, float | None]] = {
    "tensor": (lambda a: a * 1, lambda y: y, FOUND, 1.0),
    "the-input": (lambda a: a, lambda y: y * 2, FOUND, 2.0),
    "tuple": (lambda a: ("x", [a * 1], a), lambda y: y[1][0] * 3, FOUND, 3.0),
    "first-float": (lambda a: (a > 0, a.long(), a * 1), lambda y: y[2], FOUND, 1.0),
    "whole-numbers": (lambda a: a.long(), lambda y: y.float(), LayerOut(1.0, (18 / 4) ** 0.5, -2, 3, 0, 0), None),
    "detached": (lambda a: a.detach(), lambda y: y, FOUND, None),
    "view": (lambda a: (a * 1).t().view(2, 2), lambda y: y, FOUND, 1.0),
    "subclass": (lambda a: (a * 1).as_subclass(Marked), lambda y: y.as_subclass(Tensor) * 2, FOUND, 2.0),
    "nothing": (lambda a: None, lambda y: torch.ones(1), LayerOut(), None),
    "text": (lambda a: "y", lambda y: torch.ones(1), LayerOut(), None),
    "empty": (lambda a: a[:0], lambda y: y, LayerOut(nan=0, inf=0), None),
    "sparse": (lambda a: a.to_sparse(), lambda y: y.to_dense(), FOUND, 1.0),
    "unused": (lambda a: a * 1, lambda y: torch.ones(1, requires_grad=True), FOUND, None),
    "changed-afterwards": (lambda a: a * 1, lambda y: y.mul_(5), FOUND, 5.0),
    "changed-in-a-view": (lambda a: a * 1, lambda y: (y[0].zero_(), y)[1], FOUND, 0.5**0.5),
    "nan": (lambda a: a / a.sign().relu(), lambda y: y.nan_to_num(), LayerOut(2.0, (14 / 3) ** 0.5, 1.0, 3.0, 0, 1), 1),
}


@each(("give", "take", "out", "rms"), OUTPUTS.values(), ids=OUTPUTS)
def test_outputs_of_every_kind(
    give: Callable[[Tensor], object], take: Callable[[object], Tensor], out: LayerOut, rms: float | None
) -> None:
    (layer,) = layers(Takes(Gives(give), take), A.clone().requires_grad_())
    assert (layer.module, layer.type) == ("child", "Gives")
    for name, value in vars(out).items():
        assert getattr(layer.out, name) == (pytest.approx(value, rel=1e-14) if isinstance(value, float) else value)
    if rms is not None and torch.isfinite(torch.tensor(layer.out.inf or 0)) and layer.out.inf == 0:
        assert layer.grad == LayerGrad(pytest.approx(rms, rel=1e-14))


@pytest.mark.parametrize("kind", [nn.ReLU, nn.Hardtanh, nn.SiLU, nn.Dropout])
def test_a_layer_that_works_in_place_changes_nothing_recorded_before(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    linear, apart, inside = nn.Linear(2, 2), kind(inplace=False), kind(inplace=True)
    torch.manual_seed(1)
    expected = layers(nn.Sequential(linear, apart), A)
    torch.manual_seed(1)
    assert layers(nn.Sequential(linear, inside), A) == expected


def test_full_backward_hooks_and_outputs_that_are_views() -> None:
    net = nn.Sequential(nn.Linear(2, 4), nn.Unflatten(1, (2, 2)), nn.Flatten(), nn.ReLU())
    seen = []
    for module in net:
        module.register_full_backward_hook(lambda module, given, got: seen.append(type(module).__name__))
    found = layers(net, A.clone().requires_grad_())
    assert [layer.type for layer in found] == ["Linear", "Unflatten", "Flatten", "ReLU"]
    assert seen == ["ReLU", "Flatten", "Unflatten", "Linear"]
    assert found[3].grad.rms == 1.0
    assert found[0].grad.rms == found[1].grad.rms == found[2].grad.rms


def test_a_module_that_is_called_again_has_an_entry_for_each_call() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.Linear(2, 2)

        def forward(self, a: Tensor) -> Tensor:
            for _ in range(3):
                a = self.cell(a)
            return a

    net = Loop()
    found = layers(net, A)
    a, expected = A, []
    for _ in range(3):
        a = net.cell(a)
        a.retain_grad()
        expected.append(a)
    a.sum().backward()
    assert [layer.module for layer in found] == ["cell"] * 3
    assert [layer.out.mean for layer in found] == pytest.approx([y.mean().item() for y in expected], rel=1e-6)
    assert [layer.grad.rms for layer in found] == pytest.approx(
        [y.grad.square().mean().sqrt().item() for y in expected], rel=1e-6
    )


def test_a_gradient_that_the_forward_takes_for_itself_is_not_recorded() -> None:
    class Penalty(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(2, 2)

        def forward(self, a: Tensor) -> Tensor:
            y = self.inner(a)
            torch.autograd.grad(100 * y.sum(), y, retain_graph=True)
            return y

    (layer,) = layers(Penalty(), A)
    assert layer.grad.rms == 1.0


def test_modules_that_bypass_the_hooks_are_left_out_and_nothing_breaks() -> None:
    class Direct(nn.Linear):
        def __call__(self, a: Tensor) -> Tensor:
            return self.forward(a)

    net = nn.Sequential(Direct(2, 2), nn.Linear(2, 2))
    passes = run_passes(net, Batch((Given(A),)), Loss(), follow=tuple(net.parameters()))
    assert [layer.module for layer in passes.layers()] == ["1"]
    assert passes.ledger is not None
    assert [record.module for record in passes.ledger.records] == ["", "", "1", "1"]


def test_a_module_that_calls_itself() -> None:
    class Again(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(2, 2)

        def forward(self, a: Tensor, depth: int = 2) -> Tensor:
            return self(self.inner(a), depth - 1) if depth else a

    assert [layer.module for layer in layers(nn.Sequential(Again()), A)] == ["0.inner"] * 2
