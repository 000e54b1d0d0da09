"""Each rule finds the model that is broken on purpose, and none finds anything in models that are fine."""

from __future__ import annotations

import math
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import paraminspect
from paraminspect.errors import UserError
from paraminspect.experiments.check import CheckRequest, check
from paraminspect.report import Checkpoint, Environment, Fault, Report, Source, Verdict
from paraminspect.rules.catalogue import RULES
from paraminspect.rules.file_rules import findings_of
from paraminspect.rules.headline import with_findings
from paraminspect.rules.rule import SEVERITIES
from paraminspect.rules.rule_selection import Selection
from tests.cases import each
from tests.rules.broken_models import BROKEN_MODELS, Branches, input_of
from tests.zoo import HEALTHY

BROKEN_ON_PURPOSE = {"hidden": ["PI102", "PI101"], "bare": ["PI301"], "with gradients": ["PI305"], "frozen": ["PI307"]}
"""Models of the zoo that are there for what is wrong with them, or half frozen."""


def found(module: nn.Module, inputs: Any, **options: Any) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about hooks and complex numbers
        return [finding.rule for finding in paraminspect.check(module, inputs, **options).findings]


@each("rule", BROKEN_MODELS)
def test_a_rule_finds_what_it_is_about(rule: str) -> None:
    torch.manual_seed(0)
    module = BROKEN_MODELS[rule]()
    options: dict[str, Any] = {"loss": "sum"} if rule == "PI306" else {}
    if not RULES[rule].on:
        assert rule not in found(module, input_of(module), **options)
        options["select"] = rule
    assert rule in found(module, input_of(module), **options)


def test_every_rule_on_models_has_a_broken_one() -> None:
    assert sorted([*BROKEN_MODELS, "PI206"]) == [rule for rule in RULES if rule[:3] not in ("PI0", "PI6")]


def test_values_off_their_scheme() -> None:
    off = Verdict("scheme", "std off", 0.5, 0.01, 0.001, "w", "std")
    report = Report("show", Source("module", "m"), Environment("", "", "", "cpu", "", 0), verdicts=(off,))
    assert [one.rule for one in with_findings(report).findings] == ["PI206"]
    assert not with_findings(report, Selection(thresholds={"PI206": 1000.0})).findings


@each("name", HEALTHY)
def test_nothing_is_found_in_what_is_fine(name: str) -> None:
    torch.manual_seed(0)
    specimen = HEALTHY[name]()
    keywords = {"left": specimen.args[0], **specimen.kwargs} if specimen.kwargs else specimen.args
    assert found(specimen.module, keywords) == BROKEN_ON_PURPOSE.get(name, [])


def _with(**buffers: torch.Tensor) -> nn.Module:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        self.table = x.detach()[0] * 2  # a cache: the same from the same input
        return self.layer(x) + self.table.sum()

    module = Branches(run, layer=nn.Linear(8, 2))
    for name, buffer in buffers.items():
        module.register_buffer(name, buffer, persistent=False)
    return module


def _norms_in_float32() -> nn.Module:
    """A norm in float32 inside a bfloat16 net, as they are kept for their sums."""
    module = Branches(lambda self, x: self.norm(self.a(x.bfloat16()).float()), a=nn.Linear(8, 8), norm=nn.LayerNorm(8))
    module.a.bfloat16()
    return module


def _biases_alone() -> nn.Module:
    module = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    for layer in (module[0], module[2]):
        layer.weight.requires_grad_(False)  # type: ignore[union-attr,operator]
    return module


def _adapter() -> nn.Module:
    """LoRA: a frozen layer, and two thin ones beside it of which the second starts at 0."""
    module = Branches(
        lambda self, x: self.base(x) + self.up(self.down(x)),
        base=nn.Linear(8, 8).requires_grad_(False),
        down=nn.Linear(8, 2, bias=False),
        up=nn.Linear(2, 8, bias=False),
    )
    nn.init.zeros_(module.up.weight)
    return module


def _siamese() -> nn.Module:
    return Branches(
        lambda self, x: self.norm(self.a(x)) - self.norm(self.a(x.flip(1))), norm=nn.BatchNorm1d(4), a=nn.Linear(8, 4)
    )


