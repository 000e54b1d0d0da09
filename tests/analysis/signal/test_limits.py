"""Any model can be followed: no exception of ours, nothing left behind, whatever its forward does."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from paraminspect.analysis.inventory import take_inventory
from paraminspect.analysis.signal import calls_of, follow, signal_over_seeds
from paraminspect.experiments.measured_run import guarded
from paraminspect.modules.subject import Batch, Given
from paraminspect.report import Signal
from tests.analysis.signal.following import mlp, signal, traced
from tests.cases import each
from tests.isolation.test_untouched import fingerprint
from tests.zoo import ZOO, Specimen


def _followed(specimen: Specimen) -> tuple[Any, Signal]:
    given = (*map(Given, specimen.args), *(Given(value, name) for name, value in specimen.kwargs.items()))
    with guarded(take_inventory(specimen.module)) as mode:
        trace = follow(specimen.module, Batch(given), None, {}, histograms=True, contain=lambda: mode)
    return trace, signal_over_seeds([trace])


@each("name", ZOO)
def test_every_model_of_the_zoo_is_followed_and_as_it_was(name: str) -> None:
    torch.manual_seed(0)
    specimen = ZOO[name]()
    if any(nn.parameter.is_lazy(one) for one in specimen.module.parameters()):
        specimen.module(*specimen.args)
    before = fingerprint(specimen)
    state = torch.get_rng_state()
    trace, found = _followed(specimen)
    torch.set_rng_state(state)
    assert fingerprint(specimen) == before
    fails = name.endswith("raises") or name == "writes without gradient"  # to what its backward needs
    assert (trace.error is not None) == fails
    assert len(calls_of(trace)) == len(trace.calls)
    assert found.seeds == 1


def test_a_deep_network_is_no_recursion() -> None:
    layers = sys.getrecursionlimit()  # one call in another for each layer would be too many
    module = nn.Sequential(*(nn.Linear(1, 1) for _ in range(layers)))
    found = signal(module, torch.randn(2, 1), thorough=False, expect=False)
    assert len(found.layers) == layers
    del module, found
    gc.collect()


def test_memory_is_let_go_without_the_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        module, x = mlp([8] * 4, nn.ReLU), torch.randn(4, 8)
        seen: list[weakref.ref[Any]] = []
        module[2].register_forward_hook(lambda _m, args, output: seen.extend(map(weakref.ref, (args[0], output))))
        trace = traced(module, x)
        seen += [weakref.ref(one) for one in module.parameters()]
        del module
        assert [one() for one in seen] == [None] * len(seen)
        assert trace.graph.nodes
    finally:
        gc.enable()


class Acting(nn.Module):
    """Two layers; between them whatever `act` does."""

    def __init__(self, act: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.first, self.last, self.act = nn.Linear(4, 4), nn.Linear(4, 2), act

    def forward(self, x: Tensor) -> Any:
        return self.last(self.act(self.first(x)))


class Hostile(Tensor):
    """A tensor whose class wants to know of everything, and likes nothing."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in ("isfinite", "numel", "is_meta", "_version", "is_inference"):
            raise ValueError("not with me")
        return super().__torch_function__(func, types, args, kwargs or {})


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(context: Any, grad: Tensor) -> Tensor:
        return grad * 7


