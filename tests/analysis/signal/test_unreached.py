"""Where theory cannot reach it says nothing: no false number, and it goes on from what was measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

from paraminspect.report import SignalLayer
from tests.analysis.signal.following import draw, layer, mlp, signal
from tests.cases import each

N = 64


class Model(nn.Module):
    """A first layer, then what `act` does, then a last layer."""

    def __init__(self, act: Callable[[Any, Tensor], Tensor], width: int = N) -> None:
        super().__init__()
        self.first, self.inner, self.second, self.last = (nn.Linear(N, N) for _ in range(3)), None, None, None
        self.first, self.inner, self.second = nn.Linear(N, N), nn.Linear(N, N), nn.Linear(N, N)
        self.last = nn.Linear(width, N)
        self.vector = nn.Parameter(torch.ones(N))
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.act(self, self.first(x)))


def _expand(_: Model, h: Tensor) -> Tensor:
    return h[:, :1].expand(-1, N)


def _unseen_write(_: Model, h: Tensor) -> Tensor:
    h.view(-1).relu_()
    return h


def _set_item(_: Model, h: Tensor) -> Tensor:
    h[:, : N // 2] = 0.0
    return h


def _through_numpy(_: Model, h: Tensor) -> Tensor:
    return torch.from_numpy(h.detach().numpy() * 2)


def _out(_: Model, h: Tensor) -> Tensor:
    return torch.mul(h.detach(), 3.0, out=torch.empty_like(h))


def _generated(model: Model, h: Tensor) -> Tensor:
    return functional.linear(h, h.t() @ h)


LOST: dict[str, Callable[[Model, Tensor], Tensor]] = {
    "x + relu(x)": lambda m, h: h + functional.relu(h),
    "x + x": lambda m, h: h + h,
    "a gate": lambda m, h: h * torch.sigmoid(m.inner(h)),
    "softmax": lambda m, h: functional.softmax(h, -1),
    "batch norm": lambda m, h: functional.batch_norm(h, None, None, training=True),
    "normalize": lambda m, h: functional.normalize(h, dim=-1),
    "expand": _expand,
    "a slice": lambda m, h: h[:, torch.zeros(N, dtype=torch.long)],
    "padding": lambda m, h: functional.pad(h[:, : N // 2], (0, N // 2)),
    "cat": lambda m, h: torch.cat([h[:, : N // 2], h[:, : N // 2]], 1),
    "a mean": lambda m, h: h - h.mean(),
    "abs": lambda m, h: h.abs(),
    "power": lambda m, h: h**3,
    "an activation twice": lambda m, h: torch.tanh(torch.relu(h)),
    "a view that is written to": _unseen_write,
    "a slice that is written to": _set_item,
    "out": _out,
    "a weight of the signal": _generated,
    "the same weight from both sides": lambda m, h: functional.linear(
        functional.linear(h, m.inner.weight), m.inner.weight.t()
    ),
    "a sum of two uses": lambda m, h: m.inner(functional.relu(h)) + m.inner(functional.relu(-h)),
}


@each("name", LOST)
def test_nothing_is_expected_of_what_comes_after(name: str) -> None:
    torch.manual_seed(0)
    module = Model(LOST[name])
    found = signal(module, torch.randn(32, N), drawn=draw(module, bias=0.1))
    measured = found.layers[-1].pre.rms
    assert measured is not None
    expected = found.layers[-1].expected.pre.rms
    assert expected == pytest.approx(measured, rel=0.25)  # it goes on from what was measured
    before = layer(found, "first")
    assert before.expected.pre.rms == pytest.approx(2.02**0.5, rel=0.1)
    if name not in ("an activation twice", "the same weight from both sides", "a sum of two uses"):
        assert before.expected.grad_rms is None


def test_a_slot_written_after_reading_is_seen() -> None:
    """A write through a view, then another layer: the pre-activation keeps what was measured before it."""
    torch.manual_seed(0)
    module = Model(_unseen_write)
    found = signal(module, torch.randn(32, N), drawn=draw(module))
    assert found.layers[0].expected.pre.rms == pytest.approx(found.layers[0].pre.rms, rel=0.1)
    half = found.layers[0].pre.rms / 2**0.5
    assert found.layers[1].pre.rms == pytest.approx(2**0.5 * half, rel=0.15)


class Sum(nn.Module):
    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last, self.act = nn.Linear(N, N), nn.Linear(N, N), act

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.act(self.first(x)))


@pytest.mark.parametrize(
    ("act", "factor"),
    [
        (lambda h: h + h, 4.0),
        (lambda h: h + functional.relu(h), 2.5),
        (lambda h: torch.tanh(h) + functional.relu(h), None),
    ],
)
def test_gradients_that_have_something_in_common_are_not_added_up(act: Any, factor: float | None) -> None:
    torch.manual_seed(0)
    module = Sum(act)
    found = signal(module, torch.randn(64, N), drawn=draw(module))
    first, last = layer(found, "first"), layer(found, "last")
    assert first.expected.grad_rms is None
    if factor is not None:
        assert first.grad_rms**2 == pytest.approx(2 * factor * last.grad_rms**2, rel=0.3)


def _shifted(module: nn.Module) -> None:
    nn.init.normal_(module.first.weight, 0.5, 0.1)


@pytest.mark.parametrize("known", [False, True])
def test_weights_with_a_mean_are_not_reached(known: bool) -> None:
    torch.manual_seed(0)
    module = Sum(torch.tanh)
    drawn = draw(module)
    nn.init.constant_(module.first.weight, 0.1)
    drawn[id(module.first.weight)] = _constant() if known else drawn.pop(id(module.first.weight))
    if not known:
        del drawn[id(module.first.weight)]
    found = signal(module, torch.rand(32, N), drawn=drawn)
    first, last = layer(found, "first"), layer(found, "last")
    assert first.expected.pre.rms is first.expected.out.rms is None
    assert last.expected.pre.rms == pytest.approx(last.pre.rms, rel=0.3)


def _constant() -> Any:
    from paraminspect.init.schemes.expected_moments import constant

    return constant(0.1)


def test_tied_embeddings_are_not_reached() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.head = nn.Embedding(50, N), nn.Linear(N, 50, bias=False)
            self.head.weight = self.emb.weight

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.emb(ids))

    found = signal(Tied(), torch.arange(20))
    assert [(row.type, row.expected.pre.rms) for row in found.layers] == [("Embedding", None), ("Linear", None)]


class Head(nn.Module):
    def __init__(self, change: Callable[[nn.Module], nn.Module]) -> None:
        super().__init__()
        self.body = nn.Sequential(change(nn.Linear(N, N)), nn.ReLU(), change(nn.Linear(N, N)))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@pytest.mark.parametrize(
    "change",
    [
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        parametrizations.orthogonal,
        lambda one: prune.random_unstructured(one, "weight", 0.5),
    ],
)
def test_computed_weights_count_with_the_moments_that_they_have(change: Callable[[nn.Module], nn.Module]) -> None:
    torch.manual_seed(0)
    found = signal(Head(change).eval(), torch.randn(64, N))
    for row in found.layers:
        assert row.expected.pre.rms == pytest.approx(row.pre.rms, rel=0.2)


def test_a_pre_activation_that_is_not_normal_has_no_expected_activation() -> None:
    torch.manual_seed(0)

    class Direct(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(N, N)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.tanh(x))

    module = Direct()
    found = signal(module, torch.rand(32, N), drawn=draw(module))
    assert [row.expected.out.rms is None for row in found.layers] == [True, False]
    assert found.layers[1].expected.pre.rms == pytest.approx(found.layers[1].pre.rms, rel=0.2)


def test_theory_picks_up_after_attention() -> None:
    torch.manual_seed(0)
    encoder = nn.TransformerEncoderLayer(N, 4, 2 * N, batch_first=True, norm_first=True, dropout=0.0)
    found = signal(encoder, torch.randn(8, 6, N))
    reached = {(row.module, row.type): row.expected.pre.rms is not None for row in found.layers}
    assert reached == {
        ("norm1", "LayerNorm"): True,
        ("self_attn", "MultiheadAttention"): False,
        ("", "sum"): True,
        ("norm2", "LayerNorm"): True,
        ("linear1", "Linear"): True,
        ("linear2", "Linear"): True,
    }
    for row in found.layers:
        if row.expected.pre.rms is not None:
            assert row.expected.pre.rms == pytest.approx(row.pre.rms, rel=0.2)
    assert (
        "theory does not reach self_attn (MultiheadAttention), the model (sum): what was measured there stands in"
        in found.notes
    )


def _samples_moved(h: Tensor) -> Tensor:
    return h.reshape(8, 4, N).transpose(0, 1)


@pytest.mark.parametrize("act", [_samples_moved, lambda h: h.t().contiguous().t(), lambda h: h.reshape(16, -1, N)])
def test_a_cosine_is_expected_only_between_samples(act: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    module = Sum(act)
    found = signal(module, torch.randn(32, N) + 1, drawn=draw(module))
    row = layer(found, "last")
    if row.expected.cosine is not None:
        assert row.expected.cosine == pytest.approx(row.cosine, abs=0.08)
    assert layer(found, "first").expected.cosine == pytest.approx(layer(found, "first").cosine, abs=0.08)


def test_nothing_of_one_row_is_claimed_where_weights_are_not_numbers() -> None:
    module = mlp([N, N, N], nn.ReLU)
    with torch.no_grad():
        module[0].weight[0, 0] = float("inf")
    found = signal(module, torch.randn(8, N))
    expected: list[SignalLayer] = [row for row in found.layers if row.expected.pre.rms is not None]
    assert [row.module for row in expected] == []


def test_a_norm_of_unequal_tokens_has_no_expected_gradient() -> None:
    """Where one token is small its norm makes the gradient large: a mean over all would be a false number."""
    torch.manual_seed(0)

    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm, self.last = nn.Linear(N, N), nn.LayerNorm(N), nn.Linear(N, N)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.norm(self.first(x)))

    module, x = Normed(), torch.randn(8, 5, N)
    even = signal(module, x, drawn=draw(module))
    x[:, 0] *= 0.01
    uneven = signal(module, x, drawn=draw(module))
    assert layer(even, "first").expected.grad_rms == pytest.approx(layer(even, "first").grad_rms, rel=0.1)
    assert layer(uneven, "first").expected.grad_rms is None
    assert layer(uneven, "norm").expected.pre.rms == pytest.approx(1.0, rel=0.01)


def test_whole_numbers_are_followed_until_they_are_embedded() -> None:
    class Reshaping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.last = nn.Embedding(50, N), nn.Linear(N, 3)

        def forward(self, ids: Tensor) -> Tensor:
            return self.last(self.emb(ids.view(-1, 4).contiguous()))

    found = signal(Reshaping(), torch.arange(20))
    assert [(row.module, row.grad_rms is None) for row in found.layers] == [("emb", False), ("last", False)]
    assert found.layers[1].expected.pre.rms == pytest.approx(found.layers[1].pre.rms, rel=0.2)


def test_what_theory_has_no_word_for_is_named() -> None:
    torch.manual_seed(0)
    module = Model(LOST["softmax"])
    notes = signal(module, torch.randn(8, N), drawn=draw(module)).notes
    assert "theory does not know softmax in the model: what was measured there stands in" in notes


def test_a_sum_of_fewer_dimensions_than_the_layer_before_it_is_followed() -> None:
    class Windows(nn.Module):  # as Swin Transformers have them
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.first(x).flatten(1, 2)
            return tokens + self.second(tokens)

    found = signal(Windows(), torch.randn(4, 2, 3, 8))
    assert [(one.type, one.width) for one in found.layers] == [("Linear", 8), ("Linear", 8), ("sum", 8)]
    assert not any("could not be followed" in note for note in found.notes)
