"""The losses against torch written out, whatever structure the output has; and the user's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paraminspect.analysis.passes.losses import compute_loss, why_constant
from paraminspect.errors import UserError
from paraminspect.modules.subject import Loss
from tests.cases import each


def refused(loss: Loss, output: Any) -> tuple[str, str, str]:
    with pytest.raises(UserError) as caught:
        compute_loss(loss, output)
    return caught.value.message, caught.value.hint, caught.value.code


# --- by name ---------------------------------------------------------------------------------------------------

Y = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
Z = torch.tensor([0.5, 0.25], dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "output", "wanted"),
    [
        ("sum", Y, 11.0),
        ("sum", {"y": Y, "again": Y, "z": [Z], "mask": torch.ones(3, dtype=torch.bool)}, 11.75),
        ("mean", (Y, Z), 2.75 + 0.375),
        ("sum", torch.tensor([1, 2]), 3),
        ("mse", (Y, Z), (1 + 4 + 9 + 25) / 4),
        ("cross_entropy", torch.zeros(6, 10), torch.tensor(10.0).log().item()),
    ],
)
def test_every_float_tensor_counts_once(name: str, output: Any, wanted: float) -> None:
    assert compute_loss(Loss(name), output).item() == pytest.approx(wanted, rel=1e-6)


COMPLEX = "try --loss random"


@pytest.mark.parametrize(
    ("name", "output", "message", "hint"),
    [
        ("sum", None, "the sum needs a floating-point output, got no tensor", ""),
        ("random", (), "the random needs a floating-point output, got no tensor", ""),
        ("mean", torch.tensor([1]), "the mean needs a floating-point output, got int64", ""),
        ("sum", torch.ones(2, dtype=torch.complex64), "the sum needs a floating-point output, got complex64", COMPLEX),
    ],
)
def test_what_has_no_loss(name: str, output: Any, message: str, hint: str) -> None:
    assert refused(Loss(name), output) == (message, hint, "no-loss")


# --- random ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_random_is_what_a_script_would_write(dtype: torch.dtype) -> None:
    y = torch.arange(6, dtype=dtype).reshape(2, 3).requires_grad_()
    torch.manual_seed(3)
    loss = compute_loss(Loss("random"), y)
    torch.manual_seed(3)
    c = torch.randn(2, 3, dtype=dtype)
    c = c / torch.linalg.vector_norm(c)
    assert torch.equal(loss, (c * y).sum())
    loss.backward()
    assert torch.equal(y.grad, c)


def test_random_has_one_norm_over_all_outputs() -> None:
    outputs = [
        torch.ones(3, requires_grad=True),
        torch.ones(2, 2, dtype=torch.float64, requires_grad=True),
        torch.ones(4, dtype=torch.complex64, requires_grad=True),
        torch.ones(5, dtype=torch.bfloat16, requires_grad=True),
        torch.empty(0, requires_grad=True),
    ]
    torch.manual_seed(0)
    compute_loss(Loss("random"), {"all": outputs, "mask": torch.ones(3, dtype=torch.int64)}).backward()
    gradients = [y.grad for y in outputs]
    assert [g.dtype for g in gradients] == [y.dtype for y in outputs]
    assert sum((g.abs().double() ** 2).sum().item() for g in gradients) == pytest.approx(1, rel=1e-2)
    torch.manual_seed(0)
    drawn = [torch.randn(3), torch.randn(2, 2, dtype=torch.float64), torch.randn(4, dtype=torch.complex64)]
    norm = sum((c.abs().double() ** 2).sum() for c in (*drawn, torch.randn(5))) ** 0.5
    for gradient, c in zip(gradients, drawn, strict=False):
        assert torch.allclose(gradient, (c / norm).to(c.dtype), rtol=1e-6)


def test_random_of_complex_numbers_is_the_real_part() -> None:
    y = torch.tensor([1 + 2j, 3 - 1j])
    torch.manual_seed(1)
    loss = compute_loss(Loss("random"), y)
    torch.manual_seed(1)
    c = torch.randn(2, dtype=torch.complex64)
    c = c / (c.abs() ** 2).sum().sqrt()
    wanted = sum(a.real * b.real + a.imag * b.imag for a, b in zip(c.tolist(), y.tolist(), strict=True))
    assert not loss.is_complex()
    assert loss.item() == pytest.approx(wanted, rel=1e-6)


def test_random_on_meta_draws_nothing() -> None:
    before = torch.get_rng_state()
    assert compute_loss(Loss("random"), torch.ones(3, device="meta")).is_meta
    assert torch.equal(torch.get_rng_state(), before)


def test_random_reaches_what_a_sum_cannot() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4, dtype=torch.float64), nn.Softmax(-1))
    x = torch.rand(2, 3, dtype=torch.float64)
    compute_loss(Loss("sum"), net(x)).backward()
    assert net[0].weight.grad.abs().max() < 1e-15
    compute_loss(Loss("random"), net(x)).backward()
    assert net[0].weight.grad.abs().max() > 1e-3


# --- the user's own --------------------------------------------------------------------------------------------


def own(function: Callable[[Any], Any]) -> Loss:
    return Loss("losses.py:f", function)


def test_the_users_function_gets_the_output_as_it_is() -> None:
    output = {"y": Y.clone().requires_grad_(), "n": 3}
    given: list[Any] = []

    def function(value: Any) -> Tensor:
        given.append(value)
        return value["y"].square().mean().reshape(1)

    assert compute_loss(own(function), output).item() == (1 + 4 + 9 + 25) / 4
    assert given == [output]


HOW = "write it as def loss(output): return output.square().mean()"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda y: None, "losses.py:f returned None, a loss is a tensor"),
        (lambda y: y.sum().item(), "losses.py:f returned an object of type float, a loss is a tensor"),
        (lambda y: y * 2, "losses.py:f returned a tensor of shape (2, 2), a loss is one number"),
        (lambda y: y.sum() * 1j, "losses.py:f returned a complex64 number, a loss is real"),
        (
            lambda y: y.detach().sum(),
            "losses.py:f returned a tensor without a gradient: it was detached, or not made of the output",
        ),
    ],
)
def test_what_is_no_loss(function: Callable[[Any], Any], message: str) -> None:
    assert refused(own(function), Y.clone().requires_grad_()) == (message, HOW, "bad-loss")


def test_a_loss_without_gradient_is_right_where_there_is_none() -> None:
    assert compute_loss(own(torch.sum), Y).item() == 11
    with torch.no_grad():
        assert compute_loss(own(torch.sum), nn.Linear(2, 1)(Y)).requires_grad is False


def test_a_function_that_fails_or_leaves_is_named() -> None:
    def fails(output: Any) -> Tensor:
        raise KeyError("logits")

    def leaves(output: Any) -> Tensor:
        raise SystemExit(0)

    assert refused(own(fails), Y)[0] == "losses.py:f raised KeyError: 'logits'"
    assert refused(own(leaves), Y)[0] == "losses.py:f called exit(0)"


# --- constant by construction ----------------------------------------------------------------------------------


def loop(name: str) -> Callable[[Tensor], Tensor]:
    layers = {
        "norm": nn.LayerNorm(6),
        "norm without weight": nn.LayerNorm(6, elementwise_affine=False),
        "norm with weights that differ": nn.LayerNorm(6),
        "norm with nan": nn.LayerNorm(6),
        "group norm": nn.GroupNorm(2, 6),
        "batch norm": nn.BatchNorm1d(6),
        "batch norm in use": nn.BatchNorm1d(6).eval(),
        "rms norm": nn.RMSNorm(6),
        "linear": nn.Linear(6, 6),
    }
    layer = layers[name]
    if name in ("norm with weights that differ", "norm with nan"):
        nn.init.constant_(layer.weight[:1], 2.0 if "differ" in name else float("nan"))
    if name == "batch norm":
        nn.init.uniform_(layer.weight)
    return layer


SOFTMAX = "a softmax"
CONSTANT: dict[str, tuple[Callable[[Tensor], Any], str | None]] = {
    "softmax": (lambda x: x.softmax(-1), SOFTMAX),
    "of another dimension": (lambda x: x.softmax(0), SOFTMAX),
    "softmin": (lambda x: nn.functional.softmin(x, -1), SOFTMAX),
    "seen otherwise": (lambda x: x.softmax(-1).view(3, 8).t()[None].reshape(-1).double().squeeze(), SOFTMAX),
    "two of them": (lambda x: {"a": x.softmax(-1), "b": [x.softmax(0)]}, SOFTMAX),
    "beside integers": (lambda x: (x.softmax(-1), x.argmax(-1)), SOFTMAX),
    "beside what is not": (lambda x: (x.softmax(-1), x), None),
    "log softmax": (lambda x: x.log_softmax(-1), None),
    "scaled": (lambda x: x.softmax(-1) * 2, None),
    "a part": (lambda x: x.softmax(-1)[:, :2], None),
    "itself": (lambda x: x, None),
    "nothing": (lambda x: (), None),
    "norm": (loop("norm"), "a LayerNorm whose weights are equal"),
    "norm without weight": (loop("norm without weight"), "a LayerNorm whose weights are equal"),
    "norm with weights that differ": (loop("norm with weights that differ"), None),
    "norm with nan": (loop("norm with nan"), None),
    "group norm": (loop("group norm"), "a GroupNorm whose weights are equal"),
    "batch norm": (loop("batch norm"), "a BatchNorm in training"),
    "batch norm in use": (loop("batch norm in use"), None),
    "rms norm": (loop("rms norm"), None),
    "linear": (loop("linear"), None),
    "both": (lambda x: (x.softmax(-1), CONSTANT["norm"][0](x)), "a softmax and a LayerNorm whose weights are equal"),
}


@each("loss", ["sum", "mean"])
@each("name", CONSTANT)
def test_why_a_gradient_is_zero_by_construction(name: str, loss: str) -> None:
    make, what = CONSTANT[name]
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    output = make(x)
    text = f"the {loss} of {what} is constant, so the gradient before it is 0 by construction: try --loss random"
    assert why_constant(Loss(loss), output) == (text if what else None)
    if what:
        compute_loss(Loss(loss), output).backward()
        assert x.grad.abs().max() < 1e-5


def test_other_losses_and_meta_say_nothing() -> None:
    x = torch.randn(4, 6, requires_grad=True)
    for loss in (Loss("mse"), Loss("random"), Loss("cross_entropy"), Loss("sum", torch.sum)):
        assert why_constant(loss, x.softmax(-1)) is None
    assert why_constant(Loss("sum"), nn.LayerNorm(6, device="meta")(x.to("meta"))) is None
