"""Whatever the strides: each element counts as often as the tensor has it, and memory is read no more often."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from paraminspect.analysis.statistics import elements, tensor_values
from paraminspect.analysis.statistics.elements import open_elements
from paraminspect.analysis.statistics.tensor_values import measure
from tests.analysis.statistics.exact_figures import assert_figures
from tests.cases import each


def base(*shape):
    return (torch.arange(math.prod(shape), dtype=torch.float32) - 100).reshape(shape)


VIEWS = {
    "contiguous": base(6, 7, 8),
    "transposed": base(30, 12).t(),
    "permuted": base(6, 7, 8).permute(1, 2, 0),
    "every other": base(301)[::2],
    "columns": base(20, 30)[:, 3:11],
    "every third column": base(20, 30)[:, ::3],
    "inner block": base(9, 8, 7)[2:8, 1:6, 3:],
    "permuted inner block": base(9, 8, 7)[2:8, 1:6, 3:].permute(2, 0, 1),
    "long rows": base(5, 400)[:, :150],
    "diagonal": base(20, 20).diagonal(),
    "expanded": base(1, 30).expand(20, 30),
    "expanded twice": base(1, 5, 1).expand(7, 5, 11),
    "expanded number": base(1).expand(3, 4, 5),
    "unfolded": base(100).unfold(0, 10, 1),
    "unfolded in steps": base(100).unfold(0, 10, 3),
    "unfolded with gaps": base(300)[::3].unfold(0, 10, 1),
    "unfolded twice": base(12, 12).unfold(0, 3, 1).unfold(1, 3, 2),
    "unfolded and expanded": base(60).unfold(0, 10, 1).expand(3, 51, 10),
    "all the same steps": base(60).as_strided((20, 20, 20), (1, 1, 1)),
    "few of many, overlapping": base(3000).as_strided((3, 3, 3), (1, 1, 1400)),
    "channels last": base(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "one": base(1, 1, 1),
    "number": base(5)[3],
    "offset": base(50)[13:],
}


def converted(x, dtype):
    """Return the same view of the same memory in another dtype; ``Tensor.to`` would make it dense."""
    whole = x.as_strided((x.untyped_storage().nbytes() // 4,), (1,), 0)
    signless = whole.abs() if dtype is torch.uint16 else whole
    return signless.to(dtype).as_strided(x.shape, x.stride(), x.storage_offset())


@each("x", VIEWS.values(), ids=VIEWS)
@each(("sample", "block"), [(65_536, 2**18), (16, 7), (1, 64), (1, 1)])
@each("dtype", [torch.float32, torch.int16])
def test_views(x, sample, block, dtype, monkeypatch):
    monkeypatch.setattr(tensor_values, "SAMPLE", sample)
    monkeypatch.setattr(tensor_values, "AT_ONCE", sample)
    monkeypatch.setattr(tensor_values, "BLOCK", block)
    view = converted(x, dtype)
    numbers = view.reshape(-1).tolist()
    values = measure(view)
    assert_figures(values, numbers)
    assert 0 < sum(values.histogram) <= max(sample, 1) or x.numel() <= sample


@each("x", VIEWS.values(), ids=VIEWS)
def test_small_views_have_the_histogram_of_their_elements(x):
    assert measure(x).histogram == measure(x.reshape(-1).clone()).histogram


def test_dense_views_have_the_same_digits():
    x = torch.randn(300, 7, 400, generator=torch.Generator().manual_seed(0))
    assert measure(x.permute(2, 0, 1)) == measure(x)


def test_trillions_of_positions():
    values = measure(torch.tensor([[1.0], [0.0], [math.nan], [-3.0]]).expand(4, 10**12))
    assert (values.zeros, values.nan, values.mean) == (10**12, 10**12, -2 / 3)
    assert values.l2 == pytest.approx(math.sqrt(10) * 1e6, rel=1e-15)
    assert values.histogram == (1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1)


def test_trillions_of_overlapping_positions():
    side = 1_000_000
    x = torch.ones(2 * side - 1, dtype=torch.float64)
    x[0], x[side - 1], x[side] = 0, 3, math.inf
    values = measure(x.as_strided((side, side), (1, 1)))
    assert (values.zeros, values.inf, values.nan) == (1, side - 1, 0)
    finite = side**2 - side + 1
    assert values.mean == pytest.approx((finite - 1 + 2 * side) / finite, rel=1e-15)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128, torch.int64, torch.bool, torch.bfloat16])
def test_overlapping_views_of_other_types(dtype, monkeypatch):
    x = (torch.arange(40) - 7).to(dtype).unfold(0, 8, 1)
    expected = measure(x, histogram=False)
    monkeypatch.setattr(tensor_values, "SAMPLE", 4)
    monkeypatch.setattr(tensor_values, "AT_ONCE", 4)
    found = measure(x, histogram=False)
    assert (found.min, found.max, found.zeros) == (expected.min, expected.max, expected.zeros)
    assert (found.mean, found.std, found.l2) == pytest.approx((expected.mean, expected.std, expected.l2), rel=1e-15)


def test_what_lies_between_the_elements_does_not_count(monkeypatch):
    monkeypatch.setattr(tensor_values, "SAMPLE", 16)
    monkeypatch.setattr(tensor_values, "AT_ONCE", 16)
    x = torch.full((100,), math.inf)
    x[::4] = torch.arange(25.0)
    values = measure(x[::4].unfold(0, 5, 1))
    assert (values.inf, values.min, values.max) == (0, 0.0, 24.0)
    x[x.isinf()] = -1e9
    assert measure(x[::4].unfold(0, 5, 1)) == values


def test_more_than_64_dimensions():
    x = base(24)
    assert measure(x.reshape((1,) * 40 + (4,) + (1,) * 40 + (6,))) == measure(x)
    assert measure(x.reshape((4,) + (1,) * 70 + (6,)).transpose(0, -1)) == measure(x.reshape(4, 6).t())


def test_memory_is_lent_read_only():
    x = torch.zeros(3)
    elements = open_elements(x, np.dtype(np.float32), 9)
    assert elements is not None
    words = elements.read((slice(None),))
    assert words.ctypes.data == x.data_ptr()
    with pytest.raises(ValueError, match="read-only"):
        words[0] = 1


class Elsewhere(torch.Tensor):
    """Stand for a tensor on another device: its memory is not numpy's to look at."""

    is_cpu = False