def _within_no_grad(h: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.relu(h)


def _inference(h: Tensor) -> Tensor:
    with torch.inference_mode():
        made = h * 2
    return made.clone()


def _sparse(h: Tensor) -> Tensor:
    return torch.sparse.mm(h.relu().to_sparse(), torch.eye(4)) + h


def _nested(h: Tensor) -> Tensor:
    with torch.enable_grad():
        z = h.detach().requires_grad_()
        (grad,) = torch.autograd.grad(z.square().sum(), z)
    return h + grad


ACTS: dict[str, Callable[[Tensor], Any]] = {
    "a tensor of another class": lambda h: h.as_subclass(Hostile),
    "an own function": Doubled.apply,
    "no_grad": _within_no_grad,
    "inference mode": _inference,
    "sparse": _sparse,
    "complex": lambda h: torch.fft.ifft(torch.fft.fft(h)).real,
    "vmap": torch.vmap(lambda row: torch.tanh(row)),
    "functional grad": lambda h: h + torch.func.grad(lambda z: z.square().sum())(h.detach()),
    "a gradient inside": _nested,
    "data": lambda h: h.data,
    "detach": lambda h: h.detach(),
    "in place": lambda h: functional.relu(h, inplace=True) * 2,
    "a list": lambda h: torch.stack(list(h)),
    "numpy": lambda h: torch.from_numpy(h.detach().numpy()),
    "a write": lambda h: h.index_fill_(0, torch.tensor([0]), 0.0),
    "a number": lambda h: h * float(h.detach().sum()),
    "a quantity": lambda h: h * h.norm(),
    "scalars": lambda h: h + h.sum(),
    "einsum": lambda h: torch.einsum("bi,ij->bj", h, torch.eye(4)),
    "another type": lambda h: h.double().float(),
    "whole numbers": lambda h: h.round().long().float(),
    "meshgrid": lambda h: torch.meshgrid(h[0], h[0], indexing="ij")[0],
    "a keyword": lambda h: functional.leaky_relu(input=h, negative_slope=0.3),
    "out": lambda h: torch.tanh(h.detach(), out=torch.empty(3, 4)),
}


@each("name", ACTS)
def test_whatever_a_forward_does(name: str) -> None:
    torch.manual_seed(0)
    module, x = Acting(ACTS[name]), torch.randn(3, 4)
    trace = traced(module, x)
    assert trace.error is None
    assert signal_over_seeds([trace]).layers[0].module == "first"
    assert [parameter.grad for parameter in module.parameters()] == [None] * 4


def test_a_function_with_a_backward_of_its_own_is_not_taken_for_what_its_forward_does() -> None:
    torch.manual_seed(0)
    first, last = signal(Acting(Doubled.apply), torch.randn(64, 4)).layers
    assert first.expected.grad_rms is None
    assert first.grad_rms > 2 * last.grad_rms


def _raise(error: BaseException) -> Callable[[Tensor], Tensor]:
    def act(_: Tensor) -> Tensor:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("on purpose"), "Acting got (3, 4) float32: on purpose"),
        (SystemExit(3), "Acting called exit(3)"),
        (RecursionError(), "Acting never stopped calling itself"),
        (AssertionError(), "Acting got (3, 4) float32: AssertionError"),
    ],
)
def test_what_a_forward_raises_is_recorded(error: BaseException, message: str) -> None:
    trace = traced(Acting(_raise(error)), torch.randn(3, 4))
    assert (trace.error.phase, trace.error.message) == ("forward", message)
    assert [one.module for one in signal_over_seeds([trace]).layers] == ["first"]


def test_an_interrupt_passes() -> None:
    with pytest.raises(KeyboardInterrupt):
        traced(Acting(_raise(KeyboardInterrupt())), torch.randn(3, 4))


@pytest.mark.parametrize(
    ("output", "note"),
    [
        (lambda h: None, "the signal could not be followed to the output"),
        (lambda h: 3, "the signal could not be followed to the output"),
        (lambda h: h.argmax(1), "the signal could not be followed to the output"),
        (lambda h: h.detach(), "no gradient comes back: the output has no graph that leads to the input"),
        (lambda h: torch.zeros(3), "the signal could not be followed to the output"),
    ],
)
def test_an_output_that_no_gradient_comes_back_from(output: Callable[[Tensor], Any], note: str) -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Any:
            return output(self.layer(x))

    found = signal(Last(), torch.randn(3, 4))
    assert note in found.notes
    assert found.layers[0].grad_rms is None


@pytest.mark.parametrize(
    ("x", "note"),
    [
        (torch.ones(3, 4), "all samples of the input are the same, up to a factor"),
        (torch.zeros(3, 4), "the input is 0 everywhere"),
        (torch.full((3, 4), float("nan")), "the input holds 12 elements that are NaN or infinite"),
        (torch.randn(0, 4), "the signal could not be followed to the output"),
        (torch.randn(1, 4), None),
        (torch.randn(4), None),
        (torch.randn(3, 4, device="meta"), None),
    ],
)
def test_inputs_at_the_edge(x: Tensor, note: str | None) -> None:
    found = signal(mlp([4, 4, 2], nn.ReLU).to(x.device), x, histograms=True)
    assert note is None or note in found.notes
    assert len(found.layers) == 2


def test_inputs_without_numbers() -> None:
    class Asked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, text: str, mask: Tensor) -> Tensor:
            return self.layer(torch.ones(1, 2))

    found = signal(Asked(), "text", torch.ones(2, dtype=torch.bool))
    assert "the input holds no tensor of numbers: there is no signal to follow" in found.notes


def test_an_input_is_not_written_to_and_a_scalar_is_one() -> None:
    class Writing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(2.0))

        def forward(self, x: Tensor) -> Tensor:
            return x.mul_(3.0) * self.scale

    x = torch.tensor(1.5)
    signal(Writing(), x)
    assert float(x) == 1.5


def test_histograms_count_every_element() -> None:
    found = signal(mlp([6, 8, 3], nn.Tanh), torch.randn(5, 6), histograms=True)
    first, last = found.layers
    assert (sum(first.pre_histogram.counts), sum(first.out_histogram.counts)) == (40, 40)
    assert -1 <= first.out_histogram.low < first.out_histogram.high <= 1
    assert (sum(last.pre_histogram.counts), last.out_histogram) == (15, None)


def test_no_theory_unless_asked() -> None:
    trace = traced(mlp([6, 8, 3], nn.Tanh), torch.randn(5, 6), expect=False)
    found = signal_over_seeds([trace])
    assert {row.expected.pre.rms for row in found.layers} == {None}
    assert found.notes == ()
    assert found.regime is None
