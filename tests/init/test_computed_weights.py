"""Rules for weights that are computed: afterwards the layer computes what was drawn, by every means torch has."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from paraminspect.errors import UserError
from paraminspect.init.apply import apply_rules
from paraminspect.init.rules import BoundRule, bind_rules, option_rules
from tests.conftest import Ran

Build = Callable[[], nn.Linear]


def rules(*texts: str) -> tuple[BoundRule, ...]:
    return bind_rules(option_rules(None, None, texts), allow_code=True)


def quietly(build: Build) -> Build:
    def built() -> nn.Linear:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's older norms are deprecated, and still in use
            return build()

    return built


class Twice(nn.Module):
    """A parametrisation with an exact inverse."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2.0 * x

    def right_inverse(self, x: torch.Tensor) -> torch.Tensor:
        return x / 2.0


class Symmetric(nn.Module):
    """A parametrisation whose inverse keeps a part of what it is given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.triu() + x.triu(1).T

    def right_inverse(self, x: torch.Tensor) -> torch.Tensor:
        return x.triu()


class Narrow(Symmetric):
    """Gives another shape than the one it gave when it was registered."""

    registered = False

    def right_inverse(self, x: torch.Tensor) -> torch.Tensor:
        wanted = x[:1] if self.registered else x
        self.registered = True
        return wanted


class Broken(Symmetric):
    """Fails from the second time on: the first is when it is registered."""

    registered = False

    def right_inverse(self, x: torch.Tensor) -> torch.Tensor:
        if self.registered:
            raise ValueError("no such matrix")
        self.registered = True
        return x


class OneWay(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.exp()


def parametrised(*steps: nn.Module, layer: nn.Linear | None = None) -> nn.Linear:
    layer = layer or nn.Linear(6, 6)
    for step in steps:
        parametrize.register_parametrization(layer, "weight", step)
    return layer


EXACT = {
    "weight_norm": lambda: parametrizations.weight_norm(nn.Linear(6, 5)),
    "weight_norm of columns": lambda: parametrizations.weight_norm(nn.Linear(6, 5), dim=1),
    "weight_norm of all": lambda: parametrizations.weight_norm(nn.Linear(6, 5), dim=None),
    "older weight_norm": lambda: nn.utils.weight_norm(nn.Linear(6, 5)),
    "older weight_norm of all": lambda: nn.utils.weight_norm(nn.Linear(6, 5), dim=None),
    "own": lambda: parametrised(Twice()),
    "two steps": lambda: parametrised(Twice(), Twice(), layer=parametrizations.weight_norm(nn.Linear(6, 5))),
}


@pytest.mark.parametrize("build", EXACT.values(), ids=EXACT)
def test_the_layer_computes_what_was_drawn(build: Build) -> None:
    net = nn.Sequential(quietly(build)())
    parameters = {name: (parameter, parameter.data_ptr()) for name, parameter in net.named_parameters()}
    applied = apply_rules(net, rules("0.weight=normal:std=0.5", "0.bias=zeros"), seed=0)
    torch.manual_seed(1)
    apply_rules(net, rules("0.weight=normal:std=0.5"))
    torch.manual_seed(1)
    drawn = nn.init.normal_(torch.empty(net[0].weight.shape), std=0.5)
    assert torch.allclose(net[0].weight, drawn, rtol=1e-5, atol=1e-7)
    x = torch.randn(3, 6)
    y = net(x)
    assert torch.allclose(y, x @ drawn.T, rtol=1e-4, atol=1e-6)
    y.sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert {name: (p, p.data_ptr()) for name, p in net.named_parameters()} == parameters
    (weight,) = (one for key, one in applied.items() if key == id(one.target))
    assert (weight.init.expected_std, weight.moments and weight.moments.std) == (0.5, 0.5)


def test_what_it_is_stored_in_expects_nothing_and_says_for_what_it_is() -> None:
    net = nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 5)))
    applied = apply_rules(net, rules("*weight*=normal"))
    for name in ("original0", "original1"):
        found = applied[id(getattr(net[0].parametrizations.weight, name))]
        assert (found.moments, found.init.expected_std, found.init.fan_in) == (None, None, None)
        assert found.init.notes == ("set through '0.weight'",)


def test_a_rule_that_names_a_stored_one_alone_fills_it_as_it_is() -> None:
    net = nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 5)))
    stored = net[0].parametrizations.weight
    direction = stored.original1.detach().clone()
    found = apply_rules(net, rules("*.original0=ones"))[id(stored.original0)]
    assert found.init.notes == ("filled as it is: stored for '0.weight', which weight_norm computes",)
    assert (found.init.expected_mean, found.init.expected_std) == (1.0, 0.0)
    assert torch.equal(stored.original1, direction)
    assert torch.allclose(net[0].weight.norm(dim=1), torch.ones(5))


def test_a_weight_whose_parts_were_filled_after_it_is_not_judged() -> None:
    net = nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 5)))
    applied = apply_rules(net, rules("0.weight=normal", "*.original0=ones"))
    (weight,) = (one for key, one in applied.items() if key == id(one.target))
    assert weight.moments is None
    assert weight.init.notes == (
        "set through weight_norm",
        "*.original0=ones filled '0.parametrizations.weight.original0' after it",
    )


SPECTRAL = {
    "spectral_norm": lambda: parametrizations.spectral_norm(nn.Linear(6, 5)),
    "older spectral_norm": lambda: nn.utils.spectral_norm(nn.Linear(6, 5)),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("build", SPECTRAL.values(), ids=SPECTRAL)
def test_the_vectors_of_spectral_norm_follow(build: Build, training: bool) -> None:
    """Of a matrix with one large singular value the power method finds it: the weight has norm 1 in eval mode too."""
    torch.manual_seed(0)
    net = nn.Sequential(quietly(build)()).train(training)
    applied = apply_rules(net, rules("0.weight=constant:val=3"))
    modes = {module.training for module in net.modules()}
    assert modes == {training}
    assert torch.linalg.matrix_norm(net.eval()[0].weight, 2).item() == pytest.approx(1.0, abs=1e-5)
    assert torch.allclose(net(torch.ones(1, 6)) - net[0].bias, torch.full((1, 5), 6 / 30**0.5), rtol=1e-5)
    (weight,) = (one for key, one in applied.items() if key == id(one.target))
    assert weight.moments is None
    assert weight.init.notes == ("spectral_norm computes another weight of what was drawn: not judged",)


def test_an_orthogonal_parametrisation_stays_orthogonal_and_is_not_judged() -> None:
    net = nn.Sequential(parametrizations.orthogonal(nn.Linear(6, 6)))
    applied = apply_rules(net, rules("0.weight=normal"))
    assert torch.allclose(net[0].weight @ net[0].weight.T, torch.eye(6), atol=1e-5)
    (weight,) = (one for key, one in applied.items() if key == id(one.target))
    assert weight.init.notes == ("orthogonal computes another weight of what was drawn: not judged",)


def test_an_orthogonal_scheme_goes_through_it_exactly() -> None:
    net = nn.Sequential(parametrizations.orthogonal(nn.Linear(6, 6)))
    torch.manual_seed(2)
    applied = apply_rules(net, rules("0.weight=orthogonal"))
    torch.manual_seed(2)
    assert torch.allclose(net[0].weight, nn.init.orthogonal_(torch.empty(6, 6)), atol=1e-6)
    (weight,) = (one for key, one in applied.items() if key == id(one.target))
    assert weight.moments is not None


def test_a_pruned_weight_keeps_its_mask() -> None:
    layer = nn.Linear(6, 5)
    mask = torch.ones(5, 6)
    mask[:, 0] = 0
    prune.custom_from_mask(layer, "weight", mask)
    net = nn.Sequential(layer)
    torch.manual_seed(1)
    applied = apply_rules(net, rules("*weight*=uniform:a=1,b=2"))
    torch.manual_seed(1)
    drawn = nn.init.uniform_(torch.empty(5, 6), 1.0, 2.0)
    assert torch.equal(layer.weight_orig, drawn)
    assert torch.equal(layer.weight, drawn * mask)
    layer.weight.sum().backward()
    assert torch.equal(layer.weight_orig.grad, mask)
    (weight,) = (one for key, one in applied.items() if key == id(one.target))
    assert weight.init.expected_mean == pytest.approx(1.5 * 5 / 6)
    assert (weight.init.expected_low, weight.init.expected_high) == (0.0, 2.0)
    assert weight.init.notes == ("set under the mask of pruning, which keeps 16.7% at zero",)


def test_a_module_under_two_names_has_its_weight_filled_once() -> None:
    layer = parametrizations.weight_norm(nn.Linear(6, 6))
    net = nn.Sequential(layer, nn.ReLU(), layer)
    torch.manual_seed(1)
    apply_rules(net, rules("*.weight=normal"))
    torch.manual_seed(1)
    assert torch.allclose(layer.weight, torch.empty(6, 6).normal_(), atol=1e-6)


REFUSED = {
    "no inverse": (
        lambda: parametrised(OneWay()),
        "normal",
        "'0.weight' is computed by OneWay, which has no right_inverse",
        "name what is stored: '0.parametrizations.weight.original'; or leave it out of the rule",
    ),
    "no inverse of this kind": (
        lambda: parametrizations.orthogonal(nn.Linear(6, 6), use_trivialization=False, orthogonal_map="cayley"),
        "normal",
        "_Orthogonal.right_inverse for '0.weight' raised NotImplementedError: It is not possible to assign to the "
        "matrix exponential or the Cayley parametrizations when use_trivialization=False.",
        "name what is stored: '0.parametrizations.weight.original'",
    ),
    "an inverse that raises": (
        lambda: parametrised(Broken()),
        "normal",
        "Broken.right_inverse for '0.weight' raised ValueError: no such matrix",
        "name what is stored: '0.parametrizations.weight.original'",
    ),
    "an inverse of another shape": (
        lambda: parametrised(Narrow()),
        "normal",
        "the right_inverse for '0.weight' gives (1, 6), what is stored has (6, 6)",
        "name what is stored: '0.parametrizations.weight.original'",
    ),
    "a norm of zero": (
        EXACT["weight_norm"],
        "zeros",
        "weight_norm computes NaN or infinity from what zeros gave '0.weight'",
        "a norm of zero cannot be divided by; name what is stored: "
        "'0.parametrizations.weight.original0', '0.parametrizations.weight.original1'",
    ),
    "an older norm of zero": (
        EXACT["older weight_norm"],
        "zeros",
        "weight_norm computes NaN or infinity from what zeros gave '0.weight'",
        "a norm of zero cannot be divided by; name what is stored: '0.weight_g', '0.weight_v'",
    ),
    "a scheme that scales": (
        lambda: parametrizations.spectral_norm(nn.Linear(6, 5)),
        "lsuv",
        "lsuv scales weights, and spectral_norm fixes the size of '0.weight'",
        "name the others with --rule, and leave it out",
    ),
}


@pytest.mark.parametrize(("build", "scheme", "message", "hint"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_set_is_refused_with_the_reason(build: Build, scheme: str, message: str, hint: str) -> None:
    net = nn.Sequential(quietly(build)())
    with pytest.raises(UserError) as raised:
        apply_rules(net, rules(f"0.weight={scheme}"))
    assert (raised.value.message, raised.value.hint, raised.value.code) == (message, hint, "not-invertible")
    assert raised.value.where.startswith(("--rule", __file__))  # or where the inverse raised


MODELS = """
from torch import nn
from torch.nn.utils import parametrizations

