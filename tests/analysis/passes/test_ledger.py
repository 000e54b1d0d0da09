"""Every use of a parameter, its contribution, and that they add up: against plain PyTorch that no code of ours touched."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from paraminspect.analysis.passes.forward_backward import ForwardBackward, gradient_of, run_passes, uses_of, verdicts_of
from paraminspect.analysis.passes.operands import name_of
from paraminspect.modules.subject import Batch, Given, Loss
from paraminspect.report import Use, Verdict
from tests.cases import each

Case = tuple[nn.Module, tuple[Tensor, ...]]


def passes_of(module: nn.Module, *inputs: Tensor) -> ForwardBackward:
    for parameter in module.parameters():
        parameter.grad = None
    return run_passes(module, Batch(tuple(map(Given, inputs))), Loss(), follow=tuple(module.parameters()))


def names(module: nn.Module) -> dict[int, str]:
    return {id(parameter): name for name, parameter in module.named_parameters()}


def uses(module: nn.Module, *inputs: Tensor) -> tuple[Use, ...]:
    passes = passes_of(module, *inputs)
    assert passes.error is None, passes.error
    return uses_of(passes, names(module))


def placed(found: tuple[Use, ...]) -> list[tuple[str, str, str]]:
    return [(use.parameter, use.module, use.op) for use in found]


def contributions(found: tuple[Use, ...], parameter: str, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    data = [use.gradient.data for use in found if use.parameter == parameter]
    return [torch.tensor(elements, dtype=dtype) for elements in data if elements is not None]


def bare(module: nn.Module, *inputs: Tensor) -> dict[str, Tensor | None]:
    """Return the gradients of a copy that runs without us."""
    return gradients(copy.deepcopy(module), *inputs)


def gradients(module: nn.Module, *inputs: Tensor) -> dict[str, Tensor | None]:
    sums = [tensor.sum() for tensor in flat(module(*inputs))]
    (sums[0] if len(sums) == 1 else torch.stack(sums).sum()).backward()
    return {name: parameter.grad for name, parameter in module.named_parameters()}


def flat(output: object) -> list[Tensor]:
    return [output] if isinstance(output, Tensor) else [tensor for item in output for tensor in flat(item)]


class Of(nn.Module):
    """A module made of a function that takes the module and the input."""

    def __init__(self, run: Callable[..., object], **members: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.run = run
        for name, member in members.items():
            setattr(self, name, member)

    def forward(self, *inputs: Tensor) -> object:
        return self.run(self, *inputs)


def w(*shape: int, dtype: torch.dtype = torch.float32) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(1)))


def x(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(2))


def test_the_textbook_case_is_three_and_three_makes_six() -> None:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 3)
    net = nn.Sequential(layer, layer)
    passes = passes_of(net, torch.ones(1, 1))
    found = [(u.parameter, u.module, u.op, u.index, u.gradient.mean) for u in uses_of(passes, names(net))]
    assert found == [("0.weight", "0", "linear", 0, 3.0), ("0.weight", "1", "linear", 1, 3.0)]
    assert layer.weight.grad is not None
    assert layer.weight.grad.item() == 6.0
    eps = torch.finfo(torch.float32).eps
    assert verdicts_of(passes, names(net)) == (Verdict("ledger", "reconciles", 0.0, 0.0, 2 * eps * 6, "0.weight"),)


def test_each_contribution_is_the_gradient_of_an_untied_copy() -> None:
    shared = nn.Linear(3, 3)
    tied = nn.Sequential(shared, nn.Tanh(), shared, nn.Tanh(), shared)
    untied = nn.Sequential(*map(copy.deepcopy, tied))
    untied(x(4, 3)).sum().backward()
    found = contributions(uses(tied, x(4, 3)), "0.weight")
    expected = [untied[at].weight.grad for at in (0, 2, 4)]
    assert all(map(torch.equal, found, expected))


def test_a_layer_called_in_a_loop_has_one_use_per_call() -> None:
    def loop(self: Of, a: Tensor) -> Tensor:
        for _ in range(4):
            a = torch.tanh(self.cell(a))
        return a @ self.cell.weight

    net = Of(loop, cell=nn.Linear(3, 3, bias=False))
    found = uses(net, x(2, 3))
    assert placed(found) == [("cell.weight", "cell", "linear")] * 4 + [("cell.weight", "", "matmul")]
    torch.testing.assert_close(sum(contributions(found, "cell.weight")), bare(net, x(2, 3))["cell.weight"])


FUNCTIONAL = {
    "linear": (lambda self, a: functional.linear(a, self.w), ["linear"]),
    "transposed": (lambda self, a: a @ self.w.T, ["T"]),
    "mT": (lambda self, a: a @ self.w.mT, ["mT"]),
    "keyword": (lambda self, a: functional.linear(input=a, weight=self.w), ["linear"]),
    "twice-in-one": (lambda self, a: a @ torch.mul(self.w, self.w), ["mul"]),
    "operator": (lambda self, a: a @ (2 * self.w - 1), ["mul"]),
    "index": (lambda self, a: a * self.w[0], ["__getitem__"]),
    "list": (lambda self, a: a @ torch.cat([self.w, self.w]).sum(0), ["cat"]),
    "second": (lambda self, a: torch.zeros(3, 3).add_(self.w) @ a.T, ["add_"]),
    "in-place-operator": (lambda self, a: a.new_zeros(3, 3).__iadd__(self.w) @ a.T, ["add_"]),
    "assigned": (
        lambda self, a: a.new_zeros(2, 3, 3).index_put_((torch.tensor(0),), self.w).sum(0) @ a.T,
        ["index_put_"],
    ),
    "einsum": (lambda self, a: torch.einsum("bi,ij->bj", a, self.w), ["einsum"]),
    "same-again": (lambda self, a: a @ self.w.contiguous().to(torch.float32), ["matmul"]),
    "shape-asked": (lambda self, a: a.new_ones(self.w.shape) @ self.w * self.w.size(0), ["matmul"]),
    "like-asked": (lambda self, a: (a @ torch.zeros_like(self.w)).sum() + a.type_as(self.w) @ self.w, ["matmul"]),
    "returned": (lambda self, a: self.w, ["sum"]),
    "scaled-twice": (lambda self, a: a * self.w.sum() + a * self.w.mean(), ["sum", "mean"]),
    "where": (lambda self, a: a @ torch.where(self.w > 0, self.w, 0.0), ["where"]),
    "data-too": (lambda self, a: a @ self.w * self.w.data.norm() + self.w.detach().sum(), ["matmul"]),
}


@each(("run", "ops"), FUNCTIONAL.values(), ids=FUNCTIONAL)
def test_functional_uses(run: Callable[..., Tensor], ops: list[str]) -> None:
    net = Of(run, w=w(3, 3))
    found = uses(net, x(2, 3))
    assert placed(found) == [("w", "", op) for op in ops]
    expected = bare(net, x(2, 3))["w"]
    assert expected is not None
    torch.testing.assert_close(sum(contributions(found, "w")), expected)
    assert torch.equal(net.w.grad, expected)


class Tied(nn.Module):
    def __init__(self, sparse: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 3, sparse=sparse)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(torch.tanh(self.embed(ids)))


class Double(torch.autograd.Function):
    """y = w x, out of Python's sight."""

    @staticmethod
    def forward(ctx, weight: Tensor, a: Tensor) -> Tensor:
        ctx.save_for_backward(a)
        return weight.detach() * a

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.saved_tensors[0], None


