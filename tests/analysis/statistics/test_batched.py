"""Measured together, small tensors have the figures that each has alone."""

from __future__ import annotations

import math
from dataclasses import asdict

import pytest
import torch
from torch import Tensor, nn

from paraminspect.analysis.statistics import batched
from paraminspect.analysis.statistics.batched import Queue
from paraminspect.analysis.statistics.tensor_values import measure
from paraminspect.report import Values

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def figures_of(*tensors: Tensor) -> list[Values | None]:
    queue, found = Queue(), {}
    for at, tensor in enumerate(tensors):
        queue.measure(tensor, lambda values, at=at: found.__setitem__(at, values))
    queue.flush()
    return [found[at] for at in range(len(tensors))]


def agree(found: Values | None, tensor: Tensor) -> None:
    exact = measure(tensor, histogram=False)
    assert exact is not None
    assert found is not None
    assert batched._is_small(tensor)
    assert (found.zeros, found.nan, found.inf, found.min, found.max) == (exact.zeros, 0, 0, exact.min, exact.max)
    magnitude = tensor.double().abs().mean().item()
    assert found.mean == pytest.approx(exact.mean, rel=0.0, abs=1e-14 * magnitude)
    for name in ("std", "rms", "l2"):
        assert asdict(found)[name] == pytest.approx(asdict(exact)[name], rel=1e-14, abs=0.0), name


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(1,), (), (7,), (64, 64), (16_384,), (3, 5, 7)], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_the_figures_are_those_of_the_long_way(dtype: torch.dtype, shape: tuple[int, ...], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(shape, generator=generator).relu() if seed else torch.randn(shape, generator=generator)
    tensors = [(numbers * scale).to(dtype) for scale in (1, 0, -3)]
    for tensor, found in zip(tensors, figures_of(*tensors), strict=True):
        agree(found, tensor)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(5),
        -torch.zeros(5),
        torch.full((3,), 0.1),
        torch.full((1000,), 3e38),
        torch.full((7,), 1e-45),
        torch.tensor([3e38, -3e38, 1e-45]),
        torch.randn(1000, generator=torch.Generator().manual_seed(0)) + 1e6,
        torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 1e-3 + 1,
        torch.tensor([1.0] * 999 + [1.0000001]),
        torch.tensor([-5.0, -4.0]),
    ],
    ids=["zeros", "minus-zeros", "one-value", "large", "subnormal", "range", "far", "near-one", "one-bit", "negative"],
)
def test_hard_values_lose_no_digit(tensor: Tensor) -> None:
    agree(figures_of(tensor)[0], tensor)


def test_a_constant_has_no_spread_and_a_zero_no_sign() -> None:
    (found,) = figures_of(torch.full((10,), 0.1))
    assert found.std == 0.0
    (found,) = figures_of(-torch.zeros(3))
    assert [math.copysign(1, number) for number in (found.min, found.max, found.mean)] == [1, 1, 1]


LONG = {
    "nan": torch.tensor([1.0, math.nan]),
    "infinite": torch.tensor([math.inf, 2.0, -math.inf]),
    "all-nan": torch.tensor([math.nan]),
    "empty": torch.empty(0),
    "float64": torch.tensor([1e200, -1e200], dtype=torch.float64),
    "integers": torch.arange(5),
    "complex": torch.tensor([3 + 4j]),
    "meta": torch.empty(3, device="meta"),
    "sparse": torch.tensor([0.0, 2.0]).to_sparse(),
    "strided": torch.arange(6.0).view(2, 3).t(),
    "expanded": torch.ones(1).expand(50),
    "long": torch.arange(20_000.0),
    "subclass": torch.arange(4.0).as_subclass(type("Marked", (Tensor,), {})),
}


@pytest.mark.parametrize("tensor", LONG.values(), ids=LONG)
def test_everything_else_is_measured_alone(tensor: Tensor) -> None:
    assert figures_of(torch.ones(2), tensor, torch.ones(2))[1] == measure(tensor, histogram=False)


def test_memory_that_was_freed_is_unknown() -> None:
    tensor = torch.ones(8)
    tensor.untyped_storage().resize_(0)
    assert figures_of(tensor) == [None]


def test_inside_vmap_the_figures_are_unknown() -> None:
    seen = []

    def look(x: Tensor) -> Tensor:
        seen.extend(figures_of(x))
        return x

    torch.func.vmap(look)(torch.ones(2, 3))
    assert seen == [None]


def test_the_tensor_stays_as_it_was() -> None:
    weight = nn.Parameter(torch.tensor([1.0, -2.0, 0.0]))
    figures_of(weight)
    assert weight.tolist() == [1.0, -2.0, 0.0]
    assert (weight._version, weight.grad, weight.is_leaf) == (0, None, True)
    weight.untyped_storage().resize_(400)  # numpy holds no claim to its memory


def test_the_figures_are_of_what_was_handed_in_and_come_back_to_who_asked() -> None:
    tensor, queue, found = torch.zeros(1000), Queue(), []
    for number in range(2000):
        tensor.fill_(number)
        queue.measure(tensor, lambda values, number=number: found.append((number, values.mean)))
    assert 0 < len(found) < 2000  # what waits is bounded
    queue.flush()
    assert sorted(found) == [(number, float(number)) for number in range(2000)]
