"""The first line: the one problem that matters most on nets that are broken, and nothing on nets that are not."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paraminspect.api import summary
from paraminspect.experiments.grad import grad
from paraminspect.experiments.selection import Request
from paraminspect.experiments.show import show
from paraminspect.modules.declared_ties import declared_ties
from paraminspect.modules.subject import Batch, Loss, Subject
from paraminspect.page.parts import in_words
from paraminspect.report import Report, Source
from paraminspect.sources.examples import batch_of
from tests.analysis.signal.networks import BROKEN, HEALTHY, input_of
from tests.cases import each

ROWS, IDS, MORE = (4, 8), "ids", (32, 64)


class Parts(nn.Module):
    """Two layers in use, one that is not, and a list."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.extra = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).relu())


class Routed(Parts):
    """Uses one of the list."""

    def forward(self, x: Tensor) -> Tensor:
        return self.experts[1](self.extra(super().forward(x)))


class Detached(Routed):
    """Loses the graph, and leaves out experts."""

    def forward(self, x: Tensor) -> Tensor:
        return self.extra(super().forward(x).detach())


class OfNumpy(Routed):
    """Returns what has no graph at all."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor(super().forward(x).detach().numpy())


class Misshapen(Parts):
    """Hands on what the next layer does not take."""

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x)[:, :3])


class Roots(nn.Module):
    """Has an infinite slope at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(8, 8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sqrt(self.a(x * 0))


class Listed(nn.Module):
    """Keeps its layers in a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.head = [nn.Linear(8, 8) for _ in range(6)], nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


class Tied(nn.Module):
    """An embedding and a head; `how` makes the head's weight of the embedding's."""

    _tied_weights_keys = ("head.weight",)

    def __init__(self, how: Callable[[nn.Parameter], nn.Parameter], declared: bool = False) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(8, 4), nn.Linear(4, 8, bias=False)
        self.head.weight = how(self.embedding.weight)
        self._tied_weights_keys = ("head.weight",) if declared else ()  # type: ignore[assignment]  # as transformers

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.head(self.embedding(ids))
        return logits


class Adapted(nn.Module):
    """A frozen layer with an adapter of low rank that begins as 0 (LoRA)."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.down, self.up = nn.Linear(8, 8), nn.Linear(8, 2, bias=False), nn.Linear(2, 8, bias=False)
        self.base.requires_grad_(False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        sum_: Tensor = self.base(x) + self.up(self.down(x))
        return sum_


class Masked(nn.Module):
    """Attention with a mask of -inf in a buffer, and a residual branch whose last norm begins as 0."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.first, self.norm, self.head = nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 4)
        nn.init.zeros_(self.norm.weight)
        self.register_buffer("mask", torch.full((4, 4), float("-inf")).triu(1))

    def forward(self, x: Tensor) -> Tensor:
        x = x[None]
        x = x + self.attention(x, x, x, attn_mask=self.mask, need_weights=False)[0]
        return self.head(x + self.norm(self.first(x)))


def dense(change: Callable[[nn.Sequential], Any] = lambda _: None, activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    layers = [one for _ in range(3) for one in (nn.Linear(64, 64), activation())]
    module = nn.Sequential(*layers, nn.Linear(64, 4))
    with torch.no_grad():
        change(module)
    return module


def every(fill: Callable[[Tensor], Any]) -> Callable[[nn.Sequential], Any]:
    return lambda module: [fill(parameter) for parameter in module.parameters()]


FORGOTTEN = "layers is not in model.parameters(): no optimizer will train it"
GRADIENT = "values, gradients and sharing"
NETS: dict[str, tuple[Callable[[], nn.Module], Any, str, str]] = {
    "unused": (Parts, ROWS, "unused", "problem: no gradient reaches extra and experts: the forward never reads them"),
    "router": (
        Routed,
        ROWS,
        "unused",
        "note: no gradient reached experts.{0,2,3}: the forward read only others of the same list",
    ),
    "detach": (Detached, ROWS, "disconnected", "it is lost at detach in the model itself"),
    "numpy": (OfNumpy, ROWS, "disconnected", "problem: no parameter gets a gradient: it is lost at"),
    "misshapen": (Misshapen, ROWS, "failed", "problem: the forward failed in b: Linear expects"),
    "roots": (Roots, ROWS, "nonfinite", "problem: the gradient of a.weight has NaN or infinite elements"),
    "list": (Listed, ROWS, "forgotten", f"problem: {FORGOTTEN}"),
    "half a tie": (
        lambda: Tied(lambda weight: nn.Parameter(weight.data)),
        IDS,
        "overlap",
        "problem: embedding.weight and head.weight share memory but are different Parameters",
    ),
    "broken tie": (
        lambda: Tied(lambda weight: nn.Parameter(weight.data.clone()), declared=True),
        IDS,
        "tie",
        "problem: embedding.weight and head.weight are declared as tied, but are not one Parameter",
    ),
    "copied tie": (
        lambda: Tied(lambda weight: nn.Parameter(weight.data.clone())),
        IDS,
        "tie",
        "note: embedding.weight and head.weight have the same values but are different Parameters: a copy, no tie",
    ),
    "copies of a layer": (
        lambda: nn.Sequential(*(copy.deepcopy(module) for module in [nn.Linear(8, 8)] for _ in range(2))),
        ROWS,
        "none",
        "no problem found in ",
    ),
    "nan": (
        lambda: dense(lambda net: net[2].weight[0, 0].fill_(torch.nan)),
        MORE,
        "nonfinite",
        "problem: 2.weight has NaN or infinite values, before anything was run",
    ),
    "empty": (
        lambda: dense(lambda net: net[2].weight.fill_(3e35)),
        MORE,
        "uninitialised",
        "problem: 2.weight holds values of a size that no weights have",
    ),
    "zeros": (lambda: dense(every(nn.init.zeros_)), MORE, "zero", "problem: all weights are 0, so none of them gets"),
    "frozen": (lambda: dense().requires_grad_(False), MORE, "frozen", "note: every parameter is frozen"),
    "softmax": (lambda: nn.Sequential(nn.Linear(8, 8), nn.Softmax(-1)), ROWS, "zero", "note: the loss is the same"),
    "true tie": (lambda: Tied(lambda weight: weight), IDS, "none", "no problem found in "),
    "adapter": (Adapted, ROWS, "none", "no problem found in "),
    "mask, zero norm": (Masked, ROWS, "none", "no problem found in "),
    "nothing in it": (nn.ReLU, ROWS, "none", "no problem found in what was read; there are no parameters"),
    "recurrent": (lambda: nn.LSTM(8, 8), (3, 2, 8), "none", "no problem found in "),
    "classifier": (dense, MORE, "none", "no problem found in "),
}
IN_SIGNAL: dict[str, tuple[Callable[[], nn.Module], str, str]] = {
    "constant": (
        lambda: dense(every(lambda weight: nn.init.constant_(weight, 0.01))),
        "symmetric",
        "will learn the same",
    ),
    "dead": (lambda: dense(lambda net: net[2].bias.fill_(-10)), "dead", "gradients become exactly 0"),
    "flat": (lambda: dense(lambda net: net[2].weight.mul_(1e3), nn.Tanh), "saturated", "the slope is next to 0 in 2"),
}
"""What only `grad` sees."""


def inspected(command: str, module: nn.Module, given: Any, params: tuple[str, ...] = ()) -> Report:
    if not isinstance(given, Tensor):
        given = torch.randint(0, 8, (2, 4)) if given == IDS else torch.rand(given)
    batch = batch_of((given,))

    def made() -> Batch:
        return batch

    source = Source("module", "net.py:Net")
    subject = Subject(module, source, 0, made, "", Loss("sum"), ties=declared_ties(module))
    if command == "grad":
        return grad(subject, Request("grad"), (), lambda _: subject)
    return show(subject, Request("show", params=params))


@each("command", ["show", "grad"])
@each("name", NETS)
def test_the_first_line(name: str, command: str) -> None:
    torch.manual_seed(0)
    build, given, about, text = NETS[name]
    found = inspected(command, build(), given).headline
    assert found is not None
    assert found.about == about
    assert text in in_words(found)
    assert (found.tone == "fine") is (about == "none")


def test_of_some_rows_nothing_is_said_of_every_one() -> None:
    for name in NETS:
        torch.manual_seed(0)
        build, given, _, _ = NETS[name]
        module = build()
        for parameter, _ in module.named_parameters():
            found = inspected("show", module, given, (parameter,))
            if found.totals.shown < found.totals.parameters and found.headline:
                said = in_words(found.headline)
                assert not re.search("every|no parameter|all weights are|no weight gets|whatever", said), (
                    name,
                    parameter,
                )


@pytest.mark.parametrize("name", IN_SIGNAL)
def test_the_first_line_on_the_signal(name: str) -> None:
    torch.manual_seed(0)
    build, about, text = IN_SIGNAL[name]
    found = inspected("grad", build(), MORE).headline
    assert found is not None
    assert (found.about, text in found.text) == (about, True)


def test_networks_that_train_and_networks_that_do_not() -> None:
    """What `grad` has a verdict on is its first line; `show` never calls a network broken that trains."""
    cases = [(name, case) for name, case in {**HEALTHY, **BROKEN}.items() if "100" not in name]  # these take longest
    for number, (name, case) in enumerate(cases):
        torch.manual_seed(0)
        module, given = case.build(), input_of(case)
        found = inspected("show" if number % 3 else "grad", module, given).headline
        assert found is not None
        right = {*case.forward, *case.backward} - {"steady", "unknown"} or {"none"}
        assert found.about in ({*right, "none"} if number % 3 else right), name


class Spare(Parts):
    """Holds modules that it does not call: one with parameters, one in a list, one without any."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout()


class Borrowed(nn.Module):
    """Reads the parameters of a module that it does not call."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(self.a(x), self.b.weight, self.b.bias)


class InAList(nn.Module):
    """Forgets its layers in a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.layers = nn.Linear(8, 8), [nn.Linear(8, 8)]

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[0](self.a(x))


class OnValues(nn.Linear):
    """Asks for a number, which meta tensors do not have."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y if y.sum().item() > 0 else -y


FINE = "no problem found in the forward and the backward"


@pytest.mark.parametrize(
    ("model", "tone", "text", "hint"),
    [
        (Spare(), "note", "note: the forward never called extra and experts", ""),
        (Spare().eval(), "note", "note: the forward never called extra and experts", "where it is for training alone: --train"),
        (Borrowed(), "fine", FINE, ""),
        (nn.Sequential(nn.Linear(8, 8), nn.Dropout(), nn.Identity()), "fine", FINE, ""),
        (InAList(), "error", "problem: layers is not in model.parameters(): no optimizer will train it", None),
        (nn.Linear(5, 5), "error", "problem: the forward failed: ", None),
        (OnValues(8, 8, device="meta"), "error", "problem: the forward failed: ", "--device cpu: tensors have values there"),
    ],
)  # fmt: skip
def test_the_first_line_of_summary(model: nn.Module, tone: str, text: str, hint: str | None) -> None:
    """An uncalled module is a note at most, and nothing where another module reads what it holds."""
    device = next(model.parameters()).device
    report = summary(model, torch.zeros(4, 8, device=device))
    assert report.headline is not None and report.headline.tone == tone
    said = in_words(report.headline)
    assert said.startswith(text) if text.endswith(": ") else said == text
    assert hint is None or report.headline.hint == hint