def swapped(self: Of, a: Tensor) -> Tensor:
    halved = {name: parameter / 2 for name, parameter in self.inner.named_parameters()}
    return torch.func.functional_call(self.inner, halved, (a,)) + torch.func.functional_call(
        self.inner, dict(self.inner.named_parameters()), (a,)
    )


def penalised(self: Of, a: Tensor) -> Tensor:
    """Return an output and the gradient of it, so that the backward is a double one."""
    a = a.detach().requires_grad_()
    y = torch.tanh(self.inner(a)).sum()
    (slope,) = torch.autograd.grad(y, a, create_graph=True)
    grads = torch.autograd.grad(y, [*self.inner.parameters()], create_graph=True)
    return y + slope.square().sum() + sum(g.square().sum() for g in grads)


def backward_inside(self: Of, a: Tensor) -> Tensor:
    """Run a backward of its own, which adds to .grad before the last one does."""
    self.inner(a).square().sum().backward()
    return self.inner(a)


def mutated(self: Of, a: Tensor) -> Tensor:
    with torch.no_grad():
        self.inner.weight.mul_(0.5)
        self.inner.bias.zero_()
    return self.inner(a)


def threads(self: Of, a: Tensor) -> Tensor:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(self.inner, a).result() + self.inner(a)


def scaled_parameter() -> nn.Module:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[0].weight.register_hook(lambda grad: grad * 2)
    return net


