"""Schemes side by side: what every trial measured, which scheme is steadiest, what fails and what then still stands."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from paraminspect.errors import UserError
from paraminspect.experiments.compare import compare
from paraminspect.experiments.contenders import Contender, Size
from paraminspect.experiments.coordinate_check import slopes_of
from paraminspect.experiments.ranking import steadiest, trial_of, verdicts_of
from paraminspect.init.rules import bind_rules, option_rules
from paraminspect.modules.subject import Batch, Given, Loss, Subject
from paraminspect.report import (
    Course,
    Report,
    Signal,
    SignalExpected,
    SignalLayer,
    SignalMoments,
    Slope,
    Source,
    Trial,
    Verdict,
)
from paraminspect.sources.sequential import load
from paraminspect.spec.parse import parse_spec
from tests.cases import each

WIDTH, BATCH, DEPTH = 128, 64, 20


def contender(scheme: str, *rules: str) -> Contender:
    found = option_rules(None if scheme == "default" else scheme, None, rules)
    return Contender(scheme, bind_rules(found, allow_code=True))


def from_spec(text: str) -> Size:
    spec = parse_spec(text, "s.yaml")
    return Size(lambda later: load(replace(spec, seed=spec.seed + later)))


def deep(activation: str, width: int = WIDTH, out: int = 10, loss: str = "sum") -> str:
    sizes = [width] * (DEPTH + 1) + [out]
    return (
        f"{{layers: [MLP: {{sizes: {sizes}, activation: {activation}}}], "
        f"input: {{shape: [{BATCH}, {width}], sample: normal}}, loss: {loss}}}"
    )


def unbiased(scheme: str) -> Contender:
    return contender(scheme, "*.bias=zeros")


def trials(report: Report) -> dict[str, Trial]:
    assert report.comparison is not None
    return {trial.scheme: trial for trial in report.comparison.trials}


# --- the truth ---------------------------------------------------------------------------------------------------

SCHEMES = ("default", "xavier_normal", "kaiming_normal:nonlinearity=relu", "normal:std=0.01", "normal:std=1")


@pytest.fixture(scope="module")
def relu() -> Report:
    return compare([unbiased(scheme) for scheme in SCHEMES], [from_spec(deep("ReLU", loss="cross_entropy"))], 3)


FACTORS = {
    "default": 1 / 6,
    "xavier_normal": 1 / 2,
    "kaiming_normal:nonlinearity=relu": 1.0,
    "normal:std=0.01": WIDTH * 1e-4 / 2,
    "normal:std=1": WIDTH / 2,
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_factors_of_a_relu_net_are_those_of_the_theory(scheme: str, relu: Report) -> None:
    """The measured ones within the tolerance of He's net, and every verdict with them."""
    found = trials(relu)[scheme].signal
    assert found is not None
    factor = FACTORS[scheme]
    verdict = "steady" if factor == 1 else "vanishing" if factor < 1 else "exploding"
    tolerance = 4 * math.sqrt(5 / (WIDTH * DEPTH * 3))
    for course in (found.forward, found.backward):
        assert course.factor is not None and course.expected is not None
        assert abs(math.log(course.factor / factor)) < tolerance
        assert course.expected == pytest.approx(factor, rel=0.03)
        assert course.verdict == verdict


def test_he_is_the_steadiest(relu: Report) -> None:
    assert relu.comparison is not None
    assert relu.comparison.steadiest == "kaiming_normal:nonlinearity=relu"
    reason = relu.comparison.reason or ""
    assert reason.startswith("steady (")
    assert "; next is " in reason and "vanishing" in reason


def test_the_report_says_what_was_compared(relu: Report) -> None:
    assert relu.command == "compare"
    assert (relu.source.kind, relu.source.name, relu.environment.seed) == ("spec", "s", 0)
    assert relu.model is not None and relu.model.type == "Sequential"
    assert (
        relu.totals.parameters == sum(row.numel or 0 for row in relu.parameters) == DEPTH * (WIDTH + 1) * WIDTH + 1290
    )
    assert relu.forward is not None
    assert (relu.forward.input[0].shape, relu.forward.input[0].sample) == ((BATCH, WIDTH), "normal")
    assert relu.forward.loss_name == "cross_entropy"
    assert relu.errors == ()