@each("name", ["contiguous", "transposed", "inner block", "expanded", "unfolded", "number", "offset"])
@each("dtype", [torch.float32, torch.uint16, torch.float8_e4m3fn, torch.int64, torch.complex128])
@each(("sample", "block"), [(65_536, 2**18), (16, 7)])
def test_other_devices(name, dtype, sample, block, monkeypatch):
    monkeypatch.setattr(tensor_values, "SAMPLE", sample)
    monkeypatch.setattr(tensor_values, "AT_ONCE", sample)
    monkeypatch.setattr(tensor_values, "BLOCK", block)
    x = converted(VIEWS[name], dtype)
    assert measure(x.as_subclass(Elsewhere)) == measure(x)


def test_dimensions_that_follow_each_other_in_memory_are_one():
    assert elements.simplified((6, 7, 8), (56, 8, 1)) == [(336, 1)]
    assert elements.simplified((8, 6, 7), (1, 56, 8)) == [(336, 1)]
    assert elements.simplified((6, 7, 8), (60, 8, 1)) == [(6, 60), (56, 1)]
    assert elements.simplified((5, 1, 4, 3), (0, 9, 0, 2)) == [(3, 2), (20, 0)]
    assert elements.simplified((), ()) == elements.simplified((1, 1), (7, 3)) == [(1, 1)]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 20)), max_size=4))
def test_visits_count_every_position(dims):
    counts = np.zeros(elements.span(dims), np.int64)
    for position in np.ndindex(*(size for size, _ in dims)):
        counts[sum(index * stride for index, (_, stride) in zip(position, dims, strict=True))] += 1
    assert elements.visits(dims).tolist() == counts.tolist()
    simple = elements.simplified([size for size, _ in dims], [stride for _, stride in dims])
    assert elements.visits(simple).tolist() == counts.tolist()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 40))
def test_blocks_cover_every_element_once_and_in_order(shape, limit):
    x = np.arange(math.prod(shape)).reshape(shape)
    parts = [x[index].reshape(-1) for index in elements.blocks(shape, limit)]
    assert np.concatenate(parts).tolist() == x.reshape(-1).tolist()
    assert all(part.size <= limit for part in parts)