def hooked() -> nn.Module:
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    net[0].register_forward_hook(lambda module, args, output: output * 2)
    net[0].register_forward_pre_hook(lambda module, args: (args[0] + module.bias,))
    net[2].register_full_backward_hook(lambda module, grad_in, grad_out: None)
    net[2].register_full_backward_pre_hook(lambda module, grad_out: (grad_out[0] * 3,))
    return net


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return build()


def half(dtype: torch.dtype) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        layer = nn.Linear(3, 3)
        return nn.Sequential(layer, nn.Tanh(), layer).to(dtype)

    return build


def pruned() -> nn.Module:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    prune.l1_unstructured(net[0], "weight", 0.5)
    return net


A = x(2, 3)
IDS = torch.tensor([[0, 2, 2]])
S = x(4, 2, 8)
MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[Tensor, ...]]] = {
    "tied-embedding": (Tied, (IDS,)),
    "lstm": (lambda: nn.LSTM(8, 3, 2, bidirectional=True), (S,)),
    "gru": (lambda: nn.GRU(8, 3), (S,)),
    "rnn": (lambda: nn.RNN(8, 3, batch_first=True), (S,)),
    "lstm-cell": (lambda: Of(lambda self, s: self.cell(s[1], self.cell(s[0])), cell=nn.LSTMCell(8, 3)), (S,)),
    "attention": (lambda: nn.MultiheadAttention(8, 2), (S, S, S)),
    "attention-apart": (lambda: nn.MultiheadAttention(8, 2, kdim=8, vdim=8, bias=False), (S, S, S)),
    "encoder": (lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0), (S,)),
    "encoder-eval": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(), (S,)),
    "functional-call": (lambda: Of(swapped, inner=nn.Linear(3, 3)), (A,)),
    "weight-norm": (lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 3))), (A,)),
    "orthogonal": (lambda: nn.Sequential(parametrizations.orthogonal(nn.Linear(3, 3))), (A,)),
    "spectral-norm": (lambda: parametrizations.spectral_norm(nn.Linear(3, 3)).eval(), (A,)),
    "pruned": (pruned, (A,)),
    "hooked": (hooked, (A,)),
    "double-backward": (lambda: Of(penalised, inner=nn.Linear(3, 3)), (A,)),
    "backward-inside": (lambda: Of(backward_inside, inner=nn.Linear(3, 3)), (A,)),
    "mutated": (lambda: Of(mutated, inner=nn.Linear(3, 3)), (A,)),
    "renormed": (lambda: nn.Embedding(5, 3, max_norm=0.1), (IDS,)),
    "bag": (lambda: nn.EmbeddingBag(5, 3, mode="max"), (IDS,)),
    "float64": (half(torch.float64), (x(2, 3, dtype=torch.float64),)),
    "bfloat16": (half(torch.bfloat16), (x(2, 3).bfloat16(),)),
    "float16": (half(torch.float16), (x(2, 3).half(),)),
    "batch-norm": (lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), (A,)),
    "convolution": (lambda: nn.Sequential(nn.Conv2d(2, 3, 2), nn.GroupNorm(3, 3)), (x(1, 2, 4, 4),)),
    "data-parallel": (lambda: nn.DataParallel(nn.Linear(3, 3)), (A,)),
    "vmap": (lambda: Of(lambda self, a: torch.func.vmap(lambda row: self.inner(row))(a), inner=nn.Linear(3, 3)), (A,)),
}