def test_every_trial_has_a_verdict_in_each_direction(relu: Report) -> None:
    assert [(one.about, one.where) for one in relu.verdicts] == [
        (about, scheme) for scheme in SCHEMES for about in ("forward", "backward")
    ]
    for one, trial in zip(relu.verdicts, [t for t in trials(relu).values() for _ in range(2)], strict=True):
        assert trial.signal is not None
        course: Course = getattr(trial.signal, one.about)
        assert (one.verdict, one.measured, one.expected) == (course.verdict, course.factor, course.expected)
        assert course.high is not None and one.tolerance == course.high - 1


def test_on_a_deep_tanh_net_critical_is_steadiest() -> None:
    biased = "*.bias=critical:nonlinearity=tanh,sigma_b2=0.05"
    rivals = ("default", "xavier_normal:gain=1.6666666666666667", "normal:std=1", "critical:sigma_b2=0.05")
    found = compare([contender(scheme, biased) for scheme in rivals], [from_spec(deep("Tanh"))], 3)
    assert found.comparison is not None and found.comparison.steadiest == "critical:sigma_b2=0.05"
    course = {name: trial.signal.backward.verdict for name, trial in trials(found).items() if trial.signal}
    assert [*course.values()] == ["vanishing", "steady", "exploding", "steady"]  # gain 5/3: 3.8 in rms over 20 layers


# --- the figures, against torch by hand --------------------------------------------------------------------------


def by_hand(initialise: Callable[[nn.Module], object] | None, seed: int) -> dict[str, float]:
    """Seed, build, draw the input, initialise, run, send a random cotangent back."""
    torch.manual_seed(seed)
    linears = [nn.Linear(WIDTH, WIDTH if at < DEPTH else 10) for at in range(DEPTH + 1)]
    x = torch.randn(BATCH, WIDTH)
    pre, hidden = [], x
    for linear in linears:
        if initialise is not None:
            initialise(linear.weight)
    for linear in linears:
        nn.init.zeros_(linear.bias)
    for linear in linears:
        pre.append(linear(hidden))
        pre[-1].retain_grad()
        hidden = torch.relu(pre[-1])
    cotangent = torch.randn(BATCH, 10)
    targets = torch.arange(BATCH) % 10
    loss = functional.cross_entropy(pre[-1], targets).item()
    (pre[-1] * cotangent / cotangent.norm()).sum().backward()
    rms = [one.grad.double().square().mean().sqrt().item() for one in pre if one.grad is not None]
    dead = [(one <= 0).all(0).double().mean().item() for one in pre[:-1]]
    return {
        "q_last": pre[-1].detach().double().square().mean().item(),
        "first": rms[0],
        "last": rms[-1],
        "dead": sum(dead) / len(dead),
        "loss": loss,
    }


BY_HAND: dict[str, Callable[[nn.Module], object] | None] = {
    "default": None,
    "xavier_normal": nn.init.xavier_normal_,
    "normal:std=0.1": lambda weight: nn.init.normal_(weight, std=0.1),
}


@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize("scheme", BY_HAND)
def test_a_trial_is_the_run_that_a_script_makes(scheme: str, seed: int) -> None:
    size = from_spec(deep("ReLU", loss="cross_entropy").replace("{layers", f"{{seed: {seed}, layers", 1))
    found = trials(compare([unbiased("orthogonal"), unbiased(scheme)], [size], 1))[scheme]
    wanted = by_hand(BY_HAND[scheme], seed)
    assert found.q_last == pytest.approx(wanted["q_last"], rel=1e-5)
    assert found.gradient_ratio == pytest.approx(wanted["first"] / wanted["last"] * math.sqrt(WIDTH / 10), rel=1e-5)
    assert found.dead == pytest.approx(wanted["dead"], abs=1e-12)
    assert found.loss == pytest.approx(wanted["loss"], rel=1e-5)
    assert found.expected_loss == pytest.approx(math.log(10))
    assert found.saturated is None and found.error is None


def test_the_loss_is_the_mean_over_the_seeds_and_has_no_expectation_but_a_classifiers() -> None:
    found = trials(compare([unbiased("default")], [from_spec(deep("ReLU", loss="cross_entropy"))], 3))["default"]
    assert found.loss == pytest.approx(sum(by_hand(None, seed)["loss"] for seed in range(3)) / 3, rel=1e-5)
    other = trials(compare([unbiased("default")], [from_spec(deep("ReLU", loss="mse"))], 1))["default"]
    assert other.expected_loss is None and other.loss is not None


