"""Leaves that no optimizer sees, forwards that write to weights, gradients that got lost: against plain torch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm
from torch.utils.checkpoint import checkpoint

from paraminspect import inspect
from paraminspect.report import Parameter, Report
from tests.cases import each
from tests.conftest import Ran

X = torch.linspace(-1, 1, 10).reshape(2, 5)


def unregistered(model: nn.Module, *inputs: Any) -> dict[str, str]:
    """Return the notes of what no module registers, by name."""
    report = inspect(model, inputs or (X,))
    assert report.errors == ()
    return {row.name: row.note or "" for row in rows(report, "unregistered")}


def rows(report: Report, kind: str) -> list[Parameter]:
    return [row for row in report.parameters if row.kind == kind]


# --- leaves that are not in parameters() -------------------------------------------------------------------------


class Computed(nn.Module):
    def __init__(self, change: Callable[[nn.Parameter], Any]) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 5)
        self.w = change(nn.Parameter(torch.ones(5)))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * self.w


CHANGES: dict[str, tuple[Callable[[nn.Parameter], Tensor], str]] = {
    "float64": (lambda p: p.to(torch.float64), "to"),
    "half": (lambda p: p.half(), "to"),
    "scaled": (lambda p: p * 0.01, "mul"),
    "indexed": (lambda p: p[None], "unsqueeze"),
    "transposed": (lambda p: p.t(), "t"),
    "viewed": (lambda p: p.view(1, 5), "view"),
    "stacked": (lambda p: torch.cat([p[:2], p[2:]]), "cat"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_computed_from_a_parameter_when_the_model_is_built_is_no_parameter(name: str) -> None:
    change, op = CHANGES[name]
    model = Computed(change)
    assert [name for name, _ in model.named_parameters()] == ["layer.weight", "layer.bias"]  # plain torch
    (row,) = rows(inspect(model, X), "unregistered")
    assert (row.name, row.shape, row.requires_grad) == ("w", tuple(model.w.shape), True)
    assert row.note == (
        f"computed by {op} when the model was built, from a tensor that nothing registers: not in parameters(), so no "
        "optimizer sees it; register an nn.Parameter, and compute this in forward"
    )
    assert rows(inspect(model, forward=False), "unregistered") == [row]  # no forward is needed to see it


def test_the_graph_of_the_user_is_still_there_after_an_inspection() -> None:
    other = nn.Parameter(torch.full((5,), 2.0))
    model = Computed(lambda p: p * other)
    assert list(unregistered(model)) == ["w"]
    model(X).sum().backward()  # would raise, had the inspection freed what the product saved
    assert other.grad is not None


def test_a_plain_tensor_behind_an_attribute_is_found_by_the_graph() -> None:
    model = Computed(lambda p: torch.ones(5, requires_grad=True) * 3)
    assert list(unregistered(model)) == ["w"]


def test_what_is_computed_from_registered_parameters_is_quiet() -> None:
    model = Computed(lambda p: None)
    model.w = model.layer.bias * 2
    assert unregistered(model) == {}


class ClassHeld(nn.Module):
    scale = nn.Parameter(torch.ones(5))
    shared = nn.Linear(5, 5)
    table: ClassVar = {"rows": [torch.ones(5, requires_grad=True)]}

    def forward(self, x: Tensor) -> Tensor:
        return self.shared(x) * self.scale + self.table["rows"][0]


OUTSIDE = nn.Parameter(torch.ones(5))
HEAD = nn.Linear(5, 5)


def helper(x: Tensor) -> Tensor:
    return HEAD(x)


class Global(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return helper(x) * OUTSIDE


def closing() -> nn.Module:
    inner = nn.Parameter(torch.ones(5))

    class Closing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * inner

    return Closing()


def with_a_function() -> nn.Module:
    weight = nn.Parameter(torch.ones(5))
    model = nn.Sequential(nn.Identity())
    model[0].forward = lambda x: x * weight
    return model


def with_a_hook() -> nn.Module:
    weight = nn.Parameter(torch.ones(5))
    model = nn.Sequential(nn.Linear(5, 5))
    model[0].register_forward_hook(lambda module, args, output: output * weight)
    return model


END = "not in parameters(), so no optimizer sees it, and state_dict lacks it; set it on self in __init__"


@pytest.mark.parametrize(
    ("build", "wanted"),
    [
        (
            ClassHeld,
            {
                "scale": "an attribute of the class ClassHeld",
                "shared.weight": "an attribute of the class ClassHeld",
                "shared.bias": "an attribute of the class ClassHeld",
                "table['rows'][0]": "an attribute of the class ClassHeld",
            },
        ),
        (
            Global,
            {
                "forward.OUTSIDE": "a global variable read by Global.forward",
                "forward.helper.HEAD.weight": "a global variable read by helper",
                "forward.helper.HEAD.bias": "a global variable read by helper",
            },
        ),
        (closing, {"forward.inner": "in the closure of closing.<locals>.Closing.forward"}),
        (with_a_function, {"0.forward.weight": "in the closure of with_a_function.<locals>.<lambda>"}),
        (with_a_hook, {"0._forward_hooks.weight": "in the closure of with_a_hook.<locals>.<lambda>"}),
    ],
)
def test_what_hangs_on_a_class_or_a_function_is_named(build: Callable[[], nn.Module], wanted: dict[str, str]) -> None:
    model = nn.Sequential(nn.Linear(5, 5), build())
    names = {name for name, _ in model.named_parameters()}
    wanted = {f"1.{name}": f"{why}: {END}" for name, why in wanted.items()}
    assert not names & wanted.keys()  # plain torch
    assert unregistered(model) == wanted


class MadeInForward(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        scale = torch.ones(5, requires_grad=True)
        return nn.Linear(5, 5)(x) * scale


def test_a_layer_made_in_the_forward_is_named_by_its_use() -> None:
    model = nn.Sequential(nn.Linear(5, 5), MadeInForward())
    anew = "made anew in every forward: not in parameters(), so no optimizer sees it, and state_dict lacks it; "
    assert unregistered(model) == {
        "(linear in 1)": f"a Parameter {anew}make it in __init__, on self",
        "(linear in 1) 2": f"a Parameter {anew}make it in __init__, on self",
        "(mul in 1)": f"a tensor that requires grad {anew}make it in __init__, on self",
    }
    weight, *_ = rows(inspect(model, X, layer="1"), "unregistered")
    assert (weight.name, weight.shape) == ("(linear in 1)", (5, 5))
    assert rows(inspect(model, X, layer="0"), "unregistered") == []


class LazilyRegistered(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "late"):
            self.late = nn.Linear(5, 5)
        return self.late(x)


def test_what_the_forward_registers_is_registered() -> None:
    assert unregistered(LazilyRegistered()) == {}


def test_a_buffer_that_requires_grad_says_that_it_will_not_train() -> None:
    model = nn.Linear(5, 5)
    model.register_buffer("scale", torch.ones(5, requires_grad=True))
    model.register_buffer("mean", torch.ones(5))
    report = inspect(model, X)
    notes = {row.name: row.note for row in rows(report, "buffer")}
    why = "requires grad, but is a buffer: no optimizer sees it; use nn.Parameter"
    assert notes == {"scale": why, "mean": None}


# --- no false alarms -----------------------------------------------------------------------------------------------


class Deliberate(nn.Module):
    """What functional code does: leaves of activations, a gradient of its own, a strain for the stress."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Any:
        x = x.clone().requires_grad_()
        strain = torch.zeros(5, requires_grad=True)
        energy = self.layer(x + strain).square().sum()
        force, stress = torch.autograd.grad(energy, [x, strain], create_graph=True)
        first = self.layer.weight.detach().requires_grad_()
        return energy, force, stress, (x @ first.t())


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.layers, self.reentrant = nn.ModuleList(nn.Linear(5, 5) for _ in range(2)), reentrant

    def forward(self, x: Tensor) -> Tensor:
        h = self.layers[0](x)
        result: Tensor = checkpoint(self.layers[1], h, use_reentrant=self.reentrant)
        return result


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        weights = {name: parameter * 2 for name, parameter in self.layer.named_parameters()}
        result: Tensor = torch.func.functional_call(self.layer, weights, (x,))
        return result