@each(("build", "inputs"), MODULES.values(), ids=MODULES)
def test_the_uses_add_up_to_the_gradient_of_an_unwatched_run(
    build: Callable[[], nn.Module], inputs: tuple[Tensor, ...]
) -> None:
    net, expected = seeded(build), gradients(seeded(build), *inputs)
    passes = passes_of(net, *inputs)
    assert passes.error is None, passes.error
    found = uses_of(passes, names(net))
    for name, parameter in net.named_parameters():
        wanted = expected[name]
        assert (parameter.grad is None) == (wanted is None)
        if wanted is not None:
            assert torch.equal(parameter.grad, wanted)
            parts = contributions(found, name, torch.float64)
            coarse = torch.finfo(wanted.dtype).eps * 4
            torch.testing.assert_close(
                sum(parts), wanted.double(), rtol=coarse, atol=coarse * wanted.abs().max().item()
            )
    assert "(not attributed)" not in {use.op for use in found}
    assert {verdict.verdict for verdict in verdicts_of(passes, names(net))} <= {"reconciles"}


def test_under_autocast_the_uses_add_up() -> None:
    """To rounding only: autocast keeps one copy of a weight in bfloat16, and an alias each its own."""

    def run(self: Of, a: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.inner(self.inner(a))

    net = seeded(lambda: Of(run, inner=nn.Linear(3, 3)))
    expected = bare(net, A)["inner.weight"]
    passes = passes_of(net, A)
    assert [use.op for use in uses_of(passes, names(net))] == ["linear"] * 4
    assert {verdict.verdict for verdict in verdicts_of(passes, names(net))} == {"reconciles"}
    torch.testing.assert_close(net.inner.weight.grad, expected, rtol=0.0, atol=0.02)


def test_sparse_gradients_add_up() -> None:
    net = seeded(lambda: nn.Embedding(5, 3, sparse=True))
    (use,) = uses(net, IDS)
    assert (use.op, use.gradient.zeros, use.gradient.status) == ("embedding", 9, "ok")
    assert torch.tensor(use.gradient.data).tolist() == [[1.0] * 3, [0.0] * 3, [2.0] * 3, [0.0] * 3, [0.0] * 3]
    assert net.weight.grad.is_sparse
    tied = seeded(lambda: Tied(sparse=True))
    expected = bare(tied, IDS)["embed.weight"]
    passes = passes_of(tied, IDS)
    found = uses_of(passes, names(tied))
    assert [use.op for use in found] == ["embedding", "linear"]
    torch.testing.assert_close(sum(contributions(found, "embed.weight")), expected)
    assert [verdict.verdict for verdict in verdicts_of(passes, names(tied))] == ["reconciles"]


def test_complex_gradients_add_up() -> None:
    weight = w(3, 3, dtype=torch.complex64)
    net = Of(lambda self, a: (self.w @ self.w).real.sum() + self.w.real.sum(), w=weight)
    expected = bare(net, A)["w"]
    passes = passes_of(net, A)
    found = uses_of(passes, names(net))
    assert placed(found) == [("w", "", "matmul"), ("w", "", "real")]
    torch.testing.assert_close(net.w.grad, expected)
    assert [verdict.verdict for verdict in verdicts_of(passes, names(net))] == ["reconciles"]
    assert found[1].gradient.mean == 1.0


# --- what cannot be attributed is a line of its own -----------------------------------------------------------


def test_a_custom_function_is_not_attributed() -> None:
    net = Of(lambda self, a: Double.apply(self.w, a) + 2 * self.w, w=w(2, 3))
    passes = passes_of(net, A)
    found = uses_of(passes, names(net))
    assert [(u.module, u.op, u.index) for u in found] == [("", "mul", 0), ("", "(not attributed)", 1)]
    torch.testing.assert_close(torch.tensor(found[1].gradient.data), A)
    (verdict,) = verdicts_of(passes, names(net))
    assert (verdict.about, verdict.verdict, verdict.expected, verdict.where) == ("ledger", "not attributed", 0.0, "w")
    assert verdict.measured == pytest.approx(A.abs().max().item(), rel=1e-6)
    assert verdict.tolerance is not None
    assert verdict.measured > verdict.tolerance


def test_a_parameter_that_only_a_custom_function_reads_is_not_attributed_as_a_whole() -> None:
    net = Of(lambda self, a: Double.apply(self.w, a), w=w(2, 3))
    passes = passes_of(net, A)
    (use,) = uses_of(passes, names(net))
    assert (use.op, use.index, torch.equal(torch.tensor(use.gradient.data), A)) == ("(not attributed)", 0, True)
    assert verdicts_of(passes, names(net)) == (Verdict("ledger", "unseen", A.abs().max().item(), 0.0, 0.0, "w"),)


def test_an_assignment_to_some_elements_is_a_use() -> None:
    def forward(self, a: Tensor) -> Tensor:
        h = a * self.scale
        mask = torch.tensor([True, False])
        h[mask] = self.w
        h[1, :2] = self.w[:2] * 3
        h.index_put_((torch.tensor(1), torch.tensor(2)), self.w[2])
        return h

    net = Of(forward, w=w(3), scale=w(1))
    passes = passes_of(net, A)
    found = [use for use in uses_of(passes, names(net)) if use.parameter == "w"]
    assert [(use.op, use.gradient.data) for use in found] == [
        ("__setitem__", [1.0, 1.0, 1.0]),
        ("__getitem__", [3.0, 3.0, 0.0]),
        ("__getitem__", [0.0, 0.0, 1.0]),
    ]
    torch.testing.assert_close(net.w.grad, torch.tensor([4.0, 4.0, 2.0]))
    assert {verdict.verdict for verdict in verdicts_of(passes, names(net))} == {"reconciles"}


def test_what_a_hook_on_the_parameter_adds_is_not_attributed() -> None:
    net = nn.Sequential(nn.Linear(3, 3, bias=False))
    plain = bare(net, A)["0.weight"]
    net[0].weight.register_hook(lambda grad: grad * 3)
    found = uses(net, A)
    assert [use.op for use in found] == ["linear", "(not attributed)"]
    torch.testing.assert_close(torch.tensor(found[0].gradient.data), plain)
    torch.testing.assert_close(torch.tensor(found[1].gradient.data), 2 * plain)
    torch.testing.assert_close(net[0].weight.grad, 3 * plain)


def test_a_hook_that_changes_the_gradient_in_place_is_seen_too() -> None:
    net = nn.Sequential(nn.Linear(3, 3, bias=False))
    plain = bare(net, A)["0.weight"]
    net[0].weight.register_hook(lambda grad: grad.mul_(3))
    found = uses(net, A)
    assert [use.op for use in found] == ["linear", "(not attributed)"]
    torch.testing.assert_close(torch.tensor(found[1].gradient.data), 2 * plain)


def test_what_a_hook_after_the_accumulation_adds_is_not_attributed() -> None:
    net = nn.Sequential(nn.Linear(3, 3, bias=False))
    plain = bare(net, A)["0.weight"]

    def scale(parameter: Tensor) -> None:
        parameter.grad.mul_(3)

    net[0].weight.register_post_accumulate_grad_hook(scale)
    found = uses(net, A)
    assert [use.op for use in found] == ["linear", "(not attributed)"]
    torch.testing.assert_close(torch.tensor(found[1].gradient.data), 2 * plain)


def test_a_gradient_that_a_hook_drops_is_still_reported() -> None:
    net = nn.Sequential(nn.Linear(3, 3, bias=False))
    plain = bare(net, A)["0.weight"]

    def drop(parameter: Tensor) -> None:
        parameter.grad = None

    net[0].weight.register_post_accumulate_grad_hook(drop)
    for follow in ((), tuple(net.parameters())):
        passes = run_passes(net, Batch((Given(A),)), Loss(), follow=follow)
        assert net[0].weight.grad is None
        assert gradient_of(net[0].weight, passes, wanted=True).data == plain.tolist()
    assert [use.op for use in uses_of(passes, names(net))] == ["linear"]


def test_a_gradient_that_overflows_is_no_remainder() -> None:
    net = Of(lambda self, a: (self.w * 60_000).sum() + (self.w * 50_000).sum(), w=nn.Parameter(torch.ones(2).half()))
    passes = passes_of(net, A)
    assert net.w.grad.tolist() == [float("inf")] * 2
    assert [use.gradient.mean for use in uses_of(passes, names(net))] == [60_000.0, 49_984.0]
    assert [verdict.verdict for verdict in verdicts_of(passes, names(net))] == ["reconciles"]


def test_nan_contributions_reconcile_with_a_nan_gradient() -> None:
    net = Of(lambda self, a: (self.w * float("nan")).sum() + self.w.sum(), w=w(2))
    passes = passes_of(net, A)
    assert [use.gradient.status for use in uses_of(passes, names(net))] == ["nonfinite", "ok"]
    assert [verdict.verdict for verdict in verdicts_of(passes, names(net))] == ["reconciles"]


def test_on_meta_the_uses_are_known_and_their_figures_are_not() -> None:
    layer = nn.Linear(3, 3, device="meta", bias=False)
    net = nn.Sequential(layer, layer)
    passes = passes_of(net, torch.empty(2, 3, device="meta"))
    found = uses_of(passes, names(net))
    assert [(use.module, use.gradient.status) for use in found] == [("0", "unknown"), ("1", "unknown")]
    assert verdicts_of(passes, names(net)) == ()


# --- checkpoints: the backward calls the forward again ----------------------------------------------------------


def checkpointed(reentrant: bool) -> nn.Module:
    def run(self: Of, a: Tensor) -> Tensor:
        a = self.first(a).tanh()
        for _ in range(2):
            a = checkpoint(lambda a: self.block(a) @ self.w, a, use_reentrant=reentrant)
        return self.last(a)

    block = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    return seeded(lambda: Of(run, first=nn.Linear(3, 3), block=block, w=w(3, 3), last=block[0]))


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_is_counted_once_and_in_the_order_of_the_forward(reentrant: bool) -> None:
    net = checkpointed(reentrant)
    once = copy.deepcopy(net)
    once.run = lambda self, a: self.last(self.block(self.block(self.first(a).tanh()) @ self.w) @ self.w)
    expected, plain = bare(net, A), uses(once, A)
    passes = passes_of(net, A)
    assert passes.error is None
    found = uses_of(passes, names(net))
    assert placed(found) == placed(plain)
    for one, other in zip(found, plain, strict=True):
        torch.testing.assert_close(torch.tensor(one.gradient.data), torch.tensor(other.gradient.data))
    for name, parameter in net.named_parameters():
        assert torch.equal(parameter.grad, expected[name])
    assert {verdict.verdict for verdict in verdicts_of(passes, names(net))} == {"reconciles"}


@pytest.mark.parametrize("reentrant", [False, True])
def test_the_layers_of_a_checkpoint_are_listed_once_with_their_gradients(reentrant: bool) -> None:
    net = checkpointed(reentrant)
    once = copy.deepcopy(net)
    once.run = lambda self, a: self.last(self.block(self.block(self.first(a).tanh()) @ self.w) @ self.w)
    found, plain = passes_of(net, A).layers(), passes_of(once, A).layers()
    assert [(one.module, one.type, one.out) for one in found] == [(one.module, one.type, one.out) for one in plain]
    assert [one.grad.rms for one in found] == pytest.approx([one.grad.rms for one in plain], rel=1e-6)


# --- what else must work ----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_a_lazy_module_takes_shape_before_its_uses() -> None:
    net = nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d())
    found = uses(net, A)
    assert placed(found) == [
        ("0.weight", "0", "linear"),
        ("0.bias", "0", "linear"),
        ("1.weight", "1", "batch_norm"),
        ("1.bias", "1", "batch_norm"),
    ]
    torch.testing.assert_close(contributions(found, "0.weight"), [net[0].weight.grad])