class Seen(nn.Module):
    """A model that shows somebody its input."""

    def __init__(self, show: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.show = show

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.show(x.detach().clone())
        return self.layer(x)


def of_module(build: Callable[[], nn.Module], shape: tuple[int, ...] = (4, 8), **changes: object) -> Size:
    """Make a subject of the user's, as --seed 0 --input with that shape and torch.randn would."""

    def rebuild(later: int) -> Subject:
        torch.manual_seed(later)
        told: dict[str, object] = {"make_input": lambda: Batch((Given(torch.randn(shape)),)), "foreign": True}
        return Subject(build(), Source("module", "m.py:net"), later, **(told | changes))

    return Size(rebuild)


def test_all_schemes_see_the_same_input() -> None:
    seen: list[torch.Tensor] = []
    size = of_module(lambda: Seen(seen.append))
    compare([contender(name) for name in ("default", "normal", "orthogonal")], [size], 2)
    assert not torch.equal(seen[0], seen[1]) and len(seen) == 6
    assert all(torch.equal(found, wanted) for found, wanted in zip(seen, seen[:2] * 3, strict=True))


def test_rules_for_all_come_after_the_scheme() -> None:
    """A rule that sets every weight to the same number leaves the schemes nothing to differ in."""
    size = from_spec(deep("ReLU"))
    names = ("default", "normal", "kaiming_normal")
    found = trials(compare([contender(name, "*.weight=constant:val=0.01") for name in names], [size], 1))
    assert len({trial.q_last for trial in found.values()}) == 1


# --- a model of the user's ---------------------------------------------------------------------------------------

ONE_MODULE = "the model is built already: only the input, and what a rule draws, differ from seed to seed"


def test_a_module_that_is_built_already_keeps_its_values() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8))
    net[3].weight = net[0].weight
    net[3].bias.grad = torch.ones(8)
    net.eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    schemes = [contender("normal"), contender("zeros"), contender("default")]
    report = compare(schemes, [of_module(lambda: net)], 3)
    after = net.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[name], before[name]) for name in before)
    assert net[3].weight is net[0].weight and net[0].weight.grad is None and not net.training
    assert torch.equal(net[3].bias.grad, torch.ones(8))
    assert report.notes.count(ONE_MODULE) == 1
    again = compare([contender("default")], [of_module(lambda: net)], 3)
    assert trials(again)["default"] == trials(report)["default"]


def test_parameters_over_one_memory_are_put_back() -> None:
    base = torch.arange(64.0).reshape(8, 8)
    net = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 4, bias=False))
    net[0].weight, net[1].weight = nn.Parameter(base), nn.Parameter(base[:4])
    compare([contender("normal")], [of_module(lambda: net)], 2)
    assert torch.equal(base, torch.arange(64.0).reshape(8, 8))


def test_a_module_that_is_built_anew_has_no_note() -> None:
    report = compare([contender("normal")], [of_module(lambda: nn.Linear(8, 8))], 2)
    assert report.notes == () and report.source.kind == "module"


def test_the_gains_of_norms_stay_as_built() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 8))

    report = compare([contender("default"), contender("xavier_normal"), contender("zeros")], [of_module(build)], 1)
    assert report.errors == ()
    left = "the schemes leave 1 gain of a normalisation layer (1.weight) as built; --rule '1.weight=SCHEME' reaches one"
    assert report.notes == (left,)
    assert trials(report)["xavier_normal"].signal is not None


def test_a_model_of_nothing_but_vectors_is_told_so() -> None:
    report = compare([contender("xavier_normal"), contender("ones")], [of_module(lambda: nn.LayerNorm(8))], 1)
    (failure,) = report.errors  # of both
    assert (failure.code, failure.where) == ("glob-matches-nothing", "--scheme")
    assert trials(report)["ones"].error == failure.message
    assert failure.message == (
        "no parameter is a weight that mixes inputs; there is 1 gain of a normalisation layer (weight); "
        "--rule 'weight=SCHEME' reaches one"
    )


# --- what fails --------------------------------------------------------------------------------------------------


