"""What a forward that raises says: which module, what it expected and what it got; and that nothing escapes."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from paraminspect.analysis.passes.forward_backward import ForwardBackward, run_passes
from paraminspect.isolation import user_code
from paraminspect.modules.subject import Batch, Given, Loss
from paraminspect.report import ForwardError
from tests.cases import each


def passes_of(module: nn.Module, *inputs: object, **named: object) -> ForwardBackward:
    given = [*map(Given, inputs), *(Given(value, name) for name, value in named.items())]
    return run_passes(module, Batch(tuple(given)), Loss())


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


@each(("net", "x", "layer", "message"), FAILURES)
def test_a_failing_forward_names_the_layer_and_both_sides(net: nn.Module, x: Tensor, layer: str, message: str) -> None:
    error = passes_of(net, x).error
    assert error is not None
    assert error.module == layer
    assert error.message.startswith(message)


class Runs(nn.Module):
    """A module whose forward is a function of the case."""

    def __init__(self, run: Callable[..., object], **children: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, child in children.items():
            setattr(self, name, child)

    def forward(self, a: Tensor) -> object:
        return self.run(self, a)


def raising(error: BaseException) -> Callable[..., object]:
    def run(self: Runs, a: Tensor) -> object:
        raise error

    return run


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def endless(self: Runs, a: Tensor) -> object:
    return self(a)


SAID = {
    "exit": (raising(SystemExit(0)), "Runs called exit(0)"),
    "exit-with-words": (raising(SystemExit("bye\nbye")), "Runs called exit('bye\\nbye')"),
    "exit-of-the-process": (lambda self, a: os._exit(3), "Runs called exit(3)"),
    "base": (raising(BaseException("odd")), "Runs raised BaseException: odd"),
    "cancelled": (raising(GeneratorExit()), "Runs raised GeneratorExit"),
    "recursion": (endless, "Runs never stopped calling itself"),
    "memory": (raising(MemoryError()), "Runs ran out of memory"),
    "device-memory": (
        raising(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has")),
        "Runs got (2, 3) float32: ran out of memory: it tried to allocate 20.00 GiB",
    ),
    "too-large": (lambda self, a: torch.empty(2**60), "Runs got (2, 3) float32: "),
    "key": (raising(KeyError("head")), "Runs got (2, 3) float32: raised KeyError: 'head'"),
    "assertion": (raising(AssertionError()), "Runs got (2, 3) float32: AssertionError"),
    "mute": (raising(Mute()), "Runs got (2, 3) float32: (a Mute that cannot be shown)"),
    "many-lines": (raising(ValueError("first\nsecond")), "Runs got (2, 3) float32: first"),
}


@each(("run", "said"), SAID.values(), ids=SAID)
def test_whatever_the_forward_raises_is_recorded(run: Callable[..., object], said: str) -> None:
    net = nn.Sequential(nn.ReLU(), Runs(run))
    passes = run_passes(net, Batch((Given(torch.ones(2, 3)),)), Loss(), contain=user_code.contained)
    assert passes.error is not None
    assert (passes.error.module, passes.error.phase) == ("1", "forward")
    assert passes.error.message.startswith(said)
    assert [layer.module for layer in passes.layers()] == ["0"]


def test_an_interrupt_passes() -> None:
    with pytest.raises(KeyboardInterrupt):
        passes_of(Runs(raising(KeyboardInterrupt())), torch.ones(1))


def test_the_module_that_raised_is_blamed_not_one_whose_error_was_caught() -> None:
    def careless(self: Runs, a: Tensor) -> Tensor:
        try:
            self.narrow(a)
        except RuntimeError:
            a = self.wide(a)
        return a @ torch.ones(7, 7)

    net = nn.Sequential(Runs(careless, narrow=nn.Linear(2, 2), wide=nn.Linear(3, 3)))
    error = passes_of(net, torch.ones(1, 3)).error
    assert error is not None
    assert (error.module, error.message.startswith("Runs got (1, 3) float32: mat1 and mat2")) == ("0", True)


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit])
def test_after_a_caught_error_the_uses_belong_to_the_right_module(kind: type[BaseException]) -> None:
    def careful(self: Runs, a: Tensor) -> Tensor:
        try:
            self.bad(a)
        except kind:
            a = self.good(a)
        return a * self.good.weight

    bad = Runs(raising(kind()))
    net = nn.Sequential(Runs(careful, bad=bad, good=nn.Linear(1, 1, bias=False)))
    passes = run_passes(net, Batch((Given(torch.ones(1, 1)),)), Loss(), follow=tuple(net.parameters()))
    assert passes.error is None
    assert passes.ledger is not None
    found = [(record.op, record.module) for record in passes.ledger.records]
    assert found[0] == ("linear", "0.good")
    # No hook of torch's hears that a module ended by an exit; its parent's uses go by its name until the parent ends.
    assert found[1] == ("mul", "0" if kind is RuntimeError else "0.bad")


def test_an_error_raised_while_another_is_handled() -> None:
    """A module called in an ``except`` block runs with an exception in flight, and is not the one that failed."""

    def handled(self: Runs, a: Tensor) -> Tensor:
        try:
            raise ValueError("first")
        except ValueError:
            return self.inner(a)

    fine = Runs(handled, inner=Runs(lambda self, a: None))
    passes = passes_of(nn.Sequential(fine, nn.Identity()), torch.ones(1))
    assert passes.error is not None
    assert passes.error.phase == "loss"
    assert [layer.module for layer in passes.layers()] == ["0.inner", "1"]


def test_what_a_hook_of_the_users_raises_is_recorded() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))

    def hook(*_: object) -> None:
        raise ValueError("from the hook")

    net[1].register_forward_pre_hook(hook)
    error = passes_of(net, torch.ones(1, 2)).error
    assert error == ForwardError("1", "Linear got (1, 2) float32: from the hook")


def test_inputs_by_keyword_are_not_called_missing() -> None:
    error = passes_of(nn.Linear(2, 2), input=torch.ones(1, 3)).error
    assert error is not None
    assert error.message.startswith("Linear expects (…, 2) of float32")
    assert "no tensor" not in error.message


def test_a_failing_backward_names_its_phase() -> None:
    def run(self: Runs, a: Tensor) -> Tensor:
        y = self.inner(a)
        y.register_hook(lambda grad: grad.view(-1, 99))
        return y * 2

    passes = passes_of(Runs(run, inner=nn.Linear(2, 2)), torch.ones(1, 2))
    assert not passes.backward
    assert passes.error == ForwardError("", "shape '[-1, 99]' is invalid for input of size 2", "backward")


def test_a_checkpoint_that_fails_the_second_time_names_the_module() -> None:
    calls = []

    def fails_later(self: Runs, a: Tensor) -> Tensor:
        calls.append(a)
        if len(calls) > 1:
            raise ValueError("not again")
        return a * 2

    def run(self: Runs, a: Tensor) -> Tensor:
        return torch.utils.checkpoint.checkpoint(self.inner, self.first(a), use_reentrant=True)

    passes = passes_of(Runs(run, first=nn.Linear(2, 2), inner=Runs(fails_later)), torch.ones(1, 2))
    assert passes.error == ForwardError("inner", "Runs got (1, 2) float32: not again", "backward")


@pytest.mark.parametrize("output", [None, "text", 3, []], ids=repr)
def test_an_output_without_tensors_fails_in_the_loss(output: object) -> None:
    error = passes_of(Runs(lambda self, a: output), torch.ones(1)).error
    assert error == ForwardError("", "the sum needs a floating-point output, got no tensor", "loss")


class Hostile(nn.Linear):
    """A module that raises at whatever it is asked, except to run."""

    def __repr__(self) -> str:
        raise RuntimeError("repr")

    def __getattr__(self, name: str) -> object:
        if name.startswith("in_"):
            raise KeyError(name)
        return super().__getattr__(name)

    def children(self) -> object:
        raise RuntimeError("children")

    def parameters(self, recurse: bool = True) -> object:
        raise RuntimeError("parameters")

    @property
    def __class__(self) -> type:
        raise RuntimeError("class")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    __hash__ = None


def test_a_hostile_module_runs_and_its_failure_is_told() -> None:
    net = nn.Sequential()
    net._modules["0"] = Hostile(2, 2)
    passes = passes_of(net, torch.ones(1, 2))
    assert passes.error is None
    assert [(layer.module, layer.type, layer.grad.rms) for layer in passes.layers()] == [("0", "Hostile", 1.0)]
    error = passes_of(net, torch.ones(1, 3)).error
    assert error is not None
    assert error.module == "0"
    assert error.message.startswith("Hostile got (1, 3) float32: mat1 and mat2")


def test_nothing_of_a_failed_forward_is_held() -> None:
    passes = passes_of(nn.Sequential(Runs(raising(SystemExit(0)))), torch.ones(1))
    assert passes.ledger is not None
    watch = passes.ledger._watch
    assert (watch.stack, watch.failed) == ([], None)
