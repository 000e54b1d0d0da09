"""What `share` says a kind of sharing does to a step, to a file and to a copy, done with torch itself."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from paraminspect.analysis.inventory import take_inventory
from paraminspect.analysis.sharing import find_sharing
from paraminspect.modules.subject import Ties
from paraminspect.page.sharing import MEANING
from tests.cases import each

safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
SIZE = 10_000  # elements: what torch.save writes around them is little beside them


def holding(*tensors: Tensor) -> nn.Module:
    module = nn.Module()
    for name, tensor in zip("ab", tensors, strict=False):
        setattr(module, name, tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor))
    return module


def kinds(module: nn.Module) -> set[str]:
    return {shared.kind for shared in find_sharing(take_inventory(module), Ties(), {})}


def base() -> Tensor:
    return torch.ones(100, 100)


def one_parameter() -> nn.Module:
    one = nn.Parameter(base())
    return holding(one, one)


def pair(cut: Callable[[Tensor], tuple[Tensor, ...]]) -> Callable[[], nn.Module]:
    return lambda: holding(*cut(base()))


def foreign() -> nn.Module:
    array = np.ones((100, 100), np.float32)
    return holding(torch.from_numpy(array), torch.from_numpy(array))


def one_buffer() -> nn.Module:
    mask = base()
    module = nn.Sequential(nn.Module(), nn.Module())
    for child in module:
        child.register_buffer("mask", mask)
    return module


MADE = {
    "same-parameter": one_parameter,
    "same-buffer": one_buffer,
    "same-view": pair(lambda x: (x, x)),
    "same-bytes-other-view": pair(lambda x: (x, x.t())),
    "nested": pair(lambda x: (x, x[:10])),
    "partial-overlap": pair(lambda x: (x[:60], x[40:])),
    "same-storage-disjoint": pair(lambda x: x.chunk(2)),
    "foreign-alias": foreign,
    "self-overlap": lambda: holding(torch.ones(1, 100).expand(100, 100)),
}
STEPPED_FOR_EACH = {"same-view", "same-bytes-other-view", "nested", "partial-overlap", "foreign-alias"}
SAVED_ONCE = {"same-parameter", "same-buffer", "same-view", "same-bytes-other-view", "nested", "partial-overlap"}
OWN_BYTES = STEPPED_FOR_EACH


def saying(part: str, text: str) -> set[str]:
    return {kind for kind, meaning in MEANING.items() if text in getattr(meaning, part)}


def saved(state: dict[str, Tensor]) -> tuple[int, dict[str, Tensor]]:
    """Return how many times SIZE elements torch.save writes, and what it loads again."""
    file = io.BytesIO()
    torch.save(state, file)
    length = file.tell()
    file.seek(0)
    return round(length / (4 * SIZE)), torch.load(file)


def test_every_claim_is_for_the_kinds_tested_here() -> None:
    assert saying("optimizer", "once for each") == STEPPED_FOR_EACH
    assert saying("saving", "writes the bytes once") == SAVED_ONCE
    assert saying("moving", "bytes of its own") == OWN_BYTES
    said = {kind for kind, one in MEANING.items() if one.optimizer or one.saving or one.moving}
    assert said == set(MADE) | APART


APART = {"not-shared", "equal-not-shared", "equal-buffers", "equal-constant"}


def test_equal_tensors_step_are_written_and_copied_apart(tmp_path: Path) -> None:
    """What shares no memory; a broken tie is of that sort too."""
    module = nn.ParameterDict({"a": torch.arange(3.0), "b": torch.arange(3.0)})
    assert kinds(copy.deepcopy(module)) == kinds(module) == set()
    module["a"].grad = torch.ones(3)
    torch.optim.SGD(module.parameters(), lr=1.0).step()
    assert module["b"].tolist() == [0.0, 1.0, 2.0]
    safetensors.save_file(module.state_dict(), tmp_path / "model.safetensors")
    assert set(safetensors.load_file(tmp_path / "model.safetensors")) == {"a", "b"}


@each("kind", MADE)
def test_the_kind(kind: str) -> None:
    assert kinds(MADE[kind]()) == {kind}


# --- optimizer ----------------------------------------------------------------------------------------------


def decay(module: nn.Module) -> Tensor:
    """Take one step of nothing but weight decay, a tenth, and return all values that there are then."""
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    torch.optim.SGD(module.parameters(), lr=0.1, weight_decay=1.0).step()
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()]).unique()


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        ("same-parameter", [0.9]),
        ("same-view", [0.81]),
        ("same-bytes-other-view", [0.81]),
        ("nested", [0.81, 0.9]),
        ("partial-overlap", [0.81, 0.9]),
        ("foreign-alias", [0.81]),
        ("same-storage-disjoint", [0.9]),
    ],
)
def test_weight_decay_acts_once_for_each_on_common_bytes(kind: str, left: list[float]) -> None:
    torch.testing.assert_close(decay(MADE[kind]()), torch.tensor(left))


def test_the_gradient_of_a_tie_is_the_sum_over_its_uses() -> None:
    true, half = MADE["same-parameter"](), MADE["same-view"]()
    for module in (true, half):
        (module.a.sum() + 2 * module.b.sum()).backward()
    assert true.a.grad.unique().tolist() == [3.0]
    assert [half.a.grad.unique().item(), half.b.grad.unique().item()] == [1.0, 2.0]


def test_values_of_a_half_tie_move_together() -> None:
    module = MADE["same-view"]()
    nn.init.zeros_(module.a)
    assert not module.b.any()


@pytest.mark.parametrize("kind", ["same-parameter", *sorted(STEPPED_FOR_EACH), "same-storage-disjoint"])
def test_a_slot_for_each(kind: str) -> None:
    module = MADE[kind]()
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer = torch.optim.Adam(module.parameters())
    optimizer.step()
    assert len(optimizer.state) == (1 if kind == "same-parameter" else 2)


def test_an_expanded_tensor_takes_no_step() -> None:
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        decay(MADE["self-overlap"]())


# --- saving -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(SAVED_ONCE))
def test_torch_save_writes_once_and_loads_shared_and_safetensors_refuses(kind: str, tmp_path: Path) -> None:
    state = MADE[kind]().state_dict()
    times, loaded = saved(state)
    assert times == 1
    first, second = loaded.values()
    assert first.untyped_storage().data_ptr() == second.untyped_storage().data_ptr()
    with pytest.raises(RuntimeError):
        safetensors.save_file(state, tmp_path / "model.safetensors")


def test_a_slice_takes_its_whole_storage_along(tmp_path: Path) -> None:
    state = MADE["same-storage-disjoint"]().state_dict()
    assert saved({"a": state["a"]})[0] == 1
    safetensors.save_file({"a": state["a"]}, tmp_path / "half.safetensors")
    assert round((tmp_path / "half.safetensors").stat().st_size / (4 * SIZE), 1) == 0.5


def test_foreign_memory_is_written_for_each_storage() -> None:
    times, loaded = saved(MADE["foreign-alias"]().state_dict())
    assert times == 2
    first, second = loaded.values()
    assert first.data_ptr() != second.data_ptr()


def test_of_a_tensor_that_overlaps_itself_the_bytes_that_are_there_are_written(tmp_path: Path) -> None:
    state = MADE["self-overlap"]().state_dict()
    assert saved(state)[0] == 0
    with pytest.raises(ValueError, match="non contiguous"):
        safetensors.save_file(state, tmp_path / "model.safetensors")


# --- moving -------------------------------------------------------------------------------------------------

MOVES = {"deepcopy": copy.deepcopy, "dtype": lambda module: module.to(torch.float16)}


@each("move", MOVES)
@each(
    ("kind", "after"),
    [
        ("same-parameter", {"same-parameter"}),
        ("self-overlap", set()),
        ("same-storage-disjoint", set()),
        *((kind, set()) for kind in sorted(OWN_BYTES)),
    ],
)
def test_what_a_move_makes_of_it(kind: str, after: set[str], move: str) -> None:
    assert kinds(MOVES[move](MADE[kind]())) == after


@pytest.mark.parametrize("move", MOVES)
def test_a_move_writes_every_element_of_an_overlapping_tensor_out(move: str) -> None:
    moved = MOVES[move](MADE["self-overlap"]()).a
    assert moved.untyped_storage().nbytes() == SIZE * moved.element_size()


def test_what_a_move_makes_of_a_buffer() -> None:
    assert kinds(copy.deepcopy(one_buffer())) == {"same-buffer"}
    assert kinds(one_buffer().to(torch.float16)) == set()


@pytest.mark.parametrize("kind", sorted({*STEPPED_FOR_EACH, "same-storage-disjoint"}))
def test_another_device_parts_what_shared_memory(kind: str) -> None:
    """The meta device is one that every machine has."""
    assert kinds(MADE[kind]().to("meta")) == set()