def test_a_scheme_that_cannot_fill_the_model_fails_alone() -> None:
    text = "{layers: [Conv1d: [3, 4, 1], Flatten, Linear: [20, 2]], input: [2, 3, 5]}"
    report = compare([contender(name) for name in ("eye", "xavier_normal", "dirac")], [from_spec(text)], 2)
    found = trials(report)
    assert found["eye"].error == (
        "eye needs 2 dimensions; parameter '0.weight' has shape (4, 3, 1); "
        "restrict the rule to matrices; dirac is the identity of a convolution, e.g. --rule '2.weight=eye'"
    )
    assert found["dirac"].error == (
        "dirac needs 3 to 5 dimensions; parameter '2.weight' has shape (2, 20); "
        "restrict the rule to convolutions; eye is the identity of a matrix, e.g. --rule '0.weight=dirac'"
    )
    assert [(one.code, one.message) for one in report.errors] == [
        ("wrong-shape", found["eye"].error),
        ("wrong-shape", found["dirac"].error),
    ]
    assert found["eye"].signal is found["eye"].unsteadiness is None
    assert found["xavier_normal"].signal is not None
    assert report.comparison is not None and report.comparison.steadiest is None
    assert report.comparison.reason == "2 layers are too few for a trend"


def test_what_cannot_be_judged_has_the_reason_of_its_signal() -> None:
    blocks = "Conv2d: [3, 3, 3, 2, 1], BatchNorm2d: 3, ReLU"
    text = f"{{layers: [{', '.join([blocks] * 4)}, Flatten, Linear: [12, 2]], input: [2, 3, 32, 32]}}"
    report = compare([contender("default")], [from_spec(text)], 1)
    assert report.comparison is not None and report.headline is not None
    reason = "the statistics of 10 are those of 8 values a channel, fewer than 16: pass a batch of 4 with --input"
    assert report.comparison.reason == reason
    assert report.headline.text == f"the signal cannot be judged: {reason}"
    report = compare([contender("default")], [from_spec(text.replace("[2, 3, 32", "[4, 3, 32"))], 1)
    assert report.comparison is not None and "channel" not in (report.comparison.reason or "")


def test_an_optional_scheme_that_cannot_fill_the_model_is_left_out() -> None:
    size = of_module(lambda: nn.Linear(8, 8))
    report = compare([contender("default"), replace(contender("dirac"), optional=True)], [size], 1)
    assert list(trials(report)) == ["default"] and report.errors == ()
    assert report.notes == (
        "dirac is left out: dirac needs 3 to 5 dimensions; parameter 'weight' has shape (8, 8); "
        "restrict the rule to convolutions; eye is the identity of a matrix",
    )


def test_a_forward_that_raises_is_one_error() -> None:
    text = "{layers: [Linear: [4, 3], ReLU, Linear: [4, 2]], input: [2, 4]}"
    report = compare([contender(name) for name in ("default", "normal")], [from_spec(text)], 3)
    (failure,) = report.errors
    assert (failure.code, failure.where) == ("forward-failed", "layer '2'")
    assert failure.message.startswith("the forward failed: Linear expects (…, 4) of float32, got (2, 3) float32")
    assert {trial.error for trial in trials(report).values()} == {failure.message}
    assert report.comparison is not None and report.comparison.steadiest is report.comparison.reason is None
    assert report.verdicts == ()


def test_without_an_input_there_is_nothing_to_compare_on() -> None:
    size = of_module(lambda: nn.Linear(8, 8), make_input=None, why_no_input="pass --input, e.g. --input 2,4")
    with pytest.raises(UserError) as caught:
        compare([contender("default")], [size], 1)
    assert str(caught.value) == "m.py:net: pass --input, e.g. --input 2,4"


def test_on_the_meta_device_there_are_no_numbers() -> None:
    with pytest.raises(UserError) as caught:
        compare([contender("default")], [from_spec("{device: meta, layers: [Linear: [4, 3]], input: [2, 4]}")], 1)
    assert str(caught.value) == ("s: on the meta device there are no numbers to compare\n  for example: --device cpu")


def test_interrupted_it_leaves_the_module_as_it_was() -> None:
    def interrupt(_: torch.Tensor) -> None:
        raise KeyboardInterrupt

    net = Seen(interrupt)
    before = net.layer.weight.detach().clone()
    with pytest.raises(KeyboardInterrupt):
        compare([contender("zeros")], [of_module(lambda: net)], 1)
    assert torch.equal(net.layer.weight, before)


