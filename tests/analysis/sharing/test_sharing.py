"""Every kind of sharing, on the snippets that make it, and on what is no plain tensor."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from paraminspect.analysis.inventory import take_inventory
from paraminspect.analysis.sharing import find_sharing, relations
from paraminspect.analysis.statistics.tensor_values import measure
from paraminspect.modules.subject import Ties
from paraminspect.report import Sharing
from tests.cases import each


def found(module: nn.Module, measured: bool = True) -> tuple[Sharing, ...]:
    inventory = take_inventory(module)
    values = {id(entry.tensor): measure(entry.tensor) for entry in inventory.entries} if measured else {}
    return find_sharing(inventory, Ties(), values)


def holding(**tensors: Tensor) -> nn.Module:
    """Return a module with Parameters of these tensors; a Parameter stays what it is."""
    module = nn.Module()
    for name, tensor in tensors.items():
        setattr(module, name, tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor, False))
    return module


def brief(shared: tuple[Sharing, ...]) -> list[tuple[str, str, int | None, int | None]]:
    return [(one.kind, " ".join(one.names), one.numel, one.bytes) for one in shared]


def numbers(*shape: int) -> Tensor:
    count = int(np.prod(shape))
    return torch.arange(1.0, count + 1).reshape(shape)


def tied() -> nn.Module:
    one = nn.Parameter(numbers(3, 4))
    return holding(a=one, b=one)


def foreign(part: slice) -> nn.Module:
    array = np.arange(60, dtype=np.float32)
    return holding(a=torch.from_numpy(array), b=torch.from_numpy(array[part]))


x, line = numbers(6, 4), numbers(60)
CASES: dict[str, tuple[Callable[[], nn.Module], list[tuple[str, str, int | None, int | None]]]] = {
    "same-parameter": (tied, [("same-parameter", "a b", 12, 48)]),
    "one layer twice": (
        lambda: nn.Sequential(*[nn.Linear(2, 2)] * 2),
        [("same-parameter", "0.weight 1.weight", 4, 16), ("same-parameter", "0.bias 1.bias", 2, 8)],
    ),
    "same-view": (lambda: holding(a=x, b=x, c=x), [("same-view", "a b c", 24, 96)]),
    "transposed": (lambda: holding(a=x, b=x.t()), [("same-bytes-other-view", "a b", 24, 96)]),
    "reshaped": (lambda: holding(a=x, b=x.reshape(-1)), [("same-bytes-other-view", "a b", 24, 96)]),
    "reinterpreted": (lambda: holding(a=x, b=x.view(torch.int32)), [("same-bytes-other-view", "a b", 24, 96)]),
    "cut smaller": (lambda: holding(a=x, b=x.view(torch.int16)), [("same-bytes-other-view", "a b", None, 96)]),
    "views of views": (
        lambda: holding(a=x, b=x, c=x.t()),
        [("same-view", "a b", 24, 96), ("same-bytes-other-view", "a b c", 24, 96)],
    ),
    "nested": (lambda: holding(a=line, b=line[10:20]), [("nested", "a b", 10, 40)]),
    "nested columns": (lambda: holding(a=x, b=x[:, 1:3]), [("nested", "a b", 12, 48)]),
    "a base and its parts": (
        lambda: holding(base=x, q=x[:2], k=x[2:4], v=x[4:]),
        [("nested", "base q k v", 24, 96)],
    ),
    "a slice behind a shorter one": (
        lambda: holding(a=line, b=line[0:4], c=line[6:8]),
        [("nested", "a b c", 6, 24)],
    ),
    "partial-overlap": (lambda: holding(a=line[10:40], b=line[30:60]), [("partial-overlap", "a b", 10, 40)]),
    "partial and nested": (
        lambda: holding(a=line, b=line[10:40], c=line[30:60]),
        [("nested", "a b c", 50, 200), ("partial-overlap", "b c", 10, 40)],
    ),
    "same-storage-disjoint": (
        lambda: holding(q=x[:2], k=x[2:4], v=x[4:]),
        [("same-storage-disjoint", "q k v", 0, 0)],
    ),
    "interleaved columns": (lambda: holding(a=x[:, ::2], b=x[:, 1::2]), [("same-storage-disjoint", "a b", 0, 0)]),
    "parts apart from each other": (
        lambda: holding(a=line[:20], b=line[:10], c=line[40:]),
        [("nested", "a b", 10, 40), ("same-storage-disjoint", "a c", 0, 0)],
    ),
    "foreign-alias": (lambda: foreign(slice(None)), [("foreign-alias", "a b", 60, 240)]),
    "foreign part": (lambda: foreign(slice(10, 50)), [("foreign-alias", "a b", 40, 160)]),
    "self-overlap": (
        lambda: holding(a=torch.ones(1, 3).expand(1000, 3)),
        [("self-overlap", "a", 3000, 12)],
    ),
    "windows": (lambda: holding(a=line.unfold(0, 5, 1)), [("self-overlap", "a", 280, 240)]),
    "complex as real": (
        lambda: holding(a=(z := torch.view_as_complex(numbers(5, 2))), b=torch.view_as_real(z)),
        [("same-bytes-other-view", "a b", None, 40)],
    ),
    "conjugated": (
        lambda: holding(a=(z := torch.view_as_complex(numbers(5, 2))), b=z.conj()),
        [("same-bytes-other-view", "a b", 5, 40)],
    ),
    "negated": (
        lambda: holding(a=(z := torch.view_as_complex(numbers(5, 2))).imag, b=z.conj().imag),
        [("same-bytes-other-view", "a b", 5, 20)],
    ),
    "meta": (
        lambda: holding(a=(m := torch.zeros(6, 4, device="meta")), b=m, c=m[:2]),
        [("same-view", "a b", 24, 96), ("nested", "a b c", 8, 32)],
    ),
    "unrelated on meta": (lambda: nn.Sequential(*(nn.Linear(10, 10, device="meta") for _ in range(2))), []),
    "unrelated and empty": (lambda: holding(a=torch.empty(0, 3), b=torch.empty(0, 3)), []),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(3), nn.LazyLinear(3)), []),
    "sparse": (
        lambda: holding(a=(s := x.to_sparse_csr()), b=s.detach()),
        [("same-view", "a b", 24, 24 * (8 + 4) + 7 * 8)],
    ),
    "sparse values": (
        lambda: holding(
            a=(s := x.to_sparse_csr()),
            b=torch.sparse_csr_tensor(s.crow_indices().clone(), s.col_indices().clone(), s.values(), s.shape),
        ),
        [("partial-overlap", "a b", None, 96)],
    ),
    "quantised": (
        lambda: holding(a=(q := torch.quantize_per_tensor(x, 0.1, 0, torch.qint8)), b=q[:2]),
        [("nested", "a b", 8, 8)],
    ),
}


@pytest.mark.filterwarnings("ignore:Sparse", "ignore:.*quantiz")
@each("name", CASES)
def test_each_kind(name: str) -> None:
    make, wanted = CASES[name]
    assert brief(found(make())) == wanted


def test_a_buffer_of_two_modules() -> None:
    mask = torch.arange(3)
    modules = [nn.Module(), nn.Module()]
    for module in modules:
        module.register_buffer("mask", mask)
    (shared,) = found(nn.Sequential(*modules))
    assert shared == Sharing("same-buffer", ("0.mask", "1.mask"), 3, 24, ("0", "1"))


def test_a_parameter_a_buffer_and_a_forgotten_tensor() -> None:
    module = holding(a=x)
    module.register_buffer("b", x)
    module.c = x[:1]
    assert brief(found(module)) == [("same-view", "a b", 24, 96), ("nested", "a b c", 4, 16)]


def test_everything_that_a_group_says() -> None:
    module = nn.Sequential(nn.Embedding(6, 4, _weight=x), nn.Linear(4, 6, bias=False))
    module[1].weight = nn.Parameter(module[0].weight.data)
    (shared,) = found(module)
    assert shared == Sharing(
        "same-view",
        ("0.weight", "1.weight"),
        24,
        96,
        ("0", "1"),
        repair="model[1].weight = model[0].weight",
        storage_bytes=96,
    )


def test_an_object_with_several_names_is_one_member() -> None:
    one = nn.Parameter(x, False)
    shared = found(holding(a=one, b=one, c=x[:2], d=nn.Parameter(x, False)))
    assert brief(shared) == [
        ("same-parameter", "a b", 24, 96),
        ("same-view", "a d", 24, 96),
        ("nested", "a c d", 8, 32),
    ]


def test_freed_memory_is_nobodys() -> None:
    """FSDP frees the storage of a parameter that keeps its shape; its old place may be another's by now."""
    module = holding(a=numbers(3, 4), b=numbers(3, 4))
    for parameter in module.parameters():
        parameter.untyped_storage().resize_(0)
    assert found(module) == ()


