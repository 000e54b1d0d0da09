"""The samples are compared along the dimension that counts them, wherever a forward takes them; elsewhere not at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from paraminspect.analysis.signal.figures import cosine, effective_rank
from tests.analysis.signal.following import layer, signal, traced
from tests.cases import each


class _Forward(nn.Module):
    """Run a function on the input."""

    def __init__(self, run: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)


_KEPT: dict[str, Callable[[Tensor], Tensor]] = {
    "itself": lambda x: x.relu(),
    "transpose": lambda x: x.transpose(0, 1),
    "permute": lambda x: x.permute(2, 0, 1).contiguous(),
    "in place": lambda x: x.clone().transpose_(0, 2),
    "merged": lambda x: x.reshape(12, 6),
    "merged and back": lambda x: x.reshape(12, 6).reshape(3, 24).reshape(3, 2, 12),
    "merged behind another": lambda x: x.transpose(0, 1).reshape(2, 6, 6)[:, :, 0],
    "windows": lambda x: x.view(3, 2, 2, 6).transpose(1, 2).reshape(6, 2, 6),
    "one place": lambda x: x.transpose(0, 1)[-1],
    "one place in front": lambda x: x[None, :, 0],
    "chunk": lambda x: x.transpose(0, 2).chunk(2)[1],
    "mean": lambda x: x.transpose(0, 1).mean(0),
    "mean of two": lambda x: x.permute(1, 0, 2).amax((0, -1)),
    "stack": lambda x: torch.stack([x, x]),
    "stack behind": lambda x: torch.stack([x, x], dim=-1),
    "einsum": lambda x: torch.einsum("n t c -> t c n", x),
    "rolled": lambda x: x.transpose(0, 1).roll(1, 0),
    "pooled": lambda x: nn.functional.avg_pool1d(x, 2),
    "a sum with what is lost": lambda x: x + 0 * x.sum(0),
    "a product": lambda x: torch.eye(6) @ x.transpose(1, 2),
}


@each("name", _KEPT)
def test_the_samples_are_found_wherever_they_went(name: str) -> None:
    """Every element holds the number of its sample."""
    x = torch.arange(1.0, 4.0)[:, None, None].expand(3, 4, 6).contiguous()
    module = _Forward(_KEPT[name])
    axis = traced(module, x).graph.outputs[0].axis
    assert axis is not None
    first = axis.first(module(x))
    assert first.shape[0] == 3
    assert torch.equal(first, torch.arange(1.0, 4.0).reshape(-1, *[1] * (first.dim() - 1)).expand_as(first))


_LOST: dict[str, Callable[[Tensor], Tensor]] = {
    "one sample": lambda x: x[0],
    "mean over the samples": lambda x: x.mean(0),
    "some of the samples": lambda x: x[1:],
    "stacked in their place": lambda x: torch.stack([x[0], x[1], x[2]]),
    "split apart": lambda x: x.reshape(8, 9),
    "einsum over the samples": lambda x: torch.einsum("ntc,ntd->cd", x, x),
    "a product that adds them up": lambda x: torch.ones(3, 3) @ x[:, :, 0],
    "two ways": lambda x: x[:, :3, :3] @ x[:, :3, :3].transpose(0, 1),
}


@each("name", _LOST)
def test_where_it_is_not_known_nothing_is_said_of_samples(name: str) -> None:
    trace = traced(_Forward(_LOST[name]), torch.rand(3, 4, 6))
    assert trace.graph.outputs[0].axis is None


class _Sequences(nn.Module):
    """Run a recurrent layer or a transformer on what `move` makes of the input, then a readout."""

    def __init__(self, run: nn.Module, move: bool = False) -> None:
        super().__init__()
        self.run, self.move = run, move
        self.readout = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        found = self.run(x.transpose(0, 1) if self.move else x)
        return self.readout(found[0] if isinstance(found, tuple) else found)


def _encoder(batch_first: bool = False) -> nn.Module:
    return nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=batch_first)


_SEQUENCES: dict[str, tuple[Callable[[], nn.Module], bool, tuple[int, ...], int]] = {
    "LSTM": (lambda: nn.LSTM(8, 8), False, (7, 2, 8), 1),
    "LSTM, moved": (lambda: nn.LSTM(8, 8), True, (2, 7, 8), 1),
    "GRU, batch first": (lambda: nn.GRU(8, 8, 3, batch_first=True), False, (2, 7, 8), 0),
    "RNN": (lambda: nn.RNN(8, 4, bidirectional=True), False, (7, 2, 8), 1),
    "encoder": (_encoder, False, (7, 2, 8), 1),
    "encoder, moved": (_encoder, True, (2, 7, 8), 1),
    "encoder, batch first": (lambda: _encoder(batch_first=True), False, (2, 7, 8), 0),
}


@each("name", _SEQUENCES)
def test_recurrent_layers_and_transformers_say_which_dimension_counts_the_samples(name: str) -> None:
    build, move, shape, dim = _SEQUENCES[name]
    torch.manual_seed(0)
    module, x = _Sequences(build(), move), torch.randn(shape)
    found = signal(module, x)
    out = module(x).detach().movedim(dim, 0)
    last = layer(found, "readout")
    assert found.samples == 2
    assert last.cosine == pytest.approx(cosine(out), rel=1e-4)
    assert last.rank == pytest.approx(effective_rank(out), rel=1e-4)
    assert all(1.0 <= one.rank <= 2.0 for one in found.layers if one.rank is not None)


def test_the_states_of_a_recurrent_layer_have_the_samples_along_dimension_1() -> None:
    torch.manual_seed(0)
    module, x = nn.LSTM(8, 8, 3, batch_first=True), torch.randn(2, 7, 8)
    output, (hidden, cell) = module(x)
    found = [one.cosine for one in signal(module, x).layers]
    wanted = [cosine(one.detach()) for one in (output, hidden.transpose(0, 1), cell.transpose(0, 1))]
    assert found == pytest.approx(wanted, rel=1e-4)


def test_what_came_before_a_layer_that_takes_time_first_is_not_compared_along_time() -> None:
    module = nn.Sequential(nn.Embedding(20, 8), nn.LSTM(8, 8))
    found = signal(module, torch.randint(20, (7, 2)))
    assert found.samples == 2
    assert (found.layers[0].cosine, found.layers[0].rank) == (None, None)
    assert found.layers[1].rank is not None


def test_an_input_that_stays_the_same_in_time_is_not_one_of_samples_alike() -> None:
    found = signal(nn.LSTM(8, 8), torch.randn(1, 2, 8).expand(7, 2, 8))
    assert not any("samples" in note for note in found.notes)
    assert any("samples" in note for note in signal(nn.Linear(8, 8), torch.randn(1, 2, 8).expand(7, 2, 8)).notes)


@each("build", [lambda: nn.LSTM(8, 8), _encoder])
def test_a_sequence_without_a_batch_has_no_samples(build: Callable[[], nn.Module]) -> None:
    found = signal(_Sequences(build()), torch.randn(7, 8))
    assert found.samples is None
    assert {(one.cosine, one.rank) for one in found.layers} == {(None, None)}


class _Packed(nn.Module):
    """Run a recurrent layer on sequences of several lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.run = nn.GRU(8, 8)
        self.readout = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([7, 4]))
        padded, _ = nn.utils.rnn.pad_packed_sequence(self.run(packed)[0])
        return self.readout(padded)


def test_of_packed_sequences_nobody_knows_and_padded_ones_are_compared() -> None:
    torch.manual_seed(0)
    module, x = _Packed(), torch.randn(7, 2, 8)
    found = signal(module, x)
    assert [one.cosine is None for one in found.layers] == [True, False, False]
    assert found.layers[-1].cosine == pytest.approx(cosine(module(x).detach().transpose(0, 1)), rel=1e-4)


class _Unrolled(nn.Module):
    """Run a recurrent cell along dimension 0, as torch's documentation does."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(2, 8)
        for one in x:
            state = self.cell(one, state)
        return state


def test_cells_say_it_too() -> None:
    torch.manual_seed(0)
    module, x = _Unrolled(), torch.randn(7, 2, 8)
    found = signal(module, x)
    assert found.samples == 2
    assert found.layers[-1].cosine == pytest.approx(cosine(module(x).detach()), rel=1e-4)