def test_a_weight_with_thousands_of_uses_holds_no_thousand_gradients() -> None:
    def loop(self: Of, a: Tensor) -> Tensor:
        for _ in range(2000):
            a = a + 1e-3 * torch.tanh(a @ self.w)
        return a

    net = Of(loop, w=w(40, 40))
    passes = passes_of(net, x(2, 40))
    records = passes.ledger.records
    assert len(records) == 2000
    assert all(record.elements is None for record in records)
    assert all(account.rest is None and account.received is None for account in passes.ledger.accounts.values())
    assert [verdict.verdict for verdict in verdicts_of(passes, names(net))] == ["reconciles"]


def test_elements_come_only_when_wanted() -> None:
    net = nn.Sequential(nn.Linear(2, 2))
    passes = passes_of(net, x(1, 2))
    assert [use.gradient.data is None for use in uses_of(passes, names(net), wanted=False)] == [True, True]
    assert [use.gradient.data is None for use in uses_of(passes, names(net))] == [False, False]


def test_a_frozen_parameter_has_uses_without_a_gradient() -> None:
    layer = nn.Linear(3, 3)
    layer.weight.requires_grad_(False)
    found = uses(nn.Sequential(layer, layer), A)
    assert [(u.parameter, u.gradient.status) for u in found] == [
        ("0.weight", "frozen"),
        ("0.bias", "ok"),
        ("0.weight", "frozen"),
        ("0.bias", "ok"),
    ]