INPUTS = {
    "NaN": lambda: torch.full((4, 8), math.nan),
    "constant": lambda: torch.ones(4, 8),
    "zeros": lambda: torch.zeros(4, 8),
    "a batch of one": lambda: torch.randn(1, 8),
    "huge": lambda: torch.full((4, 8), 1e38),
}


@each("what", INPUTS)
@each("loss", ["sum", "cross_entropy"])
def test_a_bad_input_is_still_compared(what: str, loss: str) -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))

    size = of_module(build, make_input=lambda: Batch((Given(INPUTS[what]()),)), loss=Loss(loss))
    report = compare([contender(name) for name in ("default", "normal:std=100", "zeros")], [size], 2)
    assert report.errors == () and len(report.verdicts) == 6
    assert report.comparison is not None
    assert report.to_dict()["comparison"]["trials"][0]["scheme"] == "default"


def test_widths_of_one_and_models_without_weights() -> None:
    one = compare([contender("normal")], [from_spec("{layers: [MLP: {sizes: [1, 1, 1]}], input: [1, 1]}")], 2)
    assert one.errors == ()
    none = compare([contender("default"), contender("normal")], [from_spec("{layers: [ReLU], input: [2, 4]}")], 1)
    assert [failure.code for failure in none.errors] == ["glob-matches-nothing"]
    assert trials(none)["default"].error is None


# --- which is steadiest ------------------------------------------------------------------------------------------


def course(factor: float | None, verdict: str = "steady", law: str | None = None, high: float | None = 1.05) -> Course:
    return Course(verdict, law, factor, 1.0, None if high is None else 1 / high, high)


def trial(scheme: str, forward: Course, backward: Course, width: int | None = None) -> Trial:
    return trial_of(scheme, width, None, Signal(1, forward=forward, backward=backward), [], None)


STEADY, GONE = course(1.01), course(0.0, "dead")
SLOW, SINKING = course(0.86, "steady", "power law"), course(0.5, "vanishing")
RANKED = {
    "the factors nearest to 1": (
        [trial("a", course(0.5, "vanishing"), course(0.5, "vanishing")), trial("b", STEADY, course(0.98))],
        "b",
        "steady (1.01 per layer) forward and steady (0.98 per layer) backward; "
        "next is a, vanishing (0.5 per layer) forward and vanishing (0.5 per layer) backward",
    ),
    "a power law before what explodes": (
        [trial("a", course(1.0), course(1.21, "exploding")), trial("b", SLOW, SLOW)],
        "b",
        "steady (0.86 per layer, a power law in depth) forward and steady (0.86 per layer, a power law in depth) "
        "backward; next is a, steady (1 per layer) forward and exploding (1.21 per layer) backward",
    ),
    "no difference": (
        [trial("a", STEADY, STEADY), trial("b", STEADY, STEADY), trial("c", STEADY, course(1.04))],
        None,
        "no difference beyond the tolerance between a, b and c; "
        "nearest to 1: steady (1.01 per layer) forward and steady (1.01 per layer) backward",
    ),
    "no difference from the model as it is built": (
        [trial("default", STEADY, course(1.03)), trial("a", STEADY, STEADY)],
        None,
        "no difference beyond the tolerance between a and default; "
        "nearest to 1: steady (1.01 per layer) forward and steady (1.01 per layer) backward",
    ),
    "no difference, and none steady": (
        [trial("a", SINKING, STEADY), trial("b", SINKING, STEADY)],
        None,
        "none is steady both ways, and there is no difference beyond the tolerance between a and b; "
        "nearest to 1: vanishing (0.5 per layer) forward and steady (1.01 per layer) backward",
    ),
    "the nearest of two, and one that is worse": (
        [trial("default", STEADY, course(1.03)), trial("a", STEADY, STEADY), trial("b", SINKING, SINKING)],
        "a",
        "steady (1.01 per layer) forward and steady (1.01 per layer) backward; default is as good within the "
        "tolerance; next is b, vanishing (0.5 per layer) forward and vanishing (0.5 per layer) backward",
    ),
    "critical too has to be steady": (
        [trial("a", STEADY, STEADY), trial("critical", STEADY, course(1.2))],
        "a",
        "steady (1.01 per layer) forward and steady (1.01 per layer) backward; "
        "next is critical, steady (1.01 per layer) forward and steady (1.2 per layer) backward",
    ),
    "none steady": (
        [trial("a", course(2.0, "exploding"), STEADY), trial("b", course(3.0, "exploding"), STEADY)],
        "a",
        "none is steady both ways, and it strays least: exploding (2 per layer) forward and "
        "steady (1.01 per layer) backward; next is b, exploding (3 per layer) forward and "
        "steady (1.01 per layer) backward",
    ),
    "a single one": (
        [trial("a", STEADY, STEADY)],
        "a",
        "steady (1.01 per layer) forward and steady (1.01 per layer) backward",
    ),
    "none that carries a signal": ([trial("a", GONE, GONE), trial("b", course(None, "nonfinite"), STEADY)], None, None),
    "what failed is not ranked": (
        [Trial("a", error="no"), trial("b", STEADY, STEADY)],
        "b",
        "steady (1.01 per layer) forward and steady (1.01 per layer) backward",
    ),
    "at every width": (
        [
            trial("a", STEADY, STEADY, 64),
            trial("a", course(3.0, "exploding"), STEADY, 256),
            trial("b", STEADY, course(1.03), 64),
            trial("b", STEADY, STEADY, 256),
        ],
        "b",
        "steady (1.01 per layer) forward and steady (1.03 per layer) backward at width 64; "
        "next is a, exploding (3 per layer) forward and steady (1.01 per layer) backward at width 256",
    ),
    "what failed at one width is not ranked": (
        [
            trial("a", STEADY, STEADY, 64),
            Trial("a", 256, error="no"),
            trial("b", SLOW, SLOW, 64),
            trial("b", SLOW, SLOW, 256),
        ],
        "b",
        "steady (0.86 per layer, a power law in depth) forward and "
        "steady (0.86 per layer, a power law in depth) backward at width 64",
    ),
}