def net():
    return nn.Sequential(parametrizations.weight_norm(nn.Linear(40, 30)), nn.Linear(30, 2))
"""


def test_the_report_has_a_row_for_the_computed_weight(run: Callable[..., Ran], tmp_path: Path) -> None:
    path = tmp_path / "models.py"
    path.write_text(MODELS)
    report = run("init", f"{path}:net", "--scheme", "normal:std=0.1", "--json").report
    rows = {row["name"]: row for row in report["parameters"]}
    assert [(row["name"], row["kind"]) for row in report["parameters"]] == [
        ("0.bias", "parameter"),
        ("0.weight", "computed"),
        ("0.parametrizations.weight.original0", "parameter"),
        ("0.parametrizations.weight.original1", "parameter"),
        ("1.weight", "parameter"),
        ("1.bias", "parameter"),
    ]
    assert rows["0.weight"]["values"]["std"] == pytest.approx(0.1, rel=0.1)
    assert rows["0.weight"]["before"]["max"] == pytest.approx(1 / 40**0.5, rel=0.05)
    assert {(v["where"], v["verdict"]) for v in report["verdicts"]} == {
        (name, f"{figure} as expected") for name in ("0.weight", "1.weight") for figure in ("mean", "std")
    }
    assert report["totals"]["parameters"] == 40 * 30 + 30 + 30 + 60 + 2
    layer = run("init", f"{path}:net", "--scheme", "normal:std=0.1", "--layer", "0", "--json").report
    assert [row["name"] for row in layer["parameters"] if row["kind"] == "computed"] == ["weight"]
    few = run("init", f"{path}:net", "--scheme", "normal:std=0.1", "--params", "0.weight", "--json").report
    assert [row["name"] for row in few["parameters"]] == ["0.weight"]