def test_what_is_found_changes_nothing() -> None:
    module = holding(a=x.clone(), b=numbers(6, 4)[::2])
    before = {name: (tensor.clone(), tensor._version) for name, tensor in module.named_parameters()}
    found(module)
    for name, tensor in module.named_parameters():
        assert torch.equal(tensor, before[name][0]) and tensor._version == before[name][1]
    module.a.untyped_storage().resize_(0)  # a tensor that numpy had seen would refuse


# --- wrapper subclasses -------------------------------------------------------------------------------------


class Wrapper(Tensor):
    """A tensor that holds its numbers in two others, as a quantised weight does."""

    parts: tuple[Tensor, Tensor]

    @staticmethod
    def __new__(cls, values: Tensor, scale: Tensor) -> Wrapper:
        made = Tensor._make_wrapper_subclass(cls, values.shape, dtype=torch.float32)
        made.values_, made.scale_ = values, scale
        return made

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["values_", "scale_"], None

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.detach.default:
            return args[0]
        raise NotImplementedError(func)


class Hidden(Wrapper):
    """A wrapper whose own code fails."""

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        raise ValueError("no")


def test_a_wrapper_is_where_its_parts_are() -> None:
    values, scale = torch.arange(8, dtype=torch.int8), numbers(2)
    module = nn.Module()
    for name, tensor in {
        "a": Wrapper(values, scale),
        "b": Wrapper(values, scale),
        "c": Wrapper(values, scale.clone()),
        "d": values,
        "e": Hidden(values, scale),
    }.items():
        module.register_buffer(name, tensor)
    assert brief(found(module)) == [
        ("same-view", "a b", 8, 16),
        ("nested", "a b c d", None, 8),
        ("partial-overlap", "a b c", None, 8),
    ]