def test_a_use_that_the_loss_does_not_depend_on_is_disconnected() -> None:
    def run(self: Of, a: Tensor) -> Tensor:
        self.inner(a)
        return self.inner(a).relu()

    found = uses(Of(run, inner=nn.Linear(3, 3, bias=False)), A)
    assert [use.gradient.status for use in found] == ["disconnected", "ok"]


def test_without_a_backward_no_use_was_run() -> None:
    net = nn.Linear(2, 2)
    passes = run_passes(net, Batch((Given(x(1, 2)),)), Loss(), follow=tuple(net.parameters()), backward=False)
    assert [use.gradient.status for use in uses_of(passes, names(net))] == ["not-run", "not-run"]


def test_no_hook_is_left_on_any_parameter() -> None:
    net = Of(lambda self, a: (self.inner(a), self.w), inner=nn.Linear(3, 3), w=w(3))
    net.inner.weight.register_hook(lambda grad: None)
    kept = dict(net.inner.weight._backward_hooks)
    passes_of(net, A)
    assert net.w._backward_hooks is None
    assert net.inner.bias._backward_hooks is None
    assert dict(net.inner.weight._backward_hooks) == kept


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_gradients_that_the_caller_switched_off_are_on(off: Callable[[], object]) -> None:
    net = nn.Linear(3, 3)
    with off():
        passes = run_passes(net, Batch((Given(A),)), Loss(), follow=tuple(net.parameters()))
    assert [use.gradient.status for use in uses_of(passes, names(net))] == ["ok", "ok"]


class Heard(TorchFunctionMode):
    """Note every call that reaches a mode of the user's, or that which watches for writes."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.names.append(name_of(func))
        return func(*args, **(kwargs or {}))


def test_other_modes_hear_of_what_the_model_calls_alone() -> None:
    net, x, heard = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), torch.randn(5, 3), Heard()
    run_passes(net, Batch((Given(x),)), Loss(), follow=tuple(net.parameters()), contain=lambda: heard)
    assert heard.names == ["linear", "tanh", "linear", "numel", "ones_like"]  # these two start the backward