@each("what", RANKED)
def test_the_steadiest_and_why(what: str) -> None:
    found, best, reason = RANKED[what]
    assert steadiest(found) == (best, reason)


# --- the figures of one trial ------------------------------------------------------------------------------------


def layer(depth: int | None, rms: float, grad: float | None, **changes: object) -> SignalLayer:
    moments = SignalMoments(0.0, rms)
    told: dict[str, object] = {
        "module": f"{depth}",
        "pre": moments,
        "out": moments,
        "grad_rms": grad,
        "grad_norm": grad,
        "width": 4,
    }
    return SignalLayer(index=depth or 0, type="Linear", depth=depth, **(told | changes))


def test_shares_count_every_layer_by_its_width() -> None:
    layers = (
        layer(1, 1.0, 0.2, width=30, dead=0.1, expected=SignalExpected(dead=0.2)),
        layer(None, 1.0, 0.2, width=7, saturated=0.3),
        layer(2, 2.0, 0.5, width=10, dead=0.5, expected=SignalExpected(dead=0.6)),
        layer(3, 3.0, 0.4, width=1),
    )
    found = trial_of("a", 64, None, Signal(2, layers=layers, forward=STEADY, backward=course(1 / 1.01)), [1.0, 3.0], 5)
    assert found == Trial(
        "a",
        64,
        None,
        found.signal,
        q_last=9.0,
        gradient_ratio=pytest.approx(0.5),
        dead=pytest.approx(0.2),
        expected_dead=pytest.approx(0.3),
        saturated=pytest.approx(0.3),
        loss=2.0,
        expected_loss=math.log(5),
        unsteadiness=pytest.approx(2 * math.log(1.01)),
    )


def test_what_is_not_known_is_null() -> None:
    empty = trial_of("a", None, None, Signal(1), [None], None)
    assert replace(empty, signal=None) == Trial("a")
    gone = trial_of("a", None, None, Signal(1, layers=(layer(1, 0.0, 0.0), layer(2, 0.0, 0.0))), [math.nan], None)
    assert (gone.q_last, gone.gradient_ratio, gone.unsteadiness) == (0.0, None, None)
    assert math.isnan(gone.loss)


def test_a_verdict_names_its_trial() -> None:
    found = verdicts_of(trial("a", course(0.9, "vanishing", high=1.25), GONE, 64))
    assert found == (
        Verdict("forward", "vanishing", 0.9, 1.0, 0.25, "a, width 64", "factor"),
        Verdict("backward", "dead", 0.0, 1.0, found[1].tolerance, "a, width 64", "factor"),
    )
    assert verdicts_of(Trial("a", error="no")) == ()