@pytest.fixture
def mesh() -> Iterator[Any]:
    from torch.distributed import destroy_process_group, init_process_group
    from torch.distributed.device_mesh import DeviceMesh
    from torch.testing._internal.distributed.fake_pg import FakeStore

    init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    try:
        yield DeviceMesh("cpu", [0, 1])
    finally:
        destroy_process_group()


def test_a_distributed_tensor_is_where_its_shard_is(mesh: Any) -> None:
    from torch.distributed.tensor import DTensor, Shard

    module = holding(a=DTensor.from_local(x, mesh, [Shard(0)]), b=x, c=x.clone())
    kinds = [(shared.kind, shared.names) for shared in found(module)]
    assert ("same-bytes-other-view", ("a", "b")) in kinds
    assert all(shared[0] != "same-parameter" for shared in kinds)


# --- many ---------------------------------------------------------------------------------------------------


MANY = {
    "slices": lambda: [line_[10 * i : 10 * i + 10] for i in range(1000)],
    "a base and slices": lambda: [line_, *(line_[10 * i : 10 * i + 10] for i in range(1000))],
    "prefixes": lambda: [line_[: 10 * i + 10] for i in range(1000)],
    "columns": lambda: [line_.view(10, 1000)[:, i] for i in range(1000)],
    "one view": lambda: [line_.view(-1) for _ in range(1000)],
    "storages": lambda: [torch.ones(3) for _ in range(1000)],
}
line_ = torch.arange(10_000.0)
GROUPS = {
    "slices": [("same-storage-disjoint", 1000)],
    "a base and slices": [("nested", 1001)],
    "prefixes": [("nested", 1000)],
    "columns": [("same-storage-disjoint", 1000)],
    "one view": [("same-view", 1000)],
    "storages": [],
}


