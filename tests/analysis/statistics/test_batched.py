"""Measured together, small tensors have the figures that each has alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from paraminspect.analysis.statistics import batched
from paraminspect.analysis.statistics.batched import Queue, measure_all
from paraminspect.analysis.statistics.number_formats import WORDS
from paraminspect.analysis.statistics.tensor_values import measure
from paraminspect.report import Values
from tests.analysis.statistics.exact_figures import assert_figures
from tests.cases import each


def figures_of(*tensors: Tensor, histogram: bool = False) -> list[Values | None]:
    return measure_all(tensors, histogram=histogram)


DTYPES = sorted((dtype for dtype in WORDS if not dtype.is_complex), key=str)  # the same in every process
LENGTHS = [1, 2, 3, 7, 8, 9, 64, 127, 129, 1000, 4095, 4096, 4097, 9000]


def drawn(dtype: torch.dtype, seed: int) -> list[Tensor]:
    """Return tensors of all lengths and of values that each need another kind of care."""
    generator = np.random.default_rng(seed)
    found = []
    for length in LENGTHS + generator.integers(1, 200, 80).tolist():
        normal = generator.normal(size=length) * 10.0 ** generator.integers(-4, 5)
        odd = generator.choice([math.nan, math.inf, -math.inf, 1e300, 1e-310, 3e38, 2.0**53, 2.0**53 + 2, -0.0])
        kinds = (
            normal,
            normal + abs(normal).max() * generator.choice([0.5, 3, 1e6]),
            np.maximum(normal, 0),
            np.full(length, generator.choice([0.0, -0.0, 0.1, 1.0, -3.0])),
            np.where(np.arange(length) == length // 2, odd, normal),
            normal * 1e-42,
            np.exp(normal.clip(-50, 50)),
        )
        numbers = kinds[generator.integers(len(kinds))]
        if not dtype.is_floating_point:
            limits = torch.iinfo(dtype) if dtype is not torch.bool else None
            low, high = (limits.min, min(limits.max, 2**60)) if limits else (0, 1)
            numbers = np.nan_to_num(numbers).clip(low, high)
        tensor = torch.from_numpy(np.asarray(numbers)).to(dtype)
        found.append(tensor.view(2, -1).t() if length % 2 == 0 and generator.random() < 0.3 else tensor)
    return found


@each("dtype", DTYPES, ids=str)
def test_together_they_have_the_digits_that_each_has_alone(dtype: torch.dtype) -> None:
    for seed in range(3):
        tensors = drawn(dtype, seed)
        for histogram in (True, False):
            alone = [measure(tensor, histogram=histogram) for tensor in tensors]
            assert [*map(repr, figures_of(*tensors, histogram=histogram))] == [*map(repr, alone)]


def test_what_is_not_finite_is_counted_also_where_several_wait() -> None:
    tensors = [torch.arange(600.0) for _ in range(4)]
    tensors[1][5], tensors[3][7] = math.nan, -math.inf
    found = figures_of(*tensors, torch.full((700,), math.nan), histogram=True)
    assert [(values.nan, values.inf, sum(values.histogram or ())) for values in found if values] == [
        *((0, 0, 600), (1, 0, 599), (0, 0, 600), (0, 1, 599), (700, 0, 0)),
    ]


def test_they_are_measured_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batched, "measure", None)
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(length, generator=generator) for length in range(1, 4097, 64)]
    assert None not in figures_of(*tensors, histogram=True)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.floats(width=32), min_size=1, max_size=9), min_size=1, max_size=9))
def test_the_figures_are_exact(parts: list[list[float]]) -> None:
    found = figures_of(*map(torch.tensor, parts), histogram=True)
    for figures, numbers in zip(found, parts, strict=True):
        assert_figures(figures, numbers)
        assert figures is not None
        assert sum(figures.histogram or ()) == sum(map(math.isfinite, numbers))


LONG = {
    "empty": torch.empty(0),
    "complex": torch.tensor([3 + 4j]),
    "an imaginary part": torch.tensor([3 + 4j, 1j]).conj().imag,
    "negated": torch._neg_view(torch.arange(3.0)),
    "meta": torch.empty(3, device="meta"),
    "lazy": nn.LazyLinear(3).weight,
    "sparse": torch.tensor([0.0, 2.0]).to_sparse(),
    "strided": torch.arange(6.0).view(2, 3)[:, ::2],
    "expanded": torch.ones(1).expand(50),
    "long": torch.arange(20_000.0),
    "subclass": torch.arange(4.0).as_subclass(type("Marked", (Tensor,), {})),
    "functional": torch._to_functional_tensor(torch.ones(3)),
}


@each("tensor", LONG.values(), ids=LONG)
def test_everything_else_is_measured_alone(tensor: Tensor) -> None:
    assert figures_of(torch.ones(2), tensor, torch.ones(2))[1] == measure(tensor, histogram=False)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
def test_nested_tensors_are_unknown() -> None:
    assert figures_of(torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])) == [None]


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