def pruned() -> nn.Module:
    layer = nn.Linear(5, 5)
    prune.l1_unstructured(layer, "weight", 0.5)
    return layer


def parametrised() -> nn.Module:
    layer = nn.Linear(5, 5)
    parametrize.register_parametrization(layer, "weight", nn.Sequential(nn.Linear(5, 5), nn.Tanh()))
    return layer


QUIET: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(5, 5),
    "weight_norm": lambda: parametrizations.weight_norm(nn.Linear(5, 5)),
    "spectral_norm": lambda: parametrizations.spectral_norm(nn.Linear(5, 5)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(5, 5)),
    "old spectral_norm": lambda: spectral_norm(nn.Linear(5, 5)),
    "old weight_norm": lambda: weight_norm(nn.Linear(5, 5)),
    "parametrised": parametrised,
    "pruned": pruned,
    "data parallel": lambda: nn.DataParallel(nn.Linear(5, 5)),
    "deliberate": Deliberate,
    "checkpoint": lambda: Checkpointed(False),
    "reentrant checkpoint": lambda: Checkpointed(True),
    "functional": Functional,
    "lazy": lambda: nn.LazyLinear(5),
    "batch norm": lambda: nn.BatchNorm1d(5),
    "lstm": lambda: nn.LSTM(5, 4, 2),
}


