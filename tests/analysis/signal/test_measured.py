"""What is measured, beside the same figures in plain torch: hooks, retain_grad, the same cotangent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from paraminspect.report import SignalMoments
from tests.analysis.signal.following import rms, signal, traced
from tests.cases import each

Values = dict[str, Tensor]


class Seen(nn.Module):
    """A model that keeps what it computes, as its test wants it: `pre` and `out` of every layer by name."""

    def __init__(self, **layers: nn.Module) -> None:
        super().__init__()
        self.pre: Values = {}
        self.out: Values = {}
        for name, module in layers.items():
            self.add_module(name, module)

    def keep(self, name: str, pre: Tensor, out: Tensor | None = None) -> Tensor:
        """Keep copies; of `pre` the tensor itself where its gradient is wanted."""
        self.pre[name], self.out[name] = pre.clone(), (pre if out is None else out).clone()
        return pre if out is None else out


class Functional(Seen):
    def forward(self, x: Tensor) -> Tensor:
        for name in ("a", "b", "c"):
            z = self.get_submodule(name)(x)
            x = self.keep(name, z, functional.relu(z))
        return x


class Products(Seen):
    def __init__(self) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(torch.randn(12, 8) / 3), nn.Parameter(torch.randn(8))
        self.v, self.u = nn.Parameter(torch.randn(5, 8)), nn.Parameter(torch.randn(7, 6))

    def forward(self, x: Tensor) -> Tensor:
        z = x @ self.w
        self.keep("", z)
        h = torch.tanh(z + self.b)
        return torch.addmm(torch.zeros(5), h, self.v.t())


class Loop(Seen):
    def forward(self, x: Tensor) -> Tensor:
        for turn in range(4):
            z = self.layer(x)
            x = self.keep(f"layer {turn}", z, torch.tanh(z))
        return x


def reference(module: nn.Module, x: Tensor, pick: Callable[[nn.Module], list[nn.Module]]) -> list[tuple[float, float]]:
    """Return rms of output and of gradient at some submodules, one for each call, by hooks and plain autograd."""
    seen: list[Tensor] = []

    def keep(_module: nn.Module, _args: Any, output: Tensor) -> None:
        seen.append(output)
        values.append(rms(output))

    values: list[float] = []
    handles = [one.register_forward_hook(keep) for one in pick(module)]
    y = module(x.clone().requires_grad_())
    c = torch.randn(y.shape)
    c = c / torch.linalg.vector_norm(c)
    grads = torch.autograd.grad((y * c.to(y.dtype)).sum(), seen, allow_unused=True)
    for handle in handles:
        handle.remove()
    return [(value, 0.0 if g is None else rms(g)) for value, g in zip(values, grads, strict=True)]


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def _weighted(kinds: tuple[type[nn.Module], ...]) -> Callable[[nn.Module], list[nn.Module]]:
    return lambda module: [one for one in module.modules() if isinstance(one, kinds)]


KINDS = (nn.Linear, nn.modules.conv._ConvNd, nn.LayerNorm, nn.RMSNorm, nn.Embedding)

MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 7), nn.Tanh(), nn.Linear(7, 3)), 9),
    "dropout": (lambda: nn.Sequential(nn.Linear(9, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 7)), 9),
    "norms": (lambda: nn.Sequential(nn.Linear(9, 8), nn.LayerNorm(8), nn.RMSNorm(8), nn.Linear(8, 2)), 9),
    "residual": (lambda: nn.Sequential(nn.Linear(9, 8), Residual(nn.Linear(8, 8)), nn.Linear(8, 2)), 9),
    "frozen": (lambda: nn.Sequential(nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 2)).requires_grad_(False), 9),
    "half frozen": (lambda: nn.Sequential(nn.Linear(9, 8).requires_grad_(False), nn.GELU(), nn.Linear(8, 2)), 9),
    "double": (lambda: nn.Sequential(nn.Linear(9, 8), nn.Mish(), nn.Linear(8, 2)).double(), 9),
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(6, 8, 3, padding="same", dilation=2, groups=2),
            nn.ELU(),
            nn.ConvTranspose2d(8, 4, 3, stride=2, output_padding=1),
            nn.Conv2d(4, 2, 2, padding="valid"),
        ),
        0,
    ),
    "unbatched": (lambda: nn.Sequential(nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 2)), -9),
}


def _input(size: Any, module: nn.Module) -> Tensor:
    shape = (4, 3, 9, 8) if size == 0 else (abs(size),) if size < 0 else (5, size)
    return torch.randn(shape, dtype=next(module.parameters()).dtype)


@each("thorough", [False, True])
@each("name", MODELS)
def test_every_layer_has_the_figures_of_plain_torch(name: str, thorough: bool) -> None:
    build, size = MODELS[name]
    torch.manual_seed(0)
    module = build()
    x = _input(size, module)
    torch.manual_seed(1)
    expected = reference(module, x, _weighted(KINDS))
    torch.manual_seed(1)
    found = signal(module, x, thorough=thorough)
    rows = [row for row in found.layers if row.type != "sum"]
    assert [(row.pre.rms, row.grad_rms) for row in rows] == [
        (pytest.approx(a, rel=1e-5), pytest.approx(b, rel=1e-4)) for a, b in expected
    ]


@pytest.mark.parametrize("seeded", [3, 4])
def test_a_functional_activation_belongs_to_the_layer_before(seeded: int) -> None:
    torch.manual_seed(seeded)
    module = Functional(a=nn.Linear(6, 8), b=nn.Linear(8, 8), c=nn.Linear(8, 4))
    found = signal(module, torch.randn(5, 6))
    assert [(row.module, row.activation) for row in found.layers] == [("a", "relu"), ("b", "relu"), ("c", "relu")]
    for row in found.layers:
        pre, out = module.pre[row.module], module.out[row.module]
        assert (row.pre, row.out) == (_moments(pre), _moments(out))
        assert row.dead == float((out == 0).all(0).double().mean())


def _moments(tensor: Tensor) -> Any:
    return SignalMoments(
        pytest.approx(float(tensor.detach().mean()), rel=1e-4, abs=1e-7), pytest.approx(rms(tensor), rel=1e-5)
    )


class Inplace(Seen):
    def forward(self, x: Tensor) -> Tensor:
        z = self.a(x)
        self.pre["a"] = z.clone()
        z = functional.relu(z, inplace=True)
        self.out["a"] = z.clone()
        z = self.b(z)
        self.pre["b"] = z.clone()
        z.tanh_()
        self.out["b"] = z.clone()
        z = self.c(z)
        self.keep("c", z)
        z.mul_(0.5).add_(1.0)
        return z


def test_an_activation_in_place_leaves_what_was_measured_before_it() -> None:
    torch.manual_seed(0)
    module = Inplace(a=nn.Linear(6, 8), b=nn.Linear(8, 8), c=nn.Linear(8, 4))
    x = torch.randn(5, 6)
    torch.manual_seed(1)
    found = signal(module, x)
    for row in found.layers:
        assert (row.pre, row.out) == (_moments(module.pre[row.module]), _moments(module.out[row.module]))
    plain = nn.Sequential(module.a, nn.ReLU(), module.b, nn.Tanh(), module.c)
    torch.manual_seed(1)
    gradients = [gradient for _, gradient in reference(plain, x, _weighted((nn.Linear,)))]
    assert [row.grad_rms for row in found.layers] == pytest.approx([g * 0.5 for g in gradients], rel=1e-4)


def test_products_with_parameters_are_layers_too() -> None:
    torch.manual_seed(0)
    module = Products()
    found = signal(module, torch.randn(5, 12))
    kinds = [(row.fan_in, row.width, row.parameter, row.activation) for row in found.layers]
    assert kinds == [(12, 8, "w", None), (None, None, None, "tanh"), (8, 5, "v", None)]
    assert found.layers[0].pre == _moments(module.pre[""])


def test_what_a_layer_returns_besides_goes_by_the_name_that_torch_gives_it() -> None:
    cases = {
        nn.LSTM(4, 4): ["output", "h_n", "c_n"],
        nn.GRU(4, 4): ["output", "h_n"],
        nn.LSTMCell(4, 4): ["h_1", "c_1"],
        nn.GRUCell(4, 4): [None],
        nn.TransformerEncoderLayer(4, 1, 4).self_attn: ["attn_output", "attn_output_weights"],
    }
    for module, names in cases.items():
        x = torch.randn(3, 4) if isinstance(module, nn.RNNCellBase) else torch.randn(5, 3, 4)
        found = signal(module, *[x] * (3 if isinstance(module, nn.MultiheadAttention) else 1))
        assert [one.output for one in found.layers] == names


def test_a_layer_called_again_is_another_depth() -> None:
    torch.manual_seed(0)
    module = Loop(layer=nn.Linear(8, 8))
    found = signal(module, torch.randn(5, 8))
    assert [row.depth for row in found.layers] == [1, 2, 3, 4]
    for turn, row in enumerate(found.layers):
        assert (row.pre, row.out) == (_moments(module.pre[f"layer {turn}"]), _moments(module.out[f"layer {turn}"]))
    assert "used more than once: layer; theory takes every use for an independent layer" in found.notes


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        inner = lambda h: torch.tanh(self.b(h))  # noqa: E731 - as users write it
        return self.c(checkpoint(inner, functional.relu(self.a(x)), use_reentrant=self.reentrant))


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_is_followed(reentrant: bool) -> None:
    torch.manual_seed(0)
    module = Checkpointed(reentrant)
    x = torch.randn(5, 6)
    plain = nn.Sequential(module.a, nn.ReLU(), module.b, nn.Tanh(), module.c)
    torch.manual_seed(1)
    expected = reference(plain, x, _weighted((nn.Linear,)))
    torch.manual_seed(1)
    found = signal(module, x)
    assert [row.pre.rms for row in found.layers] == pytest.approx([value for value, _ in expected], rel=1e-5)
    gradients = [gradient for _, gradient in expected]
    if reentrant:  # what it recomputes in the backward is out of sight
        gradients[1] = None
    assert [row.grad_rms for row in found.layers] == [
        None if g is None else pytest.approx(g, rel=1e-4) for g in gradients
    ]
    assert all(parameter.grad is None for parameter in module.parameters())


class Given(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, ids: Tensor, *, x: Tensor) -> dict[str, Any]:
        return {"first": self.a(x), "rest": (self.b(x), ids)}


def test_the_cotangent_has_norm_1_over_all_outputs() -> None:
    torch.manual_seed(0)
    module, x = Given(), torch.randn(5, 6)
    torch.manual_seed(1)
    found = signal(module, x=x, ids=torch.arange(5))
    torch.manual_seed(1)
    one, other = torch.randn(5, 4), torch.randn(5, 4)
    norm = (one.square().sum() + other.square().sum()).sqrt()
    assert [row.grad_rms for row in found.layers] == pytest.approx([rms(one / norm), rms(other / norm)], rel=1e-5)
    assert [row.expected.grad_rms for row in found.layers] == pytest.approx([40**-0.5] * 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_added_up_in_double(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 2048, bias=False)).to(dtype)
    x = torch.randn(64, 64).to(dtype)
    (row,) = signal(module, x).layers
    assert row.pre.rms == pytest.approx(rms(module(x)), rel=1e-12)


def test_overflow_is_named() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(*(nn.Linear(64, 64) for _ in range(6))).half()
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0, 4)
    found = signal(module, torch.randn(8, 64).half())
    assert [row.pre.rms is None or row.pre.rms > 1e4 for row in found.layers] == [False, False, True, True, True, True]
    assert "overflow: 2 (Linear) returns values beyond what float16 holds" in found.notes
    assert found.forward.verdict == "nonfinite"
    assert found.forward.leaves == 3


def test_a_compiled_module_is_followed() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    x = torch.randn(4, 6)
    torch.manual_seed(1)
    expected = signal(plain, x)
    torch.manual_seed(1)
    found = signal(torch.compile(plain, backend="eager"), x)
    assert [(row.pre, row.grad_rms) for row in found.layers] == [(row.pre, row.grad_rms) for row in expected.layers]


def test_where_autograd_was_switched_off_the_gradient_begins_anew() -> None:
    class Partly(Seen):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                x = self.a(x)
            return self.b(x.detach())

    found = signal(Partly(a=nn.Linear(6, 6), b=nn.Linear(6, 3)), torch.randn(4, 6))
    assert [row.grad_rms is None for row in found.layers] == [True, False]
    assert [row.expected.grad_rms is None for row in found.layers] == [True, False]


def test_no_operation_is_followed_twice_and_none_leaves_a_trace() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    trace = traced(module, torch.randn(3, 4))
    assert [type(node.effect).__name__ for node in trace.graph.nodes] == [
        "Effect",
        "ProductEffect",
        "ActivationEffect",
        "ProductEffect",
    ]
    assert not any(one._forward_hooks or one._backward_hooks for one in module.modules())
