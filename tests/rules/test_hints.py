"""A hint is about the cause: where one is known it is named, and nothing is advised that cannot help."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

import paraminspect
from paraminspect.experiments.check import CheckRequest, check
from tests.cases import each
from tests.rules.broken_models import Branches

ALIVE = "another initialisation, larger biases, or LeakyReLU or GELU in the place of ReLU"
WITHIN = "limits that hold most of what comes in, or another scale of it"
KEEP = "keep what leads to the loss differentiable there"
NOTHING = "look for a mask, a dropout or a clamp that lets nothing through between"
ZERO = "gradients become exactly 0 on their way through the layers, at layer"


def two_layers(between: Callable[[Tensor], Tensor], after: Callable[[Tensor], Tensor] = lambda y: y) -> nn.Module:
    return Branches(lambda self, x: after(self.b(between(self.a(x)))), a=nn.Linear(8, 8), b=nn.Linear(8, 2))


def never_on() -> nn.Module:
    module = two_layers(torch.relu)
    nn.init.constant_(module.a.bias, -50.0)  # type: ignore[union-attr,arg-type]
    return module


def root_at_zero(y: Tensor) -> Tensor:
    return torch.where(y > 0, y.sqrt(), torch.zeros_like(y))


def with_parts(part: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(8, 8), part, nn.Linear(8, 2))


def too_large() -> nn.Module:
    module = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2))
    for layer in module:
        nn.init.normal_(layer.weight, std=1e30)  # type: ignore[arg-type]
    return module


BROKEN_OFF: dict[str, tuple[Callable[[], nn.Module], str, str]] = {
    "relu": (never_on, f"{ZERO} a", ALIVE),
    "round": (
        lambda: two_layers(torch.round),
        f"{ZERO} a, lost at round in the model itself: its derivative is 0 everywhere",
        KEEP,
    ),
    "dropout": (lambda: two_layers(lambda y: functional.dropout(y, 1.0)), f"{ZERO} a", f"{NOTHING} a and b"),
    "mask": (lambda: two_layers(lambda y: y, lambda y: y * 0), f"{ZERO} b", f"{NOTHING} b and the output"),
    "module": (
        lambda: with_parts(nn.Dropout(1.0)),
        f"{ZERO} 0",
        "look at 1 (Dropout), the first module to return 0 everywhere",
    ),
    "clamp": (lambda: two_layers(lambda y: y, lambda y: y.clamp(5, 6)), f"{ZERO} b", WITHIN),
    "cancelled": (
        lambda: Branches(lambda self, x: self.a(x) - self.a(x), a=nn.Linear(8, 8)),
        "activations become exactly 0 on their way through the layers",
        "look at the sum in the model itself: what it adds up is 0, or cancels",
    ),
    "no slope": (
        lambda: two_layers(lambda y: y, root_at_zero),
        "gradients become NaN or infinite on their way through the layers, at layer b",
        "torch.autograd.set_detect_anomaly(True) names the operation between b and the output whose backward makes it",
    ),
    "no root": (
        lambda: two_layers(lambda y: torch.sqrt(-y.square() - 1)),
        "activations and gradients become NaN or infinite on their way through the layers, at layer b",
        "look at b (Linear), the first module to return NaN or infinite values",
    ),
    "too large": (
        too_large,
        "activations become NaN or infinite on their way through the layers, at layer 1",
        "paraminspect compare finds a steadier initialisation; or add norms or skip connections",
    ),
}


@each("name", BROKEN_OFF)
def test_a_signal_that_breaks_off(name: str) -> None:
    torch.manual_seed(0)
    build, text, hint = BROKEN_OFF[name]
    findings = paraminspect.check(build(), torch.rand(16, 8), select="PI506").findings
    assert [(one.message, one.hint) for one in findings] == [(text, hint)]


MASKS = "look for activations or masks that are 0 everywhere"


@each(
    ("build", "loss", "hint"),
    [
        (never_on, "sum", f"{MASKS}, or --loss random"),
        (never_on, "random", MASKS),
        (lambda: two_layers(torch.round), "random", KEEP),
        (lambda: two_layers(torch.round), "sum", KEEP),
    ],
)
def test_a_gradient_of_0(build: Callable[[], nn.Module], loss: str, hint: str) -> None:
    (finding,) = paraminspect.check(build(), torch.rand(16, 8), loss=loss, select="PI303").findings
    assert finding.hint == hint


@each("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_the_reverse_direction_at_its_first_step(kind: type[nn.RNNBase]) -> None:
    """Where the sequence has one step, the hidden state is 0 in both directions, and that is no matter of reading."""
    module = Branches(
        lambda self, x: self.head(self.rnn(x)[0][:, -1]),
        rnn=kind(8, 4, num_layers=2, bidirectional=True, batch_first=True),
        head=nn.Linear(8, 2),
    )
    (finding,) = paraminspect.check(module, torch.rand(4, 6, 8), select="PI303").findings
    assert finding.names == ("rnn.weight_hh_l1_reverse",)
    assert "only the last position is read, which is its first step" in finding.message
    assert finding.hint == "read h_n, or what the reverse direction returned at the first position"
    (finding,) = paraminspect.check(module, torch.rand(4, 1, 8), select="PI303").findings
    assert len(finding.names) == 4
    assert finding.hint == MASKS


def taught(how: Callable[[Tensor], Tensor]) -> nn.Module:
    return Branches(lambda self, x: self.a(x) - how(self.teacher(x)), a=nn.Linear(8, 2), teacher=nn.Linear(8, 2))


MEANT = "; where that is meant (a teacher, an average), requires_grad_(False) says so"


@each(
    ("build", "hint"),
    [
        (lambda: taught(torch.detach), KEEP),
        (lambda: taught(lambda y: y), None),
        (
            lambda: Branches(
                lambda self, x: self.a(x) - torch.no_grad()(self.teacher)(x),
                a=nn.Linear(8, 2),
                teacher=nn.Linear(8, 2),
            ),
            KEEP + MEANT,
        ),
    ],
)
def test_what_runs_without_gradients_may_be_a_teacher(build: Callable[[], nn.Module], hint: str | None) -> None:
    findings = paraminspect.check(build(), torch.rand(16, 8), select="PI302").findings
    assert [one.hint for one in findings] == ([] if hint is None else [hint])


# --- forwards that fail ----------------------------------------------------------------------------------------


def imports(_: nn.Module, x: Tensor) -> Tensor:
    import no_such_package  # type: ignore[import-not-found]

    return no_such_package.of(x)


def raises(_: nn.Module, x: Tensor) -> Tensor:
    raise NotImplementedError


def in_turn(*layers: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(*layers)


GIVE = "give it an input that it takes"
FITS = "let it take what the layer before it returns: no input changes that"
IMAGES, WORDS = torch.rand(2, 1, 8, 8), torch.randint(0, 9, (2, 4))
FAILING: dict[str, tuple[Callable[[], nn.Module], Tensor, str]] = {
    "package": (lambda: Branches(imports), IMAGES, ""),
    "method": (lambda: Branches(raises), IMAGES, ""),
    "name": (lambda: Branches(lambda self, x: missing(x)), IMAGES, ""),  # type: ignore[name-defined]  # noqa: F821
    "attribute": (lambda: Branches(lambda self, x: self.missing(x)), IMAGES, ""),
    "torch's": (lambda: Branches(lambda self, x: torch.no_such_function(x)), IMAGES, ""),
    "attribute of the input": (lambda: Branches(lambda self, x: x.nodes), IMAGES, f"{GIVE}: --input SHAPE[:DTYPE]"),
    "kernel": (lambda: Branches(lambda self, x: x.softmax(-1)), WORDS, f"{GIVE}: --input SHAPE[:DTYPE]"),
    "features": (in_turn(nn.Linear(16, 4)), IMAGES, f"{GIVE}, as --input 2,1,8,16"),
    "features of integers": (in_turn(nn.Linear(4, 4)), WORDS, f"{GIVE}, as --input 2,4"),
    "channels": (in_turn(nn.ReLU(inplace=True), nn.Conv2d(3, 4, 1)), IMAGES, f"{GIVE}, as --input 2,3,8,8"),
    "indices": (in_turn(nn.Embedding(9, 4)), torch.rand(2, 4), f"{GIVE}, as --input 2,4:int64:0..8"),
    "reshaped": (in_turn(nn.Flatten(), nn.Linear(16, 4)), IMAGES, f"{GIVE}: --input SHAPE[:DTYPE]"),
    "two layers": (in_turn(nn.Linear(8, 3), nn.ReLU(), nn.Linear(8, 3)), IMAGES, FITS),
    "below": (in_turn(nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(3, 4, 1))), IMAGES, FITS),
    "sides of an image": (
        in_turn(nn.Conv2d(1, 4, 1), nn.Flatten(), nn.Linear(4, 2)),
        IMAGES,
        f"{GIVE}: --input SHAPE[:DTYPE]",
    ),
    "out of sight": (lambda: two_layers(lambda y: y[:, :3]), torch.rand(2, 8), f"{GIVE}: --input SHAPE[:DTYPE]"),
}


@each("name", FAILING)
def test_a_forward_that_fails(name: str) -> None:
    build, given, hint = FAILING[name]
    for command in (paraminspect.inspect, paraminspect.summary):
        found = command(build(), given).headline
        assert found is not None and "the forward failed" in found.text
        assert found.hint == hint


def of_matrices(self: nn.Module, x: Tensor) -> Tensor:
    if x.dim() > 2:
        raise ValueError("this takes a matrix")
    return imports(self, x)


def test_where_the_likeliest_input_fails_in_the_code_no_other_is_asked_for() -> None:
    """Another may fail before it comes there."""
    report = paraminspect.inspect(nn.Sequential(nn.Linear(4, 4), Branches(of_matrices)))
    assert {one.error.about for one in report.attempts} == {"code", None}
    assert report.headline is not None and report.headline.hint == ""
    begin = r"nothing was run: the forward failed in 1 with the first of \d+ inputs that were tried: Branches got "
    assert re.fullmatch(begin + r".*: No module named 'no_such_package'", report.headline.text)
    (note,) = report.notes
    assert note.endswith("No module named 'no_such_package'")


def test_a_check_asks_for_no_input_either(tmp_path: Path) -> None:
    file = tmp_path / "of_code.py"
    code = "class Net(nn.Linear):\n    def forward(self, x):\n        return self.missing(x)\n"
    file.write_text(f"from torch import nn\n\n{code}\nnet = Net(4, 2)\n")
    (error,) = check(f"{file}:net", CheckRequest()).report.errors
    assert error.message.endswith("has no attribute 'missing'; or --no-forward checks the values alone")


def test_layers_that_do_not_fit_are_tried_once() -> None:
    report = paraminspect.inspect(nn.Sequential(nn.Linear(4, 3), nn.Linear(4, 3)))
    assert report.headline is not None and report.headline.hint == FITS
    assert [one.error.about for one in report.attempts] == ["layers"]