@pytest.mark.parametrize("name", MANY)
def test_of_many_tensors_few_pairs_are_compared(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    count = relations.relation
    monkeypatch.setattr(relations, "relation", lambda *pair: compared.append(pair) or count(*pair))
    module = holding(**{f"p{i:04}": tensor for i, tensor in enumerate(MANY[name]())})
    assert [(shared.kind, len(shared.names)) for shared in found(module, measured=False)] == GROUPS[name]
    assert len(compared) <= relations.PAIRS_EACH * 1001


# --- equal values -------------------------------------------------------------------------------------------


def random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(dtype)


nan = random(100).masked_fill(torch.arange(100) % 7 == 0, torch.nan)
other_nan = torch.where(nan.isnan(), torch.tensor(0x7FC00001, dtype=torch.int32).view(torch.float32), nan)
zero = torch.zeros(100)
mixed = zero.clone()
mixed[3] = -0.0
late = torch.arange(600_000.0)
EQUAL: dict[str, tuple[tuple[Tensor, ...], list[tuple[str, str, int | None, int | None]]]] = {
    "a clone": ((x, x.clone()), [("equal-not-shared", "a b", 24, 96)]),
    "three": ((x, x.clone(), x.clone()), [("equal-not-shared", "a b c", 24, 96)]),
    "two among rearranged ones": (
        (x, x.flip(0), x.flip(1), x.flip(0), x.clone()),
        [("equal-not-shared", "a e", 24, 96), ("equal-not-shared", "b d", 24, 96)],
    ),
    "NaN": ((nan, nan.clone()), [("equal-not-shared", "a b", 100, 400)]),
    "another NaN": ((nan, other_nan), []),
    "another shape": ((x, x.clone().reshape(4, 6)), []),
    "another type": ((x, x.double()), []),
    "the same elements in another order": ((x, x.flip(0).contiguous()), []),
    "a difference at the end": ((late, late.clone().index_fill_(0, torch.tensor([599_999]), 599_998.0)), []),
    "a difference that no figure shows": (
        (late, torch.cat([late[:599_997], late[599_997:].roll(1)])),
        [],
    ),
    "another order in memory": (
        (random(64, 33), random(64, 33).t().contiguous().t()),
        [("equal-not-shared", "a b", 2112, 8448)],
    ),
    "spread out": ((x, torch.zeros(12, 8)[::2, ::2].copy_(x)), [("equal-not-shared", "a b", 24, 96)]),
    "complex": (
        (torch.view_as_complex(numbers(5, 2)), torch.view_as_complex(numbers(5, 2))),
        [("equal-not-shared", "a b", 5, 40)],
    ),
    "conjugates": ((torch.view_as_complex(numbers(5, 2)), torch.view_as_complex(numbers(5, 2)).conj()), []),
    "bfloat16": (
        (random(50, dtype=torch.bfloat16), random(50, dtype=torch.bfloat16)),
        [("equal-not-shared", "a b", 50, 100)],
    ),
    "booleans": ((x > 3, x > 3), [("equal-not-shared", "a b", 24, 24)]),
    "ones": ((torch.ones(9), torch.ones(9), torch.ones(8)), [("equal-constant", "a b", 9, 36)]),
    "zeros": ((zero, zero.clone()), [("equal-constant", "a b", 100, 400)]),
    "zeros of both signs": ((zero, -zero), []),
    "mixed zeros": ((mixed, mixed.clone(), zero), [("equal-not-shared", "a b", 100, 400)]),
    "scalars": ((torch.tensor(0), torch.tensor(0)), [("equal-constant", "a b", 1, 8)]),
    "nothing but NaN": ((zero + torch.nan, zero + torch.nan), [("equal-constant", "a b", 100, 400)]),
    "infinities of both signs": (
        (torch.tensor([torch.inf, -torch.inf]), torch.tensor([torch.inf, -torch.inf])),
        [("equal-not-shared", "a b", 2, 8)],
    ),
    "meta": ((x.to("meta"), x.to("meta")), []),
    "empty": ((torch.empty(0), torch.empty(0)), []),
    "expanded": (
        (zero[:1].expand(10**12), zero[:1].clone().expand(10**12)),
        [("self-overlap", "a", 10**12, 4), ("self-overlap", "b", 10**12, 4)],
    ),
    "shared already": ((x, x, x.clone()), [("same-view", "a b", 24, 96), ("equal-not-shared", "a c", 24, 96)]),
}


@each("name", EQUAL)
def test_equal_values(name: str) -> None:
    tensors, wanted = EQUAL[name]
    assert brief(found(holding(**dict(zip("abcde", tensors, strict=False))))) == wanted


def test_without_figures_no_equality_is_claimed() -> None:
    module = holding(a=x, b=x.clone())
    assert found(module, measured=False) == ()
    inventory = take_inventory(module)
    assert find_sharing(inventory, Ties(), {id(entry.tensor): None for entry in inventory.entries}) == ()


def test_only_what_could_be_equal_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Different weights are not read again, equal constants neither; a clone is read twice, first its beginning."""
    from paraminspect.analysis.sharing import equality

    read: list[int] = []
    words = equality._words
    monkeypatch.setattr(equality, "_words", lambda tensor, most=None: read.append(id(tensor)) or words(tensor, most))
    module = holding(a=random(50), b=-random(50), c=torch.ones(5), d=torch.ones(5), e=x, f=x.clone())
    assert brief(found(module)) == [("equal-not-shared", "e f", 24, 96), ("equal-constant", "c d", 5, 20)]
    assert set(read) == {id(module.e), id(module.f)}


def test_fresh_norms_are_one_entry_a_shape_and_constant() -> None:
    module = nn.Sequential(nn.LayerNorm(3), nn.LayerNorm(3), nn.BatchNorm1d(3))
    assert brief(found(module)) == [
        ("equal-constant", "0.weight 1.weight 2.weight 2.running_var", 3, 12),
        ("equal-constant", "0.bias 1.bias 2.bias 2.running_mean", 3, 12),
    ]


def test_a_copy_of_a_model_is_equal_name_by_name() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(3, 3)
    shared = found(nn.ModuleDict({"online": layer, "target": copy.deepcopy(layer)}))
    assert brief(shared) == [
        ("equal-not-shared", "online.weight target.weight", 9, 36),
        ("equal-not-shared", "online.bias target.bias", 3, 12),
    ]