@each("name", QUIET)
@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_what_is_in_order_raises_no_alarm(name: str) -> None:
    model = QUIET[name]()
    before = {key: copy.deepcopy(value) for key, value in model.state_dict().items()} if name != "lazy" else {}
    for x in (X, X.clone().requires_grad_(), (X * nn.Parameter(torch.ones(5)))):
        report = inspect(model, x)
        assert report.errors == ()
        assert rows(report, "unregistered") == []
        assert [note for note in report.notes if "wrote" in note] == []
        assert {row.gradient.cause for row in report.parameters if row.gradient} <= {None}
    for key, value in before.items():
        assert torch.equal(model.state_dict()[key], value)


# --- forwards that write to weights ----------------------------------------------------------------------------


class Writes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.frozen = nn.Linear(5, 5), nn.Linear(5, 5).requires_grad_(False)
        self.rows = nn.Embedding(7, 5, max_norm=0.5)

    def write(self) -> None:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        self.write()
        return self.frozen(self.layer(x)) + self.rows(torch.arange(2))


class Scales(Writes):
    def write(self) -> None:
        self.layer.weight.data.mul_(0.5)
        self.frozen.bias[1] = 3


class Swaps(Writes):
    def write(self) -> None:
        self.layer.weight.data = self.layer.weight.data + 1
        self.frozen.bias.data = self.frozen.bias.data + 0  # the same values


class Renews(Writes):
    def write(self) -> None:
        self.layer.bias = nn.Parameter(self.layer.bias.detach() * 2)


class Small(Writes):
    def write(self) -> None:
        with torch.no_grad():
            self.layer.weight.copy_(self.layer.weight)  # written, and nothing changed
        self.rows.weight.data.mul_(0.01)  # so that no row is renormalised


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (Scales, ["layer.weight", "frozen.bias", "rows.weight"]),
        (Swaps, ["layer.weight", "rows.weight"]),
        (Renews, ["layer.bias", "rows.weight"]),
        (Small, ["rows.weight"]),
    ],
)
def test_a_forward_that_writes_to_weights_is_told(kind: type[Writes], names: list[str]) -> None:
    model, changed = kind(), kind()
    before = dict(changed.named_parameters())
    kept = {name: parameter.detach().clone() for name, parameter in before.items()}
    changed(X)  # plain torch: what a forward leaves behind
    wanted = []
    for name, parameter in changed.named_parameters():
        change = (parameter.detach() - kept[name]).double()
        if change.any():
            new = "a new Parameter is in its place, " if parameter is not before[name] else ""
            count, rms = int((change != 0).sum()), change.square().mean().sqrt().item()
            wanted.append(
                f"the forward wrote to {name!r}: {new}{count} of {change.numel()} elements changed, by an rms of "
                f"{rms:.3g}; the gradients are those of the new values; the old ones are shown, and put back"
            )
    report = inspect(model, X)
    assert sorted(note for note in report.notes if "wrote" in note) == sorted(wanted)
    assert sorted(note.split("'")[1] for note in wanted) == sorted(names)
    assert all(torch.equal(parameter, kept[name]) for name, parameter in model.named_parameters())


# --- on the command line ---------------------------------------------------------------------------------------

LOST = """\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head, self.spare = nn.Linear(3, 3), nn.Linear(3, 2), nn.Linear(3, 3)

    def forward(self, x):
        return self.head(self.body(x).detach())

class Choice(Net):
    def forward(self, x):
        return self.head(self.body(x)).argmax(-1)
"""


@pytest.fixture
def lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lost.py").write_text(LOST, encoding="utf-8")


@pytest.mark.usefixtures("lost")
@pytest.mark.parametrize("command", ["show", "grad"])
def test_the_cause_stands_beside_the_status(run: Callable[..., Ran], command: str) -> None:
    ran = run(command, "lost.py:Net", "--input", "2,3", "--json")
    assert (ran.code, ran.err) == (0, "")
    causes = {row["name"]: row["gradient"]["cause"] for row in ran.report["parameters"]}
    detached = {"module": "", "op": "detach", "reason": "it detaches its result from the graph"}
    assert causes == dict.fromkeys(["body.weight", "body.bias"], detached) | dict.fromkeys(
        ["head.weight", "head.bias", "spare.weight", "spare.bias"]
    )


@pytest.mark.usefixtures("lost")
def test_a_loss_without_a_graph_says_where_it_was_lost(run: Callable[..., Ran]) -> None:
    ran = run("show", "lost.py:Choice", "--input", "2,3", "--json")
    assert ran.code == 2
    causes = {row["name"]: (row["gradient"]["cause"] or {}).get("op") for row in ran.report["parameters"]}
    assert causes["body.weight"] == causes["head.bias"] == "argmax"
    assert causes["spare.weight"] is None