def _blur() -> nn.Module:
    conv = nn.Conv2d(4, 4, 3, groups=4)
    nn.init.constant_(conv.weight, 1 / 9)
    return nn.Sequential(nn.Unflatten(1, (1, 2, 4)), nn.Conv2d(1, 4, 1), nn.Upsample(size=(4, 4)), conv)


FINE = {
    "a cache in a buffer": lambda: _with(table=torch.zeros(8)),
    "norms in float32": _norms_in_float32,
    "biases alone": _biases_alone,
    "an adapter": _adapter,
    "a siamese BatchNorm": _siamese,
    "a depthwise average": _blur,
    "residual branches that start at 0": lambda: Branches(
        lambda self, x: self.head(x + self.branch(x)),
        branch=nn.Sequential(nn.Linear(8, 8), nn.GELU(), _zeroed(nn.Linear(8, 8))),
        head=nn.Linear(8, 2),
    ),
    "an image gain of ones": lambda: nn.Sequential(
        nn.Linear(8, 32), nn.Unflatten(1, (2, 4, 4)), nn.LayerNorm((2, 4, 4))
    ),
}


def _zeroed(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    return layer


@each("name", FINE)
@each("train", [True, False])
def test_what_is_meant_is_no_finding(name: str, train: bool) -> None:
    torch.manual_seed(0)
    assert found(FINE[name]().train(train), torch.randn(16, 8)) == []


def test_units_that_begin_with_the_same_weights() -> None:
    """Not the filters of a depthwise convolution, which see different inputs; nor without a third row that is alike."""
    layers = {
        "same": nn.Linear(8, 3),
        "two": nn.Linear(3, 3),
        "depth": nn.Conv1d(3, 3, 3, groups=3),
        "last": nn.GRU(1, 2),
    }

    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        small = self.two(self.same(x)).unsqueeze(-1).expand(-1, -1, 4)
        output, _ = self.last(self.depth(small).mean(2)[..., :1])
        return torch.as_tensor(output)

    module = Branches(run, **layers)
    with torch.no_grad():
        for weight, rows in ((layers["same"].weight, 3), (layers["two"].weight, 2), (layers["depth"].weight, 3)):
            weight[:rows] = weight[:1].clone()  # type: ignore[index, operator]
        layers["last"].weight_hh_l0[:] = torch.tensor([0.1, 0.2])  # type: ignore[index, operator]
    for forward in (True, False):
        findings = paraminspect.check(module, torch.randn(16, 8), forward=forward).findings
        assert [(one.rule, one.names) for one in findings] == [("PI205", ("same.weight", "last.weight_hh_l0"))]


def test_infinite_running_statistics_are_no_mask() -> None:
    norm = nn.BatchNorm1d(8).eval()
    norm.running_var[0] = math.inf  # type: ignore[index]
    norm.register_buffer("mask", torch.full((8,), -math.inf))
    findings = paraminspect.check(nn.Sequential(nn.Linear(8, 8), norm), torch.randn(16, 8)).findings
    assert [(one.rule, one.names) for one in findings] == [("PI201", ("1.running_var",))]


def test_a_plain_tensor_that_is_written_to_is_state_that_is_not_saved() -> None:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        self.seen += len(x)
        self.hidden = self.hidden + x.detach().mean(0)  # handed on to the next call: meant
        return self.layer(x) + self.hidden[:2]

    module = Branches(run, layer=nn.Linear(8, 2), seen=torch.zeros(()), hidden=torch.zeros(8))
    findings = paraminspect.check(module, torch.randn(16, 8)).findings
    assert [(one.rule, one.names) for one in findings] == [("PI104", ("seen",))]
    assert float(module.seen) == 0  # type: ignore[arg-type]
    assert found(module.eval(), torch.randn(16, 8)) == []


class DropPath(nn.Module):
    """Stochastic depth that has dropped the branch of every sample."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 0


def _picked_from(train: bool) -> nn.Module:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.levels[0](x) + 100, self.levels[1](x)]).amax(0)

    return Branches(run, levels=nn.ModuleList([nn.Linear(8, 2), nn.Linear(8, 2)])).train(train)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (BROKEN_MODELS["PI302"]().eval(), ["PI308"]),  # a detector ends in what has no gradient
        (BROKEN_MODELS["PI303"]().eval(), ["PI308"]),
        (BROKEN_MODELS["PI301"]().eval(), ["PI308"]),
        (_picked_from(train=True), ["PI308"]),
        (
            Branches(
                lambda self, x: self.head(x + self.drop(self.a(x))),
                drop=DropPath(),
                a=nn.Linear(8, 8),
                head=nn.Linear(8, 2),
            ),
            [],
        ),
    ],
)
def test_what_inference_or_chance_explains_is_no_finding_unless_asked_for(
    module: nn.Module, expected: list[str]
) -> None:
    x = torch.randn(16, 8)
    assert found(module, x) == []
    assert [one.rule for one in paraminspect.check(module, x, select=["PI3", "PI308"]).findings] == expected


class Backbone(nn.Module):
    """A part that returns its features beside the norm of the last, as a vision transformer does for a dense head."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.layer(x)
        return features, self.norm(features)


@pytest.mark.parametrize(("dropped", "rule"), [(False, "PI308"), (True, "PI302")])
def test_what_a_part_returns_beside_others_may_be_left(dropped: bool, rule: str) -> None:
    """What a forward computes and drops itself is a mistake."""

    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        features, _ = self.backbone(x)
        if dropped:
            self.spare(features)
        return torch.as_tensor(self.head(features))

    spare = {"spare": nn.Linear(8, 2)} if dropped else {}
    module, x = Branches(run, backbone=Backbone(), head=nn.Linear(8, 2), **spare), torch.randn(16, 8)
    assert found(module, x) == (["PI302"] if dropped else [])
    findings = paraminspect.check(module, x, select=["PI302", "PI308"]).findings
    names = {one.rule: one.names for one in findings}
    assert names["PI308"] == ("backbone.norm.weight", "backbone.norm.bias")
    assert names.get("PI302", ()) == (("spare.weight", "spare.bias") if dropped else ())
    assert rule in names


class ForAnotherInput(nn.Module):
    """A part that the forward reads with an input that this run does not give, beside one that no code reads."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.masked, self.forgotten = nn.Linear(8, 2), nn.Linear(8, 2), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        return self.layer(x) if mask is None else self.masked(x * mask)


def test_what_another_input_reads_is_a_rule_of_its_own() -> None:
    x = torch.randn(16, 8)
    unused = ("PI301", ("forgotten.weight", "forgotten.bias"))
    findings = paraminspect.check(ForAnotherInput(), x, select=["PI3", "PI308"]).findings
    assert [(one.rule, one.names) for one in findings] == [unused, ("PI308", ("masked.weight", "masked.bias"))]
    assert [(one.rule, one.names) for one in paraminspect.check(ForAnotherInput(), x).findings] == [unused]


# --- files -----------------------------------------------------------------------------------------------------


def test_every_fault_of_a_file_is_a_rule() -> None:
    """Also those that the readers name: a word that is no rule's would be told as another."""
    rules = [rule for rule in RULES.values() if rule.id.startswith("PI6")]
    faults = [Fault(rule.name, rule.severity, "f", rule.finds) for rule in rules]
    findings = findings_of(Checkpoint("safetensors", "f", (), (), (), faults=tuple(faults)))
    assert [finding.rule for finding in findings] == [rule.id for rule in rules]
    assert all(finding.names == ("f",) and finding.severity in SEVERITIES for finding in findings)
    names = {rule.name for rule in rules}
    readers = Path(paraminspect.__file__).parent.joinpath("sources", "checkpoint").glob("*.py")
    told = {word for file in readers for word in re.findall(r'Fault\(\s*"([a-z-]+)"', file.read_text(encoding="utf-8"))}
    assert len(told) > 20 and told <= names


def test_a_damaged_file_is_a_finding_and_what_is_none_is_an_error(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    whole, cut, other = (tmp_path / f"{name}.safetensors" for name in ("whole", "cut", "other"))
    save_file({"w": torch.full((4, 4), torch.nan), "z": torch.zeros(4, 4)}, whole)
    cut.write_bytes(whole.read_bytes()[:-80])
    other.write_bytes(b"hello")
    report = check(str(whole), CheckRequest()).report
    assert [(one.rule, one.names) for one in report.findings] == [("PI633", ("w",))]
    report = check(str(cut), CheckRequest(Selection(ignore=("PI633",)))).report
    assert [(one.rule, bool(one.hint)) for one in report.findings] == [("PI601", True)]
    assert report.errors == ()
    with pytest.raises(UserError, match="too short"):
        check(str(other), CheckRequest())