# --- slopes across widths ----------------------------------------------------------------------------------------


def at_width(width: int, *rms: float) -> Trial:
    layers = tuple(layer(at, one, 1.0, module="0", width=width, fan_in=width) for at, one in enumerate(rms, 1))
    return Trial("a", width, signal=Signal(1, samples=64, layers=layers))


def test_a_slope_is_that_of_the_least_squares_line() -> None:
    found = slopes_of([at_width(64, 1.0, 3.0), at_width(256, 1.0, 6.0), at_width(1024, 1.0, 12.0)], 1)
    by_name = {(one.layer, one.figure): one for one in found}
    assert [*by_name] == [(name, figure) for name in ("0", "0 #2") for figure in ("pre", "out", "gradient")]
    assert by_name["0", "pre"].slope == pytest.approx(0.0)
    assert by_name["0 #2", "pre"].slope == by_name["0 #2", "out"].slope == pytest.approx(0.5)
    assert by_name["0 #2", "gradient"].slope == pytest.approx(0.0)
    assert all(one.expected is None and one.scheme == "a" for one in found)


def test_the_tolerance_shrinks_with_the_seeds_and_grows_with_the_layers_passed() -> None:
    trials_ = [at_width(64, 1.0, 1.0, 1.0), at_width(256, 1.0, 1.0, 1.0)]
    once, often = slopes_of(trials_, 1), slopes_of(trials_, 16)
    assert [one.tolerance for one in often] == pytest.approx([one.tolerance / 4 for one in once if one.tolerance])
    pre = [one.tolerance or 0.0 for one in once if one.figure == "pre"]
    back = [one.tolerance or 0.0 for one in once if one.figure == "gradient"]
    assert pre == sorted(pre) == pytest.approx(back[::-1]) and len(set(pre)) == 3


NO_SLOPES = {
    "one width": [at_width(64, 1.0)],
    "the same width twice": [at_width(64, 1.0), at_width(64, 1.0)],
    "one failed": [at_width(64, 1.0), Trial("a", 256, error="no")],
    "other layers": [at_width(64, 1.0), at_width(256, 1.0, 1.0)],
    "depths": [replace(at_width(64, 1.0), width=None, depth=3), replace(at_width(64, 1.0), width=None, depth=5)],
}


@pytest.mark.parametrize("what", NO_SLOPES)
def test_without_two_widths_of_the_same_layers_there_is_no_slope(what: str) -> None:
    assert slopes_of(NO_SLOPES[what], 1) == ()


def test_a_signal_that_is_gone_has_no_slope() -> None:
    found = slopes_of([at_width(64, 0.0, 1.0), at_width(256, 0.0, math.nan)], 1)
    assert [(one.layer, one.figure) for one in found] == [("0", "gradient"), ("0 #2", "gradient")]


def widths(scheme: str) -> dict[tuple[str, str], Slope]:
    """Compare at three widths; return the slopes by layer and figure."""
    sizes = [
        replace(
            from_spec(
                f"{{layers: [MLP: {{sizes: [32, {width}, {width}, {width}, 8]}}], input: "
                "{shape: [32, 32], sample: normal}}"
            ),
            width=width,
        )
        for width in (64, 128, 512)
    ]
    report = compare([unbiased(scheme)], sizes, 4)
    assert report.comparison is not None
    return {(one.layer, one.figure): one for one in report.comparison.slopes}


def test_hes_scheme_suits_any_width_and_a_fixed_std_does_not() -> None:
    """Forward slope 0; with a fixed std ½ more for every layer that is fed by one of the width in question."""
    he, fixed = widths("kaiming_normal:nonlinearity=relu"), widths("normal:std=0.1")
    for found, steep in ((he, 0.0), (fixed, 0.5)):
        for at, name in enumerate(("0", "2", "4", "6")):
            one = found[name, "pre"]
            assert one.tolerance is not None and one.tolerance < 0.25 * (1 + 3 * (at == 3))
            assert abs(one.slope - steep * at) < one.tolerance
            assert one.expected == pytest.approx(steep * at, abs=0.02)
    gradients = [he[name, "gradient"].slope for name in ("0", "2", "4", "6")]
    assert gradients == pytest.approx([-0.5, -0.5, -0.5, 0.0], abs=0.15)
